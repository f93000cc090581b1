"""What an audit finds, without ever repeating it: kinds, counts and study ids."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

EXAMPLES = 5


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        kind: short stable name.
        found, looked_at: how many, and among how many; the unit is told in ``meaning``.
        examples: at most five places (study ids, or positions of files), never what identifies a person.
        fails: whether it must be dealt with before training or sharing; otherwise it is for information.
        meaning: in words, what was counted.
    """

    kind: str
    found: int
    looked_at: int
    examples: tuple[str, ...]
    fails: bool
    meaning: str


@dataclass(frozen=True)
class Audit:
    """All findings on one store or folder."""

    place: str
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing was found that must be dealt with."""
        return not any(finding.fails for finding in self.findings)

    def as_json(self) -> str:
        """The audit for programs."""
        return json.dumps({"passed": self.passed, **asdict(self)}, indent=2, ensure_ascii=False)

    def lines(self) -> list[str]:
        """The audit for people, one line a finding."""
        lines = [f"{'':7}{'kind':30}{'found':>8}{'of':>9}  examples; what was counted"]
        for item in self.findings:
            mark = "FOUND" if item.fails else "note" if item.found else "ok"
            examples = f"{', '.join(item.examples)}; " if item.examples else ""
            lines.append(f"{mark:7}{item.kind:30}{item.found:>8}{item.looked_at:>9}  {examples}{item.meaning}")
        return lines


def finding(
    kind: str, places: Iterable[str], looked_at: int, meaning: str, *, fails: bool = True, found: int | None = None
) -> Finding:
    """A finding from its places, one entry each; ``found`` where there are more findings than places."""
    listed = list(places)
    count = len(listed) if found is None else found
    return Finding(kind, count, looked_at, tuple(dict.fromkeys(listed))[:EXAMPLES], fails and count > 0, meaning)
