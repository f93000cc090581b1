"""COVID Rural: opacities drawn on the films of a hospital in Arkansas (localized_evaluation spec, §5.2).

The folder ``covid_rural_annot`` of the publisher's repository: ``jpgs/COVID-19-AR-<number>_<MM-DD-YYYY>-XR.jpg``,
masks of 0 and 1 under the same name in ``pngs_masks/``, and, if it is there, ``covid_rural_patient_info.csv`` with age
and sex. Only films with a mask are studies, the others are listed. The JPEGs are RGB: their channels are averaged, then
the film is equalised unless told otherwise. There are no labels: all patients have COVID, and a mask may be empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from crossray.data.equalise import film_pixels
from crossray.data.sources.base import Rejected, Remark
from crossray.data.sources.expected import PublishedOptions, counted, expected_of
from crossray.data.sources.facts import age_of, attributes, sex_of
from crossray.data.sources.fingerprint import fingerprint_of
from crossray.data.sources.layout import require_layout
from crossray.data.sources.masks import PictureMask
from crossray.data.sources.publisher_tables import publisher_rows
from crossray.data.study import Film, Report, Study

MASK = "opacity"
PUBLISHED = {"studies": 221, "patients": 104}
GET_IT = (
    "It is the folder covid_rural_annot of github.com/haimingt/opacity_segmentation_covid_chest_X_ray; the films are "
    "those of the collection COVID-19-AR of The Cancer Imaging Archive, CC BY 4.0."
)

_FILMS, _MASKS, _PATIENTS = "jpgs", "pngs_masks", "covid_rural_patient_info.csv"
_NAME = re.compile(r"(?P<patient>COVID-19-AR-\d{8})_\d{2}-\d{2}-\d{4}-XR")


class CovidRuralOptions(PublishedOptions):
    """Options. ``equalise``: films equalised, as the localized tasks were measured."""

    equalise: bool = True


class CovidRuralSource:
    """The films with a mask in the folder ``root``, by name.

    Raises:
        DataError: a part of the layout is missing; each is named.
    """

    name = "covid_rural"
    label_names: tuple[str, ...] = ()
    has_reports = False

    def __init__(self, root: Path, options: CovidRuralOptions | None = None) -> None:
        require_layout(root, (f"{_FILMS}/", f"{_MASKS}/"), source=self.name, get_it=GET_IT)
        self.root = root
        self._options = options or CovidRuralOptions()
        self._expected = expected_of(self._options.expected_counts, self.name, root, PUBLISHED)
        self._films = {path.stem: path for path in sorted((root / _FILMS).glob("*.jpg"))}
        self._masks = {path.stem: path for path in sorted((root / _MASKS).glob("*.png"))}

    def fingerprint(self) -> str:
        """Changes with the table, a film, a mask, or whether films are equalised."""
        table = self.root / _PATIENTS
        files = [*self._films.values(), *self._masks.values()]
        return fingerprint_of([table] if table.is_file() else [], files, self.root, self._options)

    def studies(self) -> Iterator[Study | Rejected | Remark]:
        """Every film with a mask as a study of its own, and each film or mask that stands alone as a rejection.

        Raises:
            DataError: the table cannot be read, or, after the last study, the set holds other numbers than it should.
        """
        return counted(self._studies(), self._expected, self.root)

    def _studies(self) -> Iterator[Study | Rejected | Remark]:
        people = self._people()
        for stem in sorted(self._films.keys() | self._masks.keys()):
            named = _NAME.fullmatch(stem)
            if named is None:
                reason = "the name is not COVID-19-AR-<8 digits>_<MM-DD-YYYY>-XR: the patient is not known."
                yield Rejected(stem, "unknown_name", reason, str(self._films.get(stem) or self._masks[stem]))
            elif stem not in self._masks:
                yield Rejected(stem, "no_mask", f"{_MASKS}/ has no mask of it.", str(self._films[stem]))
            elif stem not in self._films:
                yield Rejected(stem, "missing_file", f"{_FILMS}/ has no film of it.", str(self._masks[stem]))
            else:
                yield self._study(stem, named["patient"], people)

    def _study(self, stem: str, patient: str, people: Mapping[str, Mapping[str, str]]) -> Study:
        pixels = film_pixels(self._films[stem], equalised=self._options.equalise)
        film = Film(stem, "frontal", pixels, masks={MASK: PictureMask(self._masks[stem])})
        return Study(stem, patient, (film,), Report(""), attributes=people.get(patient, {}))

    def _people(self) -> dict[str, dict[str, str]]:
        """Sex and age by patient."""
        table = self.root / _PATIENTS
        if not table.is_file():
            return {}
        rows = publisher_rows(table, ("PATIENT_ID", "AGE", "SEX"))
        return {row["PATIENT_ID"]: attributes(age=age_of(row["AGE"]), sex=sex_of(row["SEX"])) for row in rows}
