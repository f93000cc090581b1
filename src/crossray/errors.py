"""Errors at the door: each says which file, row and field is wrong, and what to do about it.

Everything a user can get wrong raises a :class:`CrossRayError`; the command line prints its
message without a stack trace. A study that cannot be used raises :class:`StudyError`, which
``data prepare`` turns into a quarantine entry.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class CrossRayError(Exception):
    """A mistake in the user's input, with its place and its remedy.

    Args:
        problem: what is wrong, in one sentence, naming the value.
        file: the file it was found in.
        row: the row (1-based, header not counted) or study id, if the file is a table.
        field: the column, key or DICOM tag.
        remedy: what the user can do.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: Path | str | None = None,
        row: int | str | None = None,
        field: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.problem = problem
        self.file = str(file) if file is not None else None
        self.row = row
        self.field = field
        self.remedy = remedy
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The whole message: place, problem, remedy."""
        parts = []
        if self.file is not None:
            parts.append(self.file)
        if self.row is not None:
            parts.append(f"row {self.row}")
        if self.field is not None:
            parts.append(f"field '{self.field}'")
        place = ", ".join(parts)
        text = f"{place}: {self.problem}" if place else self.problem
        return f"{text} {self.remedy}" if self.remedy else text

    def __reduce__(self) -> tuple[object, ...]:
        # Errors travel from worker processes: keep the keyword arguments through pickling.
        return _rebuild, (type(self), self.problem, self.file, self.row, self.field, self.remedy)


def _rebuild(
    kind: type[CrossRayError],
    problem: str,
    file: str | None,
    row: int | str | None,
    field: str | None,
    remedy: str | None,
) -> CrossRayError:
    return kind(problem, file=file, row=row, field=field, remedy=remedy)


class StudyError(CrossRayError):
    """One study, film or report cannot be used: it is quarantined, listed and counted.

    ``rule`` is the short stable name that the filter funnel counts it by; subclasses name others.
    """

    rule: ClassVar[str] = "unreadable_film"


class DataError(CrossRayError):
    """A whole source, manifest or split list cannot be used."""


class StoreError(CrossRayError):
    """A prepared store is missing, half-written, stale, of another version, or altered."""


class ConfigError(CrossRayError):
    """A recipe or an override is wrong."""


class CheckpointError(CrossRayError):
    """A run folder or checkpoint is missing, half-written, or does not fit."""


class LostProcessError(CrossRayError):
    """Another process of the same run was killed, or cannot be reached any more."""


class FolderInUseError(CrossRayError):
    """Another process works in the folder."""


class FolderTakenError(CrossRayError):
    """Another process has taken the folder over while this one did not answer: this one may write no more."""
