"""From a hospital's export of DICOM files and reports to a manifest of the ``folder`` source."""

from __future__ import annotations

import csv
import difflib
import io
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

from pydicom.datadict import keyword_dict, tag_for_keyword

from crossray.data.dicom_scan import ScannedFile, scan_export
from crossray.data.key_hints import KeyHints, bare, groups_alike
from crossray.data.report_export import (
    ReportExport,
    ReportPart,
    ReportProblem,
    join_parts,
    read_report_export,
    with_film_keys,
)
from crossray.data.sources.folder import REQUIRED_COLUMNS
from crossray.errors import ConfigError, DataError
from crossray.files import explained_disk_errors, write_whole

#: Columns of every manifest that is written here; sections and labels may follow.
MANIFEST_COLUMNS = (*REQUIRED_COLUMNS, "report")

PROBLEM_COLUMNS = ("what", "rule", "key", "file", "row", "reason")


@dataclass(frozen=True)
class ManifestRequest:
    """What ``crossray data manifest`` is asked for.

    Attributes:
        dicom_folder: the export; every file below it is looked at.
        reports: a table (CSV or Parquet), or a folder of ``.txt`` files named by key.
        out: the manifest to write; ``<out>.unmatched.csv`` is written beside it.
        key: keyword of the DICOM attribute, and name of the reports' column, that links the two.
        report_column: the reports' column with the text.
        workers: processes that read headers.
    """

    dicom_folder: Path
    reports: Path
    out: Path
    key: str = "AccessionNumber"
    report_column: str = "report"
    workers: int = 1

    @property
    def unmatched(self) -> Path:
        """Where everything is listed that did not come into the manifest, or that is odd."""
        return self.out.with_name(f"{self.out.stem}.unmatched.csv")


@dataclass(frozen=True)
class Problem:
    """A file, film or report that was left out, or a remark on one that is used, with the rule and the reason."""

    what: str
    rule: str
    reason: str
    key: str = ""
    file: str = ""
    row: int | None = None


@dataclass(frozen=True)
class ManifestSummary:
    """What was found, what came into the manifest, and what did not, by rule."""

    files: int
    reports: int
    studies: int
    views: Mapping[str, int]
    problems: Mapping[tuple[str, str], int]
    manifest: Path
    unmatched: Path

    def lines(self) -> list[str]:
        """The summary in words."""
        films = ", ".join(f"{count} {view}" for view, count in sorted(self.views.items())) or "0"
        lines = [f"files looked at: {self.files}", f"reports (rows or text files): {self.reports}"]
        lines += [f"  {what}, {rule}: {count}" for (what, rule), count in self.problems.items()]
        lines += [f"studies in the manifest: {self.studies} (films: {films})", f"manifest: {self.manifest}"]
        return [*lines, f"left out and remarks: {self.unmatched}"]


@dataclass
class _Study:
    films: list[ScannedFile] = field(default_factory=list)
    parts: list[ReportPart] = field(default_factory=list)


def write_dicom_manifest(
    request: ManifestRequest, show: Callable[[int, int], None] = lambda done, total: None
) -> ManifestSummary:
    """Match films with reports, write the manifest and the list of all that was left out.

    One row a film, in the order of key and path; the report stands on each row of its study. The patient's id is
    written, the patient's name never.

    Raises:
        ConfigError: the key is no DICOM keyword.
        DataError: a folder or table is missing or lacks a column, nothing matched (the list is written all the
            same), or the disk is full.
    """
    if tag_for_keyword(request.key) is None:
        raise _unknown_keyword(request.key)
    reports = read_report_export(request.reports, request.key, request.report_column)
    leave_out = (request.out, request.unmatched, request.reports)
    files = scan_export(request.dicom_folder, request.key, leave_out=leave_out, workers=request.workers, show=show)
    problems = [Problem("file", file.rule, file.reason, file.key, file.path) for file in files if file.rule]
    films, repeated = _without_duplicates([file for file in files if not file.rule])
    reports = with_film_keys(reports, {film.key for film in films})
    problems += [*repeated, *(_of_report(problem) for problem in reports.problems)]
    studies, unmatched = _matched(films, reports.parts, problems)
    problems += [*unmatched, *_patients_alike(films)]
    rows = [row for key, study in studies.items() for row in _rows(key, study, request, reports.columns, problems)]
    _write(request, rows, reports, problems)
    if not rows:
        raise DataError(
            "no film matched a report: the manifest is empty.",
            file=request.unmatched,
            remedy=f"See there why. Is {request.key} the right --key?",
        )
    return ManifestSummary(
        files=len(files),
        reports=len(reports.parts) + len(reports.problems),
        studies=len(studies),
        views=Counter(row["view"] for row in rows),
        problems=Counter((problem.what, problem.rule) for problem in problems),
        manifest=request.out,
        unmatched=request.unmatched,
    )


def _without_duplicates(films: Sequence[ScannedFile]) -> tuple[list[ScannedFile], list[Problem]]:
    """Films with each SOPInstanceUID once: the first in the order of paths stays."""
    kept: dict[str, ScannedFile] = {}
    problems = []
    for film in films:
        first = kept.setdefault(film.sop_instance_uid or film.path, film)
        if first is not film:
            reason = f"the same SOPInstanceUID as {first.path}, which is used."
            problems.append(Problem("film", "duplicate_sop_instance_uid", reason, film.key, film.path))
    return list(kept.values()), problems


def _matched(
    films: Iterable[ScannedFile], parts: Iterable[ReportPart], left_out: Iterable[Problem]
) -> tuple[dict[str, _Study], list[Problem]]:
    """Studies with films and report of one patient, in the order of their keys; and everything else."""
    studies: dict[str, _Study] = defaultdict(_Study)
    for film in films:
        studies[film.key].films.append(film)
    for part in parts:
        studies[part.key].parts.append(part)
    rules: dict[str, list[str]] = defaultdict(list)
    for problem in left_out:
        rules[problem.key].append(problem.rule)
    hints = KeyHints(studies, rules)
    whole: dict[str, _Study] = {}
    problems = []
    for key, study in sorted(studies.items(), key=itemgetter(0)):
        patients = {film.patient_id for film in study.films}
        if len(patients) > 1:
            problems += _left_out(key, study, "two_patients", _two_patients(patients))
        elif not study.parts:
            problems += _left_out(key, study, "film_without_report", f"no report has this key.{hints.of(key)}")
        elif not study.films:
            problems += _left_out(key, study, "report_without_film", f"no film has this key.{hints.of(key)}")
        else:
            whole[key] = study
    return whole, problems


def _two_patients(patients: Collection[str]) -> str:
    told = f"the key stands on films of {len(patients)} patients."
    if "" in patients:
        return f"{told} One of them has no PatientID."
    return f"{told} Their ids differ only by zeros or spelling." if len({bare(one) for one in patients}) == 1 else told


def _patients_alike(films: Iterable[ScannedFile]) -> Iterator[Problem]:
    """Ids that may be of one patient: a split would put such a patient's films on both sides."""
    first = {film.patient_id: film for film in reversed(list(films))}
    for group in groups_alike(patient for patient in first if patient):
        reason = (
            f"the PatientIDs {', '.join(group)} differ only by zeros or spelling: if they are one patient, correct it."
        )
        yield Problem("remark", "patient_ids_alike", reason, first[group[0]].key, first[group[0]].path)


def _left_out(key: str, study: _Study, rule: str, reason: str) -> list[Problem]:
    films = [Problem("film", rule, reason, key, film.path) for film in study.films]
    return films + [Problem("report", rule, reason, key, part.file, part.row) for part in study.parts]


def _rows(
    key: str, study: _Study, request: ManifestRequest, columns: Sequence[str], problems: list[Problem]
) -> list[dict[str, str]]:
    cells, disagreed = join_parts(study.parts)
    if len(study.parts) > 1:
        reason = f"{len(study.parts)} reports or addenda were joined in their order."
        problems.append(Problem("remark", "addenda_joined", reason, key, study.parts[0].file, study.parts[0].row))
    problems += [
        Problem("remark", "markup_removed", f"{part.markup} was turned into plain text.", key, part.file, part.row)
        for part in study.parts
        if part.markup
    ]
    problems += [
        Problem("remark", "labels_disagree", f"{column} differs between its rows: left empty.", key)
        for column in disagreed
    ]
    rows = []
    for film in study.films:
        if film.doubt:
            problems.append(Problem("remark", "view_in_doubt", film.doubt, key, film.path))
        place = {"study_id": key, "patient_id": film.patient_id, "film": _film_path(request, film), "view": film.view}
        rows.append(place | {"report": ""} | {column: cells.get(column, "") for column in ("report", *columns)})
    return rows


def _film_path(request: ManifestRequest, film: ScannedFile) -> str:
    path = request.dicom_folder.resolve() / film.path
    home = request.out.resolve().parent
    return path.relative_to(home).as_posix() if path.is_relative_to(home) else str(path)


def _of_report(problem: ReportProblem) -> Problem:
    return Problem("report", problem.rule, problem.reason, problem.key, problem.file, problem.row)


def _write(
    request: ManifestRequest, rows: Sequence[Mapping[str, str]], reports: ReportExport, problems: Sequence[Problem]
) -> None:
    listed = [
        {
            "what": item.what, "rule": item.rule, "key": item.key, "file": item.file,
            "row": "" if item.row is None else str(item.row), "reason": item.reason,
        }
        for item in problems
    ]  # fmt: skip
    with explained_disk_errors(DataError, request.out):
        request.out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(request.unmatched, _csv(PROBLEM_COLUMNS, listed))
        if rows:
            write_whole(request.out, _csv((*MANIFEST_COLUMNS, *reports.columns), rows))


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _unknown_keyword(key: str) -> ConfigError:
    close = difflib.get_close_matches(key, keyword_dict, n=1, cutoff=0.7)
    remedy = f"Did you mean {close[0]}?" if close else "Give a keyword such as AccessionNumber or StudyInstanceUID."
    return ConfigError(f"--key {key} is no DICOM keyword.", remedy=remedy)
