"""What an audit finds, without ever repeating it: kinds, counts and study ids."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

EXAMPLES = 5

#: Places that a finding keeps; of films that are all blank there may be millions.
MOST_PLACES = 10_000


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        kind: short stable name.
        found, looked_at: how many, and among how many; the unit is told in ``meaning``.
        places: where (study ids, or positions of files), never what identifies a person; the first
            :data:`MOST_PLACES` of them.
        fails: whether it must be dealt with before training or sharing; otherwise it is for information.
        meaning: in words, what was counted.
    """

    kind: str
    found: int
    looked_at: int
    places: tuple[str, ...]
    fails: bool
    meaning: str

    @property
    def examples(self) -> tuple[str, ...]:
        """The first places, as many as are shown to people."""
        return self.places[:EXAMPLES]


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


class Places:
    """Places of a finding as they are met: counted, and the first :data:`MOST_PLACES` kept, each once."""

    def __init__(self, places: Iterable[str] = ()) -> None:
        self.count = 0
        self._kept: dict[str, None] = {}
        for place in places:
            self.add(place)

    def add(self, place: str) -> None:
        """One more."""
        self.count += 1
        if len(self._kept) < MOST_PLACES:
            self._kept[place] = None

    @property
    def kept(self) -> tuple[str, ...]:
        """Those that are kept, in the order in which they were met."""
        return tuple(self._kept)


def finding(
    kind: str,
    places: Places | Iterable[str],
    looked_at: int,
    meaning: str,
    *,
    fails: bool = True,
    found: int | None = None,
) -> Finding:
    """A finding from its places, one entry each; ``found`` where there are more findings than places."""
    met = places if isinstance(places, Places) else Places(places)
    count = met.count if found is None else found
    return Finding(kind, count, looked_at, met.kept, fails and count > 0, meaning)
