"""The viewer under load, and what starts it for that and for the fuzzing of ``tests/fuzz``."""
