"""SIIM-ACR Pneumothorax Segmentation, the training part of stage 1 (localized_evaluation spec, §5.3).

The layout of the Kaggle mirror: ``dicom-images-train/<study>/<series>/<ImageId>.dcm`` and ``train-rle.csv``, whose
second header may begin with a blank. Masks are run-length code relative to the end of the run before, down the
columns; ``-1`` is an empty mask, and several rows of one film are joined. Every film has the mask ``pneumothorax``,
empty where it has none. The table tells no patients. Films are equalised unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from crossray.data.equalise import film_pixels
from crossray.data.run_length import EMPTY_CODE
from crossray.data.sources.base import Rejected, Remark
from crossray.data.sources.cells import BadRowError, check_row, film_in, rejected, rows_by
from crossray.data.sources.expected import PublishedOptions, counted, expected_of
from crossray.data.sources.fingerprint import fingerprint_of
from crossray.data.sources.layout import require_layout
from crossray.data.sources.masks import RunLengthMask, SizeOfFilm
from crossray.data.sources.publisher_tables import publisher_rows
from crossray.data.sources.tables import Row
from crossray.data.study import Film, Report, Study
from crossray.errors import StudyError

LABEL = "Pneumothorax"
MASK = "pneumothorax"
#: §5.3; positives and rows: `downstream_protocols`, section 1.
PUBLISHED = {"studies": 12_047, f"positive {LABEL}": 2_669, "rows of train-rle.csv": 12_954}
GET_IT = (
    "It is the Kaggle data set seesee/siim-train-test, a copy of the challenge's data, under the challenge's terms."
)

_FILMS, _TABLE = "dicom-images-train", "train-rle.csv"


class SiimAcrOptions(PublishedOptions):
    """Options. ``equalise``: films equalised, as the localized tasks were measured."""

    equalise: bool = True


class SiimAcrSource:
    """The films of a download in the folder ``root``, in the order of the table.

    Raises:
        DataError: a part of the layout is missing; each is named.
    """

    name = "siim_acr"
    label_names = (LABEL,)
    has_reports = False

    def __init__(self, root: Path, options: SiimAcrOptions | None = None) -> None:
        require_layout(root, (f"{_FILMS}/", _TABLE), source=self.name, get_it=GET_IT)
        self.root = root
        self._options = options or SiimAcrOptions()
        self._expected = expected_of(self._options.expected_counts, self.name, root, PUBLISHED)
        self._films = {path.stem: path for path in sorted((root / _FILMS).glob("*/*/*.dcm"))}

    def fingerprint(self) -> str:
        """Changes with the table, a film, or whether films are equalised."""
        return fingerprint_of([self.root / _TABLE], self._films.values(), self.root, self._options)

    def studies(self) -> Iterator[Study | Rejected | Remark]:
        """Every film of the table as a study of its own: the split lists are per image.

        Raises:
            DataError: the table cannot be read, or, after the last study, the set holds other numbers than it should.
        """
        rows = list(publisher_rows(self.root / _TABLE, ("ImageId", "EncodedPixels")))
        return counted(
            self._studies(rows_by(rows, "ImageId")), self._expected, self.root, {"rows of train-rle.csv": len(rows)}
        )

    def _studies(self, rows_of: dict[str, list[Row]]) -> Iterator[Study | Rejected | Remark]:
        for film_id, rows in rows_of.items():
            try:
                yield self._study(film_id, rows)
            except StudyError as error:
                yield rejected(film_id, error)
        for film_id in sorted(self._films.keys() - rows_of.keys()):
            yield Rejected(film_id, "no_label", f"{_TABLE} has no row for it.", str(self._films[film_id]))

    def _study(self, film_id: str, rows: list[Row]) -> Study:
        codes = tuple(code for row in rows if (code := self._code(row)) != EMPTY_CODE)
        path = film_in(self._films, film_id, self.root / _FILMS)
        film = Film(
            film_id,
            "frontal",
            film_pixels(path, equalised=self._options.equalise),
            masks={MASK: RunLengthMask(codes, SizeOfFilm(path))},
        )
        return Study(film_id, None, (film,), Report(""), labels={LABEL: float(bool(codes))})

    def _code(self, row: Row) -> str:
        # Whether the runs fit the film is seen when the mask is drawn; what is no code at all is refused here.
        table = self.root / _TABLE
        check_row(row, "ImageId", table)
        code = row["EncodedPixels"]
        numbers = code.split()
        if code != EMPTY_CODE and (len(numbers) % 2 or not numbers or not all(map(str.isdecimal, numbers))):
            shown = code if len(code) <= 40 else f"{code[:37]}..."
            raise BadRowError(f"'{shown}' is not run-length code.", file=table, row=row.number)
        return code
