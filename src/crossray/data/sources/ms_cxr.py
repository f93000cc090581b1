"""MS-CXR: phrases of MIMIC-CXR reports and the boxes on films that they speak of.

The publisher's table (PhysioNet; :mod:`crossray.data.sources.ms_cxr_table`) has one row a box; rows of one film with
the same phrase and category are one phrase with several boxes. Films are those of MIMIC-CXR-JPG, under the paths that
the table gives (``files/p10/p10000032/s50414267/<dicom_id>.jpg``); all are frontal. Boxes are in pixels of the size
that the table states, so the films may be a smaller copy.

A study is one of MIMIC's. Its text is its report, if MIMIC-CXR's reports are at hand and hold every phrase word for
word (``files/p10/p10000032/s50414267.txt``; case and line breaks apart); else it is the phrases, joined as findings. A
category with a phrase is present; of the others the set tells nothing (NaN). The specs state no counts, so none is
checked unless a twin brings its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from crossray.data.images import FilmPixels
from crossray.data.reports import decode_report, parse_report, parse_sections
from crossray.data.sources.base import Rejected, Remark
from crossray.data.sources.cells import BadRowError, MissingFilmError, box_by_size, check_row, number_of, rejected
from crossray.data.sources.expected import PublishedOptions, counted, expected_of
from crossray.data.sources.facts import attributes
from crossray.data.sources.fingerprint import fingerprint_of
from crossray.data.sources.layout import require_layout
from crossray.data.sources.ms_cxr_table import BOX_COLUMNS, TABLE_NAMES, newest_table, phrase_rows
from crossray.data.sources.tables import Row
from crossray.data.study import Box, Film, PhraseRegion, Report, Span, Study
from crossray.errors import DataError, StudyError

CATEGORIES = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Lung Opacity",
    "Pleural Effusion",
    "Pneumonia",
    "Pneumothorax",
)
GET_IT = "It is at physionet.org/content/ms-cxr, for credentialed users who sign its data use agreement."
GET_FILMS = "Films are those of MIMIC-CXR-JPG: give its folder as --set images=FOLDER."

_PATH = re.compile(r"files/p\d{2}/p(?P<patient>\d{8})/s(?P<study>\d{8})/(?P<dicom>[^/]+)\.jpg")
_SENTENCE_END = re.compile(r"[.!?]$")
_SPLITS = {"val": "validate"}


class MsCxrOptions(PublishedOptions):
    """Options.

    Attributes:
        images: MIMIC-CXR-JPG's folder, which holds ``files/``; by default the set's own.
        reports: MIMIC-CXR's folder with the reports, which holds ``files/`` or ``mimic-cxr-reports/files/``; by
            default that of the images.
    """

    images: Path | None = None
    reports: Path | None = None


@dataclass(frozen=True)
class _Phrase:
    """A phrase on a film: what it says, of which category, and its boxes."""

    dicom_id: str
    category: str
    text: str
    boxes: tuple[Box, ...]


class MsCxrSource:
    """The annotated studies of the newest table in the folder ``root``, in the order of its rows.

    Raises:
        DataError: there is no table, or no ``files/`` with films.
    """

    name = "ms_cxr"
    label_names = CATEGORIES
    has_reports = True

    def __init__(self, root: Path, options: MsCxrOptions | None = None) -> None:
        require_layout(root, (TABLE_NAMES,), source=self.name, get_it=GET_IT)
        table = newest_table(root)
        if table is None:
            raise DataError("the names of its tables have no version.", file=root, remedy=GET_IT)
        self.root, self._table = root, table
        self._options = options or MsCxrOptions()
        self._images = self._options.images or root
        self._reports = self._options.reports or self._images
        require_layout(self._images, ("files/",), source="MIMIC-CXR-JPG", get_it=GET_FILMS)
        self._expected = expected_of(self._options.expected_counts, self.name, root, {})

    def fingerprint(self) -> str:
        """Changes with the table, a film or a report."""
        paths = sorted({row["path"] for row in phrase_rows(self._table)})
        files = [self._images / path for path in paths]
        files += [self._report_file(found) for path in paths if (found := _PATH.fullmatch(path))]
        return fingerprint_of([self._table], files, self._images)

    def studies(self) -> Iterator[Study | Rejected | Remark]:
        """Every study that has a phrase.

        Raises:
            DataError: the table cannot be read, the folder given for reports has none, or, after the last study,
                a twin holds other numbers than it should.
        """
        return counted(self._studies(), self._expected, self.root)

    def _studies(self) -> Iterator[Study | Rejected | Remark]:
        by_study = _by_study(list(phrase_rows(self._table)))
        self._check_reports(row["path"] for rows in by_study.values() for row in rows)
        for study_id, rows in by_study.items():
            try:
                yield from self._study(study_id, rows)
            except StudyError as error:
                yield rejected(study_id, error)

    def _study(self, study_id: str, rows: list[Row]) -> Iterator[Study | Remark]:
        place = self._place(rows[0])
        films = {self._place(row)["dicom"]: (self._film(row), _stated_size(row, self._table)) for row in rows}
        phrases = _phrases(rows, self._table)
        report, spans, missing = self._text(place, phrases)
        if missing:
            yield Remark(study_id, "phrase_not_in_report", f"its report has no '{missing}': the phrases are its text.")
        labels = {name: 1.0 if any(p.category == name for p in phrases) else math.nan for name in CATEGORIES}
        split = rows[0]["split"]
        yield Study(
            study_id=study_id,
            patient_id=place["patient"],
            films=tuple(
                Film(name, "frontal", FilmPixels(path), *size, boxes=_boxes_on(name, phrases))
                for name, (path, size) in films.items()
            ),
            report=report,
            labels=labels,
            phrase_regions=tuple(
                PhraseRegion(phrase.dicom_id, phrase.category, span, phrase.boxes)
                for phrase, span in zip(phrases, spans, strict=True)
            ),
            attributes=attributes(publisher_split=_SPLITS.get(split, split)),
        )

    def _place(self, row: Row) -> re.Match[str]:
        check_row(row, "dicom_id", self._table)
        found = _PATH.fullmatch(row["path"])
        if found is None or found["dicom"] != row["dicom_id"]:
            problem = f"path '{row['path']}' is not files/p../p../s../{row['dicom_id']}.jpg."
            raise BadRowError(problem, file=self._table, row=row.number)
        return found

    def _film(self, row: Row) -> Path:
        path = self._images / row["path"]
        if not path.is_file():
            raise MissingFilmError("the film is not there.", file=path, row=row.number, remedy=GET_FILMS)
        return path

    def _report_file(self, place: re.Match[str]) -> Path:
        folder = Path(place.string).parent
        name = folder.parent / f"{folder.name}.txt"
        unpacked = self._reports / "mimic-cxr-reports" / name
        return unpacked if unpacked.is_file() else self._reports / name

    def _check_reports(self, paths: Iterable[str]) -> None:
        """Refuse a folder given for reports that has none: the phrases would be every study's text, unasked."""
        places = (found for path in paths if (found := _PATH.fullmatch(path)))
        if self._options.reports is not None and not any(self._report_file(place).is_file() for place in places):
            raise DataError(
                "holds no report of these studies.",
                file=self._options.reports,
                field="reports",
                remedy="Unpack mimic-cxr-reports.zip there, or leave the option out.",
            )

    def _text(self, place: re.Match[str], phrases: list[_Phrase]) -> tuple[Report, list[Span], str]:
        """The study's text, the span of each phrase in it, and the first phrase that its report lacks."""
        path = self._report_file(place)
        if not path.is_file():
            return *_joined(phrases), ""
        text = decode_report(path.read_bytes(), path)
        found = [_find(phrase.text, text) for phrase in phrases]
        spans = [span for span in found if span is not None]
        if len(spans) == len(phrases):
            return parse_report(text), spans, ""
        return *_joined(phrases), phrases[found.index(None)].text


def _by_study(rows: list[Row]) -> dict[str, list[Row]]:
    """Rows by study; a row with a broken path goes with the other rows of its film."""
    study_of: dict[str, str] = {}
    for row in rows:
        if found := _PATH.fullmatch(row["path"]):
            study_of.setdefault(found["dicom"], found["study"])
    by_study: dict[str, list[Row]] = {}
    for row in rows:
        found = _PATH.fullmatch(row["path"])
        study_id = found["study"] if found else study_of.get(row["dicom_id"], row["dicom_id"])
        by_study.setdefault(study_id, []).append(row)
    return by_study


def _phrases(rows: list[Row], table: Path) -> list[_Phrase]:
    boxes: dict[tuple[str, str, str], list[Box]] = {}
    for row in rows:
        if row["category_name"] not in CATEGORIES:
            known = ", ".join(CATEGORIES)
            raise BadRowError(f"category_name '{row['category_name']}' is none of {known}.", file=table, row=row.number)
        if not row["label_text"]:
            raise BadRowError("label_text is empty.", file=table, row=row.number)
        box = box_by_size(row["category_name"], row, BOX_COLUMNS, table)
        boxes.setdefault((row["dicom_id"], row["category_name"], row["label_text"]), []).append(box)
    return [_Phrase(*key, tuple(found)) for key, found in boxes.items()]


def _stated_size(row: Row, table: Path) -> tuple[int, int]:
    """Height and width that the boxes are in pixels of: smaller copies of MIMIC-CXR-JPG go about."""
    height, width = (number_of(row, column, table) for column in ("image_height", "image_width"))
    if height < 1 or width < 1:
        raise BadRowError(f"the film is stated to have {height:g} x {width:g} pixels.", file=table, row=row.number)
    return int(height), int(width)


def _boxes_on(dicom_id: str, phrases: list[_Phrase]) -> tuple[Box, ...]:
    """The boxes on a film; one that several phrases share is there once."""
    return tuple(dict.fromkeys(box for phrase in phrases if phrase.dicom_id == dicom_id for box in phrase.boxes))


def _joined(phrases: list[_Phrase]) -> tuple[Report, list[Span]]:
    """Phrases as findings, each once, a full stop after each that has none; and where each phrase stands."""
    body, start_of = "", {}
    for text in dict.fromkeys(phrase.text for phrase in phrases):
        start_of[text] = len(body) + bool(body)
        body += f"{' ' if body else ''}{text}{'' if _SENTENCE_END.search(text) else '.'}"
    report = parse_sections({"findings": body})
    before = report.sections[0].span.start
    return report, [Span(before + start_of[p.text], before + start_of[p.text] + len(p.text)) for p in phrases]


def _find(phrase: str, text: str) -> Span | None:
    words = r"\s+".join(re.escape(word) for word in phrase.split())
    found = re.search(words, text, re.IGNORECASE)
    return Span(*found.span()) if found else None
