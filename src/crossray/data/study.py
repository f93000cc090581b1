"""The one record that every source produces: a study with its films, report, labels and boxes.

Coordinates of boxes, points and masks are pixels of the *original* film (the film as acquired,
before any squeeze or resize), x to the right and y downwards, box edges as continuous
coordinates: a box over the whole film is ``(0, 0, width, height)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

View = Literal["frontal", "lateral", "unknown"]

ATTRIBUTES: Mapping[str, str] = MappingProxyType(
    {
        "sex": "F or M",
        "age": "age in years, a number in text",
        "view_position": "position of the frontal film as the publisher writes it: AP, PA, ...",
        "publisher_split": "train, validate or test, as the publisher divides the set",
        "scanner": "make or model of the device",
    }
)
"""Names of study attributes that sources share, and what each holds; a source may give others beside them."""

SectionName = Literal["indication", "technique", "comparison", "findings", "impression", "other"]


@dataclass(frozen=True, slots=True)
class Span:
    """Characters ``text[start:end]`` of a report's text."""

    start: int
    end: int

    def of(self, text: str) -> str:
        """The characters of ``text`` that this span names."""
        return text[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Section:
    """One section of a report: its kind and the span of its body (the heading is not part of it)."""

    name: SectionName
    span: Span


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence: its span and the kind of section it stands in."""

    span: Span
    section: SectionName


@dataclass(frozen=True, slots=True)
class Report:
    """A radiology report: the text as it came, and spans into it.

    ``text`` is never edited; every span slices it. ``sections`` and ``sentences`` are in reading order.
    """

    text: str
    sections: tuple[Section, ...] = ()
    sentences: tuple[Sentence, ...] = ()


@dataclass(frozen=True, slots=True)
class Box:
    """A labelled box in pixels of the original film: ``x_min < x_max``, ``y_min < y_max``."""

    label: str
    x_min: float
    y_min: float
    x_max: float
    y_max: float


@dataclass(frozen=True, slots=True)
class PhraseRegion:
    """A phrase of the report and the boxes on a film that it speaks of (known for the phantom and MS-CXR)."""

    film_id: str
    label: str
    span: Span
    boxes: tuple[Box, ...]


class PixelSource(Protocol):
    """Where a film's pixels come from. Small and picklable: worker processes call :meth:`read`."""

    def read(self) -> NDArray[np.uint8]:
        """Pixels ready for display, ``[height, width]`` uint8, higher is brighter, bone is bright.

        Raises:
            StudyError: the film cannot be read, with its file and what is wrong.
        """
        ...


class MaskSource(Protocol):
    """Where a mask comes from; 255 inside, 127 ignore, 0 outside, of the size that the film's file has."""

    def read(self) -> NDArray[np.uint8]:
        """The mask, ``[height, width]`` uint8."""
        ...


@dataclass(frozen=True)
class Film:
    """One film of a study.

    ``original_height``/``original_width`` give the film's true shape where the file was squeezed
    (IU X-ray's copies are square); ``None`` means the file has the true shape.
    """

    film_id: str
    view: View
    pixels: PixelSource
    original_height: int | None = None
    original_width: int | None = None
    boxes: tuple[Box, ...] = ()
    masks: Mapping[str, MaskSource] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """One examination: films and report of one patient on one occasion.

    ``patient_id`` is ``None`` where patients are unknown (splits then go by study). ``labels`` maps a
    class name to 1.0 (present), 0.0 (absent) or NaN (unknown or uncertain).

    ``attributes`` hold what else the publisher tells, as text, under the names of :data:`ATTRIBUTES` where these fit;
    an attribute that is not known is left out.
    """

    study_id: str
    patient_id: str | None
    films: tuple[Film, ...]
    report: Report
    labels: Mapping[str, float] = field(default_factory=dict)
    phrase_regions: tuple[PhraseRegion, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
