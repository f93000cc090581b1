"""What a data set should hold: counts that its publisher states, or that a layout twin wrote down, against those found.

A source passes its items through :func:`counted`. They are counted on the way, and a difference is told after the last
one: before any film is read, and without going through the set a second time.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from crossray.data.sources.base import Rejected, Remark
from crossray.data.study import Study
from crossray.errors import ConfigError, DataError
from crossray.files import write_json
from crossray.settings import Settings, build_settings

#: The file in the root of a layout twin that says what the twin holds.
TWIN_FILE = "crossray-twin.json"

CountsOption = Literal["published", "twin", "none"]


class ExpectedCounts(Settings):
    """Counts by name; only those that are given are checked.

    Counted for every source: ``studies``, ``patients`` (known ones), ``images``, ``boxes``, ``images with boxes``,
    ``masks``, ``phrases``; and by class ``positive <class>`` (studies whose label is 1) and ``boxes of <class>``. A
    source may count more, such as the rows of a table.
    """

    counts: dict[str, int] = Field(default_factory=dict)


class PublishedOptions(Settings):
    """Options that every public set has.

    Attributes:
        expected_counts: ``published``: what the publisher states must be there; ``twin``: what the layout twin's own
            file states; ``none``: nothing is checked, for a partial download.
    """

    expected_counts: CountsOption = "published"


class TwinRecord(Settings):
    """What a layout twin says of itself in :data:`TWIN_FILE`: which twin it is, and what it holds."""

    kind: Literal["crossray-twin"] = "crossray-twin"
    format_version: Literal[1] = 1
    name: str
    count: int
    seed: int
    expected: ExpectedCounts


def expected_of(option: CountsOption, source: str, root: Path, published: Mapping[str, int]) -> ExpectedCounts:
    """The counts to check a set against.

    Args:
        option: where they come from.
        source: name of the source.
        root: the set's folder, where a twin has its file.
        published: what the specs state of the published set; ``{}`` where they state nothing.

    Raises:
        DataError: a twin is expected and its file is missing, altered, or of another source.
    """
    if option == "none":
        return ExpectedCounts()
    if option == "published":
        return ExpectedCounts(counts=dict(published))
    record = read_twin_record(root)
    if record.name != source:
        raise DataError(f"is the twin of '{record.name}', not of '{source}'.", file=root / TWIN_FILE, field="name")
    return record.expected


def read_twin_record(root: Path) -> TwinRecord:
    """What the layout twin in a folder says of itself.

    Raises:
        DataError: the file is missing or altered.
    """
    path = root / TWIN_FILE
    try:
        return build_settings(TwinRecord, json.loads(path.read_text(encoding="utf-8")), file=path)
    except OSError as error:
        remedy = "expected_counts=twin is for folders that 'crossray data twin' wrote."
        raise DataError(f"cannot be read ({error.strerror}).", file=path, remedy=remedy) from error
    except (ValueError, TypeError) as error:
        raise DataError(f"is not JSON: {error}.", file=path, remedy="Write the twin again.") from error
    except ConfigError as error:
        raise DataError(error.problem, file=path, field=error.field, remedy="Write the twin again.") from error


def write_twin_record(root: Path, record: TwinRecord) -> None:
    """Write a twin's own file into its folder."""
    write_json(root / TWIN_FILE, record.model_dump(mode="json"))


def counted(
    items: Iterable[Study | Rejected | Remark],
    expected: ExpectedCounts,
    root: Path,
    more: Mapping[str, int] | None = None,
) -> Iterator[Study | Rejected | Remark]:
    """The same items, counted; after the last one the counts are checked.

    Args:
        items: what a source yields.
        expected: the counts that must be met.
        root: the set's folder, named in the error.
        more: counts of the source's own; looked at after the last item, so the source may fill it on the way.

    Raises:
        DataError: after the last item, as :func:`check_counts`.
    """
    counts = StudyCounts()
    for item in items:
        if isinstance(item, Study):
            counts.add(item)
        yield item
    check_counts(expected, {**counts.by_name(), **(more or {})}, root)


def check_counts(expected: ExpectedCounts, found: Mapping[str, int], root: Path) -> None:
    """Compare counts; a count that was never met with is 0.

    Raises:
        DataError: each count that differs is listed, expected and found, with what to do about it.
    """
    wrong = [
        f"{name}: {number} expected, {found.get(name, 0)} found"
        for name, number in expected.counts.items()
        if found.get(name, 0) != number
    ]
    if not wrong:
        return
    remedy = "For a part of the set give --set expected_counts=none."
    if (root / TWIN_FILE).is_file():
        remedy = "This folder is a layout twin: give --set expected_counts=twin, or none if it was changed."
    raise DataError(f"holds other numbers than it should. {'; '.join(wrong)}.", file=root, remedy=remedy)


class StudyCounts:
    """Counts studies and what they hold, under the names that :class:`ExpectedCounts` lists."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._patients: set[str] = set()

    def add(self, study: Study) -> None:
        """Count one study."""
        self._counts["studies"] += 1
        self._counts["images"] += len(study.films)
        self._counts["phrases"] += len(study.phrase_regions)
        if study.patient_id is not None:
            self._patients.add(study.patient_id)
        self._counts.update(f"positive {name}" for name, value in study.labels.items() if value == 1.0)
        for film in study.films:
            self._counts["boxes"] += len(film.boxes)
            self._counts["images with boxes"] += bool(film.boxes)
            self._counts["masks"] += len(film.masks)
            self._counts.update(f"boxes of {box.label}" for box in film.boxes)

    def by_name(self) -> dict[str, int]:
        """Every count by its name."""
        return {**self._counts, "patients": len(self._patients)}
