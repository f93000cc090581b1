"""What the speed claims are printed by: ``python -m benchmarks.speed [NAME ...] [--quick]``."""
