"""Thousands of malformed uploads and questions for a running viewer: ``python -m tests.fuzz``."""
