"""Protocols (data), tasks (code), metrics, intervals and the report."""
