"""Studies made in memory, for tests of the store: small, picklable, different from each other."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.reports import parse_report
from crossray.data.sources.base import Rejected, Remark
from crossray.data.store import Store
from crossray.data.study import Box, Film, PhraseRegion, Span, Study, View
from crossray.errors import StudyError

SENTENCES = (
    "The heart is enlarged.",
    "No pleural effusion.",
    "There is a small left pneumothorax.",
    "Lungs are clear.",
)


@dataclass(frozen=True)
class Gradient:
    """A film that tells its number: ``value`` in the middle of a ramp."""

    value: int
    height: int = 24
    width: int = 20
    seconds: float = 0.0

    def read(self) -> NDArray[np.uint8]:
        time.sleep(self.seconds)
        ramp = np.linspace(0, 200, self.width)[None, :] + np.linspace(0, 40, self.height)[:, None]
        return ((ramp + self.value) % 256).astype(np.uint8)


@dataclass(frozen=True)
class Broken:
    """A film that cannot be read."""

    def read(self) -> NDArray[np.uint8]:
        raise StudyError("is damaged or cut short.", file="films/broken.png", remedy="Export it again.")


@dataclass(frozen=True)
class Block:
    """A mask: 255 in its upper left quarter."""

    height: int = 24
    width: int = 20

    def read(self) -> NDArray[np.uint8]:
        mask = np.zeros((self.height, self.width), dtype=np.uint8)
        mask[: self.height // 2, : self.width // 2] = 255
        return mask


def make_film(number: int, view: View = "frontal", seconds: float = 0.0) -> Film:
    """Film ``number`` with one box and one mask."""
    box = Box("Cardiomegaly", 2.0, 3.0, 12.0, 15.0)
    return Film(
        f"film-{number}-{view}", view, Gradient(number % 50, seconds=seconds), boxes=(box,), masks={"heart": Block()}
    )


def make_study(number: int, views: Sequence[View] = ("frontal",), seconds: float = 0.0) -> Study:
    """Study ``number`` of patient ``number // 2``."""
    text = f"FINDINGS: {SENTENCES[number % 4]} {SENTENCES[(number // 4) % 4]} Seen {number} times."
    films = tuple(make_film(number, view, seconds) for view in views)
    phrase = PhraseRegion(films[0].film_id, "Cardiomegaly", Span(10, 20), films[0].boxes) if films else None
    return Study(
        study_id=f"s{number}",
        patient_id=f"p{number // 2}",
        films=films,
        report=parse_report(text),
        labels={"Cardiomegaly": float(number % 4 == 0), "Edema": float("nan") if number % 3 else 0.0},
        phrase_regions=(phrase,) if phrase else (),
        attributes={"view_position": "PA", "age": str(40 + number)} if number % 2 else {},
    )


@dataclass
class MemorySource:
    """A source of given studies."""

    items: Sequence[Study | Rejected | Remark]
    version: str = "1"
    name: str = "memory"
    label_names: tuple[str, ...] = field(default=("Cardiomegaly", "Edema"))
    has_reports: bool = True

    def studies(self) -> Iterator[Study | Rejected | Remark]:
        return iter(self.items)

    def fingerprint(self) -> str:
        return self.version


def studies(count: int, seconds: float = 0.0) -> list[Study | Rejected | Remark]:
    """``count`` studies with one frontal film."""
    return [make_study(number, seconds=seconds) for number in range(count)]


def make_store(path: Path, items: Sequence[Study | Rejected | Remark], size: int = 16) -> Store:
    """A prepared store of the items, opened."""
    prepare_store(MemorySource(items), path, PrepareConfig(size=size), workers=1)
    return Store.open(path)


def with_report(study: Study, text: str) -> Study:
    """The study with another report."""
    return replace(study, report=parse_report(text), phrase_regions=())


def with_films(study: Study, *films: Film) -> Study:
    """The study with other films."""
    return replace(study, films=films, phrase_regions=())
