"""The table layout of the IU collection: ``reports.csv``, ``images.csv``, ``images/``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from crossray.data.mesh import mesh_labels
from crossray.data.reports import parse_sections
from crossray.data.sources.base import Rejected, Remark
from crossray.data.sources.iu_films import FilmFacts, facts_of, film_name, films_in, make_film
from crossray.data.sources.tables import Row, read_table
from crossray.data.study import Film, Report, SectionName, Study

#: Order of the sections in a report's text, the same for both layouts so that equal reports give equal texts.
SECTIONS: tuple[SectionName, ...] = ("indication", "comparison", "findings", "impression")

_REPORT_COLUMNS = ("study_id", *SECTIONS, "mesh_major")
_IMAGE_COLUMNS = ("image", "study_id", "projection", "orig_height", "orig_width")


class TableLayout:
    """Studies of ``root/reports.csv`` (and ``reports_without_images.csv``) with the films of ``root/images.csv``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._files = films_in([root / "images"])

    def tables(self) -> list[Path]:
        """The tables that are read."""
        names = ("reports.csv", "images.csv", "reports_without_images.csv")
        return [self.root / name for name in names if (self.root / name).is_file()]

    def film_files(self) -> list[Path]:
        """The image files."""
        return list(self._files.values())

    def studies(self) -> Iterator[Study | Rejected | Remark]:
        """Every study of the reports tables, in their order; then films whose study has no report."""
        films = self._films_by_study()
        for path in self.tables():
            if path.name != "images.csv":
                for row in read_table(path, _REPORT_COLUMNS).rows:
                    yield from self._study(row, path, films.pop(row["study_id"], []))
        for study_id in films:
            yield Rejected(study_id, "no_report", "images.csv names films of it, reports.csv has no such study.")

    def _films_by_study(self) -> dict[str, list[tuple[str, FilmFacts, Row]]]:
        table = read_table(self.root / "images.csv", _IMAGE_COLUMNS)
        films: dict[str, list[tuple[str, FilmFacts, Row]]] = {}
        for row in table.rows:
            films.setdefault(row["study_id"], []).append((film_name(row["image"]), facts_of(row, table), row))
        return films

    def _study(
        self, row: Row, path: Path, named: list[tuple[str, FilmFacts, Row]]
    ) -> Iterator[Study | Rejected | Remark]:
        study_id = row["study_id"]
        if not study_id or row.malformed:
            reason = row.malformed or "the study id is empty."
            yield Rejected(study_id, "malformed_row", reason, str(path), row.number)
            return
        films: list[Film] = []
        for name, facts, image_row in named:
            if (file := self._files.get(name)) is None:
                place = str(self.root / "images" / image_row["image"])
                yield Rejected(study_id, "missing_file", "the film's file is not there.", place, image_row.number, name)
                continue
            if facts.original_height is None:
                reason = "orig_height or orig_width is empty: the film is left square, as the file is."
                yield Remark(study_id, "shape_unknown_left_square", reason, name)
            films.append(make_film(name, file, facts))
        yield iu_study(study_id, films, {name: row[name] for name in SECTIONS}, row["mesh_major"])


def iu_study(study_id: str, films: list[Film], parts: Mapping[SectionName, str], mesh_major: str) -> Study:
    """A study of either layout: sections in :data:`SECTIONS`' order, labels from the MeSH terms that people gave."""
    report: Report = parse_sections({name: parts.get(name, "") for name in SECTIONS})
    return Study(study_id, None, tuple(films), report, mesh_labels(mesh_major))
