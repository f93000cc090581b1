"""Any source, de-identified on its way into a store: the one place where ids, texts and reasons are replaced.

Of DICOM PS3.15's Basic Application Level Confidentiality Profile: a store has pixels, report and labels, and no DICOM
attribute but those that ``ATTRIBUTES`` names, as the profile's Retain Patient Characteristics Option allows. Ids
(PatientID, AccessionNumber, UIDs, paths of films) are keyed hashes. The profile does not speak of reports: what
patterns, the ids of patient and study, and the names in the films' headers find there is overwritten by underscores of
the same length, so that every span still holds. Writing that is burned into pixels stays: ``crossray data audit`` looks
for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crossray.data.audit.identifiers import identifier_spans
from crossray.data.dicom_file import looks_like_dicom, read_start
from crossray.data.dicom_header import read_header
from crossray.data.images import FilmPixels
from crossray.data.person_names import name_patterns
from crossray.data.pseudonyms import PseudonymKey
from crossray.data.sources.base import Rejected, Remark, Source
from crossray.data.sources.facts import age_of, attributes
from crossray.data.sources.folder_films import CheckedPixels
from crossray.data.study import ATTRIBUTES, Film, Report, Study
from crossray.errors import StudyError

WITHHELD = "what it says may identify and is withheld; 'crossray data pseudonyms' tells which study or film it is."

_OLDEST = 89  # years; older people are few enough to be known by their age
_SHORTEST_ID_IN_TEXT = 5


class _Reader(Protocol):
    def read(self) -> NDArray[np.uint8]: ...


@dataclass(frozen=True)
class QuietPixels:
    """Pixels of a film or mask whose errors tell no file and no value: these may hold a name."""

    inner: _Reader

    def read(self) -> NDArray[np.uint8]:
        """As the inner source.

        Raises:
            StudyError: of the same rule, without file and value.
        """
        try:
            return self.inner.read()
        except StudyError as error:
            raise type(error)(WITHHELD, field=error.field) from None


class DeidentifiedSource:
    """A source's studies without what identifies: same studies, same order, same pixels, labels and boxes."""

    def __init__(self, inner: Source, key: PseudonymKey) -> None:
        self._inner = inner
        self._key = key
        self.name = inner.name
        self.label_names = inner.label_names
        self.has_reports = inner.has_reports

    @property
    def key_id(self) -> str:
        """Which key the pseudonyms hang on."""
        return self._key.id

    def fingerprint(self) -> str:
        """That of the source itself."""
        return self._inner.fingerprint()

    def studies(self) -> Iterator[Study | Rejected | Remark]:
        """The source's items under pseudonyms; reasons are withheld, a row of a table is still told."""
        for item in self._inner.studies():
            yield self._study(item) if isinstance(item, Study) else self._event(item)

    def _study(self, study: Study) -> Study:
        film_ids = {film.film_id: self._key.pseudonym("film", film.film_id) for film in study.films}
        return replace(
            study,
            study_id=self._key.pseudonym("study", study.study_id),
            patient_id=self._key.pseudonym("patient", study.patient_id) if study.patient_id else None,
            films=tuple(self._film(film, film_ids[film.film_id]) for film in study.films),
            report=Report(_masked(study), study.report.sections, study.report.sentences),
            phrase_regions=tuple(
                replace(phrase, film_id=self._key.pseudonym("film", phrase.film_id)) for phrase in study.phrase_regions
            ),
            attributes=attributes(
                **{name: _kept(name, value) for name, value in study.attributes.items() if name in ATTRIBUTES}
            ),
        )

    def _film(self, film: Film, film_id: str) -> Film:
        masks = {name: QuietPixels(mask) for name, mask in film.masks.items()}
        return replace(film, film_id=film_id, pixels=QuietPixels(film.pixels), masks=masks)

    def _event(self, event: Rejected | Remark) -> Rejected | Remark:
        film_id = self._key.pseudonym("film", event.film_id) if event.film_id is not None else None
        quiet = replace(event, study_id=self._key.pseudonym("study", event.study_id), film_id=film_id, reason=WITHHELD)
        if isinstance(quiet, Remark):
            return quiet
        return replace(quiet, file=None, row=quiet.row if isinstance(quiet.row, int) else None)


def pseudonym_key_of(source: Source) -> str:
    """The name of the key that a source's ids are hashed with; empty where they are its own."""
    return source.key_id if isinstance(source, DeidentifiedSource) else ""


def _masked(study: Study) -> str:
    text = study.report.text
    for _, span in identifier_spans(text):
        text = f"{text[: span.start]}{'_' * (span.end - span.start)}{text[span.end :]}"
    for pattern in _own_identifiers(study):
        text = pattern.sub(lambda match: "_" * len(match[0]), text)
    return text


def _own_identifiers(study: Study) -> Iterator[re.Pattern[str]]:
    for identifier in (study.study_id, study.patient_id):
        # A report may write an id without the zeros that fill it up.
        bare = (identifier or "").lstrip("0")
        if len(bare) >= _SHORTEST_ID_IN_TEXT:
            yield re.compile(rf"(?<!\w)0*{re.escape(bare)}(?!\w)", re.IGNORECASE)
    yield from name_patterns({word for film in study.films for word in _header_names(film)})


def _header_names(film: Film) -> frozenset[str]:
    """Words of the patient's name in a DICOM film's header; a film that cannot be read is refused when it is read."""
    if not isinstance(film.pixels, CheckedPixels | FilmPixels):
        return frozenset()
    path = film.pixels.path
    try:
        return read_header(path).name_words if looks_like_dicom(read_start(path)) else frozenset()
    except StudyError:
        return frozenset()


def _kept(name: str, value: str) -> str:
    if name != "age":
        return value
    age = age_of(value)
    return str(min(int(age), _OLDEST + 1)) if age else ""
