"""CheXphoto v1.1: photographs of CheXpert's films and pictures that were made to look like photographs.

The publisher's layout: ``train.csv`` and ``valid.csv`` in CheXpert's form, whose paths name what a picture is:
``train/natural/nokia/patient00001/study1/view1_frontal.jpg`` (or ``iphone``; ``oneplus`` in ``valid/``) and
``train/synthetic/photographic/...`` (or ``digital``). A film that was photographed by several devices is a film of as
many studies here, all of one patient, so that splits by patient keep them together. There are no reports.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from crossray.data.findings import FINDINGS
from crossray.data.images import PhotographPixels
from crossray.data.sources.base import Rejected, Remark
from crossray.data.sources.chexpert_marks import MarkOptions
from crossray.data.sources.chexpert_table import FilmRow, table_films, table_studies
from crossray.data.sources.expected import counted, expected_of
from crossray.data.sources.fingerprint import fingerprint_of
from crossray.data.sources.layout import is_file, require_layout
from crossray.data.study import Study

#: Radiographs, however often each was photographed, and patients (`global_local`, section 4.3).
PUBLISHED = {"training radiographs": 10_507, "training patients": 3_000, "validation radiographs": 234}
GET_IT = "It is at https://stanfordmlgroup.github.io/competitions/chexphoto after a sign-in, for research."

# Version 1.1 has further photographs of printed films in valid/; they are none of CheXpert's radiographs.
_OF_CHEXPERT = ("natural", "synthetic")


class ChexphotoOptions(MarkOptions):
    """Options of the source. ``photos``: ``all``, or only those in folders of this kind."""

    photos: Literal["all", "natural", "synthetic"] = "all"


class ChexphotoSource:
    """The set in the folder ``root``: training, then validation pictures, in the order of their tables.

    Raises:
        DataError: a part of the layout is missing; each is named.
    """

    name = "chexphoto"
    label_names = FINDINGS
    has_reports = False

    def __init__(self, root: Path, options: ChexphotoOptions | None = None) -> None:
        parts = ("train.csv", "valid.csv", "train/", "valid/")
        require_layout(root, parts, source=self.name, get_it=GET_IT)
        self.root = root
        self._options = options or ChexphotoOptions()
        self._tables = [root / "train.csv", root / "valid.csv"]
        published = PUBLISHED if self._options.photos == "all" else {}
        self._expected = expected_of(self._options.expected_counts, self.name, root, published)

    def fingerprint(self) -> str:
        """Changes with a table or a film."""
        return fingerprint_of(self._tables, table_films(self._tables, self.root), self.root, self._options)

    def studies(self) -> Iterator[Study | Rejected | Remark]:
        """Every study under every device or transformation; its attribute ``photo`` names the folders.

        Raises:
            DataError: a table cannot be read, or, after the last study, the set holds other numbers than it should.
        """
        more: dict[str, int] = {}
        return counted(self._studies(more), self._expected, self.root, more)

    def _studies(self, more: dict[str, int]) -> Iterator[Study | Rejected]:
        radiographs: dict[str, set[tuple[str, str, str]]] = {"train": set(), "valid": set()}

        def wanted(film_row: FilmRow) -> bool:
            place, kind = film_row.place, film_row.place.kind.partition("/")[0]
            if kind in _OF_CHEXPERT and place.split in radiographs and is_file(self.root / place.path):
                name = place.path.rpartition("/")[2]
                radiographs[place.split].add((place.patient, place.study, name))
            return self._options.photos in ("all", kind)

        yield from table_studies(
            self._tables, self.root, self._options.marks, wanted=wanted, pixels_of=PhotographPixels
        )
        more["training radiographs"] = len(radiographs["train"])
        more["training patients"] = len({patient for patient, _, _ in radiographs["train"]})
        more["validation radiographs"] = len(radiographs["valid"])
