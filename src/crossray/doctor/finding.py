"""One thing that was looked at: well, worth knowing, or wrong; and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """What was found.

    Attributes:
        level: ``ok``; ``note`` for what limits something or may be meant; ``error`` for what does not work.
        subject: what was looked at: a package, a file, a property of the machine.
        said: what was found of it.
        remedy: what to do; empty if there is nothing to do.
    """

    level: Literal["ok", "note", "error"]
    subject: str
    said: str
    remedy: str = ""

    def lines(self) -> list[str]:
        """For people: one line, and one more for the remedy."""
        first = f"{self.level.upper() if self.level == 'error' else self.level:<6}{self.subject}: {self.said}"
        return [first, f"      -> {self.remedy}"] if self.remedy else [first]
