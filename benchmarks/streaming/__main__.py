"""``python -m benchmarks.streaming``."""

from benchmarks.streaming.bench import main

main()
