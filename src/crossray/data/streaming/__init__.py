"""Stores that are read over a network: their tables once, their films block by block into a bounded cache."""
