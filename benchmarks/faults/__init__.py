"""What becomes of work that is disturbed: begin with ``cells.py``; ``python -m benchmarks.faults`` writes the table."""
