"""Damages at seeded places: a bit that flips, a file that loses its end."""

from __future__ import annotations

import random
from pathlib import Path


def flip_bit(path: Path, seed: int) -> None:
    """Turn one bit of a file over."""
    content = bytearray(path.read_bytes())
    place = random.Random(seed).randrange(8 * len(content))
    content[place // 8] ^= 1 << place % 8
    path.write_bytes(content)


def truncate(path: Path, seed: int) -> None:
    """Cut a file short, by at least a byte."""
    content = path.read_bytes()
    path.write_bytes(content[: random.Random(seed).randrange(len(content))])
