"""MIMIC-CXR-JPG 2.0.0 with the reports of MIMIC-CXR 2.0.0; or the DICOM films of MIMIC-CXR itself.

The publisher's layout: films in ``files/p10/p10000032/s50414267/<dicom_id>.jpg`` (or ``.dcm``), and beside ``files/``
the tables ``mimic-cxr-2.0.0-metadata``, ``-split``, ``-chexpert`` and ``-negbio`` (``.csv.gz``, or unpacked). Reports
are ``files/p10/p10000032/s50414267.txt``, as MIMIC-CXR and its ``mimic-cxr-reports.zip`` have them: beside the films,
in ``mimic-cxr-reports/``, or where the option ``reports`` says. Without the metadata, MIMIC-CXR's ``cxr-record-list``
tells which films there are; views are then those of the DICOM headers, and there are no labels.

A film's view is that of its ViewPosition: PA and AP are frontal, LATERAL and LL lateral, oblique ones unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Literal

from crossray.data.dicom_view import view_in_words
from crossray.data.findings import FINDINGS
from crossray.data.images import FilmPixels
from crossray.data.reports import decode_report, parse_report
from crossray.data.sources.base import Rejected, Remark
from crossray.data.sources.cells import MissingFilmError, rejected
from crossray.data.sources.chexpert_marks import (
    UNCERTAIN,
    MarkOptions,
    labels_of_marks,
    uncertain_classes,
)
from crossray.data.sources.expected import counted, expected_of
from crossray.data.sources.facts import attributes
from crossray.data.sources.fingerprint import fingerprint_of
from crossray.data.sources.folder_films import header_view
from crossray.data.sources.layout import find_part, require_layout
from crossray.data.sources.mimic_files import (
    FILMS,
    METADATA,
    RECORDS,
    SPLIT,
    FilmRecord,
    film_records,
    label_table,
    report_file,
    report_folder,
)
from crossray.data.sources.mimic_labels import StudyMarks, split_by_study
from crossray.data.study import Film, Report, Study
from crossray.errors import StudyError

GET_IT = (
    "It is at https://physionet.org/content/mimic-cxr-jpg/2.0.0 (reports: /content/mimic-cxr/2.0.0) for credentialed "
    "users who sign its data use agreement."
)


class MimicCxrOptions(MarkOptions):
    """Options of the source.

    Attributes:
        labeller: whose labels to take: those of ``chexpert`` or of ``negbio``.
        reports: folder with the reports, if they are not beside the films.
    """

    labeller: Literal["chexpert", "negbio"] = "chexpert"
    reports: Path | None = None


class MimicCxrSource:
    """The set in the folder ``root``, studies in the order of the films' table.

    Raises:
        DataError: a part of the layout is missing, each is named; or a table cannot be read.
    """

    name = "mimic_cxr"

    def __init__(self, root: Path, options: MimicCxrOptions | None = None) -> None:
        require_layout(root, (FILMS, (*METADATA, *RECORDS)), source=self.name, get_it=GET_IT)
        self.root = root
        self._options = options or MimicCxrOptions()
        labels = label_table(self._options.labeller)
        metadata = find_part(root, METADATA)
        if metadata is not None:
            require_layout(root, (SPLIT, labels), source=self.name, get_it=GET_IT)
        self._films_table = metadata or find_part(root, RECORDS) or root / RECORDS[0]
        self._split_table = find_part(root, SPLIT)
        self._label_table = find_part(root, labels)
        # The specs state no counts of this set.
        self._expected = expected_of(self._options.expected_counts, self.name, root, {})

    @property
    def label_names(self) -> tuple[str, ...]:
        """The 14 classes; none where there is no table of labels."""
        return FINDINGS if self._label_table is not None else ()

    @property
    def has_reports(self) -> bool:
        """Whether a report was found."""
        return self._reports is not None

    @cached_property
    def _reports(self) -> Path | None:
        return report_folder(self.root, self._records(), self._options.reports)

    def fingerprint(self) -> str:
        """Changes with a table, a report or a film."""
        tables = [self._films_table, *(table for table in (self._split_table, self._label_table) if table)]
        return fingerprint_of(tables, self._files(), self.root, self._options)

    def studies(self) -> Iterator[Study | Rejected | Remark]:
        """Every study; before it a rejection for each film that is not there, and a remark if its report is missing.

        Raises:
            DataError: a table cannot be read, or, after the last study, a twin holds other numbers than it should.
        """
        return counted(self._studies(), self._expected, self.root)

    def _records(self) -> Iterator[FilmRecord]:
        return (record for record in film_records(self._films_table) if isinstance(record, FilmRecord))

    def _files(self) -> Iterator[Path]:
        studies: set[str] = set()
        for record in self._records():
            yield record.file(self.root)
            if self._reports is not None and record.study not in studies:
                studies.add(record.study)
                yield report_file(self._reports, record)

    def _studies(self) -> Iterator[Study | Rejected | Remark]:
        split_of = split_by_study(self._split_table) if self._split_table else {}
        marks = StudyMarks.read(self._label_table) if self._label_table else None
        by_study: dict[str, list[FilmRecord]] = {}
        left_out: set[str] = set()
        for item in film_records(self._films_table):
            if isinstance(item, FilmRecord):
                by_study.setdefault(item.study, []).append(item)
            elif not item.study_id or item.study_id not in left_out:
                left_out.add(item.study_id)
                yield item
        # With a row that makes no sense goes its study: it would be one with a film less, and be listed as left out.
        for study_id in left_out & by_study.keys():
            del by_study[study_id]
        for study_id, records in by_study.items():
            try:
                yield from self._study(records, split_of.get(study_id, ""), marks)
            except StudyError as error:
                yield rejected(study_id, error)

    def _study(
        self, records: list[FilmRecord], split: str, marks: StudyMarks | None
    ) -> Iterator[Study | Rejected | Remark]:
        first = records[0]
        found = marks.of(first.study) if marks is not None else {}
        films: list[Film] = []
        for record in records:
            try:
                films.append(self._film(record))
            except StudyError as error:
                yield Rejected(first.study, error.rule, error.problem, error.file, record.row, record.dicom)
        frontal = {film.film_id for film in films if film.view == "frontal"}
        report = self._report(first)
        if report is None and self._reports is not None:
            yield Remark(first.study, "no_report_file", f"{report_file(self._reports, first)} is not there.")
        yield Study(
            study_id=first.study,
            patient_id=first.subject,
            films=tuple(films),
            report=report or Report(""),
            labels=labels_of_marks(found, self._options.marks) if marks is not None else {},
            attributes=attributes(
                publisher_split=split,
                view_position=next((r.view_position for r in records if r.dicom in frontal and r.view_position), ""),
                **{UNCERTAIN: uncertain_classes(found)},
            ),
        )

    def _film(self, record: FilmRecord) -> Film:
        path = record.file(self.root)
        if not path.is_file():
            raise MissingFilmError("there is neither a .jpg nor a .dcm file of it.", file=path.with_suffix(""))
        written = record.view_position
        view = header_view(path) if written is None else view_in_words(written) or "unknown"
        return Film(record.dicom, view, FilmPixels(path))

    def _report(self, record: FilmRecord) -> Report | None:
        """The study's report; ``None`` if it has none.

        Raises:
            StudyError: the file is no text.
        """
        if self._reports is None:
            return None
        path = report_file(self._reports, record)
        return parse_report(decode_report(path.read_bytes(), path)) if path.is_file() else None
