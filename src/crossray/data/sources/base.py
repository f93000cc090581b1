"""What every source answers: its name, its labels, its studies in a fixed order, and a fingerprint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from crossray.data.study import Study


@dataclass(frozen=True)
class Rejected:
    """A study (or row) left out by a source, with the rule that left it out and the reason in words.

    ``rule`` is a short stable name ("no_frontal_film", "empty_report", "unreadable_film"): the filter funnel
    counts by it. ``reason`` is one sentence for a person; ``file`` and ``row`` say where. With a ``film_id`` only
    that film is left out and the study goes on without it.
    """

    study_id: str
    rule: str
    reason: str
    file: str | None = None
    row: int | str | None = None
    film_id: str | None = None


@dataclass(frozen=True)
class Remark:
    """Something to know about a study or film that is used nevertheless ("shape_unknown"): listed and counted."""

    study_id: str
    rule: str
    reason: str
    film_id: str | None = None


class Source(Protocol):
    """A data set as its publisher ships it, read study by study."""

    @property
    def name(self) -> str:
        """Short name of the source, as in recipes (``iu_xray``, ``folder``, ``phantom``)."""
        ...

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the labels that every study carries, in a fixed order."""
        ...

    @property
    def has_reports(self) -> bool:
        """Whether the set has reports: a study without one is then left out; where there are none it is kept."""
        ...

    def studies(self) -> Iterator[Study | Rejected | Remark]:
        """Every study of the source exactly once, used or rejected, in a fixed order. Reads no pixels.

        Films left out by the source and remarks come just before their study.
        """
        ...

    def fingerprint(self) -> str:
        """sha256 (hex) of what the studies are made from: changes when the source changes."""
        ...
