"""Fenced code of the Markdown documents: read here once, for the tests that check it and the one that runs it."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

_FENCE = re.compile(r"^```(?P<kind>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block: where it stands, the words after its fence (``bash``, ``python run``), and its text."""

    file: Path
    line: int
    kind: tuple[str, ...]
    code: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Command:
    """One command of a ``bash`` block: its block, and its words without comments."""

    block: Block
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.block}: {' '.join(self.words)}"


def documents() -> list[Path]:
    """README, CONTRIBUTING, the examples' own and every page of docs/."""
    heads = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/README.md")]
    return [*heads, *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language: str, files: list[Path] | None = None) -> list[Block]:
    """Every fenced block whose first word is ``language``."""
    found = []
    for file in documents() if files is None else files:
        text = file.read_text(encoding="utf-8")
        for match in _FENCE.finditer(text):
            kind = tuple(match["kind"].split())
            if kind[:1] == (language,):
                found.append(Block(file, text.count("\n", 0, match.start()) + 1, kind, match["code"]))
    return found


def commands(files: list[Path] | None = None) -> list[Command]:
    """Every command of every ``bash`` block, continued lines joined."""
    return [
        Command(block, tuple(words))
        for block in blocks("bash", files)
        for line in block.code.replace("\\\n", " ").splitlines()
        if (words := shlex.split(line, comments=True))
    ]
