"""The publisher's layout of the IU collection: one XML a report, PNG films beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse

from crossray.data.sources.base import Rejected, Remark
from crossray.data.sources.iu_films import FilmFacts, facts_of, film_name, films_in, make_film
from crossray.data.sources.iu_tables import SECTIONS, iu_study
from crossray.data.sources.tables import read_table
from crossray.data.study import Film, SectionName, Study

_REPORT_FOLDER = "ecgen-radiology"
#: Tables that say which film is frontal, and their column of file names.
PROJECTION_TABLES = {"indiana_projections.csv": "filename", "projections.csv": "filename", "images.csv": "image"}


def find_reports(root: Path) -> list[Path]:
    """The XML reports under ``root``, ``root/ecgen-radiology`` or one folder deeper, by number."""
    folders = [root, root / _REPORT_FOLDER, *root.glob(f"*/{_REPORT_FOLDER}")]
    for folder in folders:
        reports = list(folder.glob("*.xml"))
        if reports:
            return sorted(reports, key=lambda path: (int(path.stem) if path.stem.isdigit() else 0, path.name))
    return []


class XmlLayout:
    """Studies of the XML reports with the films that lie in ``root`` or one folder below."""

    def __init__(self, root: Path, reports: list[Path]) -> None:
        self.root = root
        self._reports = reports
        self._files = films_in([root, *(folder for folder in sorted(root.iterdir()) if folder.is_dir())])
        self._projection_table = next((root / name for name in PROJECTION_TABLES if (root / name).is_file()), None)

    def tables(self) -> list[Path]:
        """The reports and, where present, the table of projections."""
        return [*self._reports, *([self._projection_table] if self._projection_table else [])]

    def film_files(self) -> list[Path]:
        """The image files."""
        return list(self._files.values())

    def studies(self) -> Iterator[Study | Rejected | Remark]:
        """Every study, by the numbers of the XML files."""
        facts = self._facts()
        for path in self._reports:
            try:
                root = parse(path).getroot()
            except (ParseError, DefusedXmlException, UnicodeDecodeError, OSError) as error:
                yield Rejected(path.stem, "unreadable_report", f"is not a readable XML report: {error}.", str(path))
                continue
            if root is not None:  # parse() gives a root or raises; its types do not say so
                yield from self._study(path, root, facts)

    def _facts(self) -> dict[str, FilmFacts]:
        if self._projection_table is None:
            return {}
        column = PROJECTION_TABLES[self._projection_table.name]
        table = read_table(self._projection_table, (column, "projection"))
        return {film_name(row[column]): facts_of(row, table) for row in table.rows}

    def _study(self, path: Path, root: Element, facts: dict[str, FilmFacts]) -> Iterator[Study | Rejected | Remark]:
        study_id = _study_id(root, path)
        films: list[Film] = []
        for image in root.iter("parentImage"):
            name = film_name(image.get("id", ""))
            if (file := self._files.get(name)) is None:
                reason = f"the report names the film {image.get('id')}, no image file has that name."
                yield Rejected(study_id, "missing_file", reason, str(path), film_id=name)
                continue
            if name not in facts:
                yield Remark(study_id, "view_unknown", self._no_view(), name)
            films.append(make_film(name, file, facts.get(name, FilmFacts("unknown"))))
        yield iu_study(study_id, films, _sections(root), ";".join(_texts(root, "MeSH/major")))

    def _no_view(self) -> str:
        if self._projection_table is not None:
            return f"{self._projection_table.name} does not name the film, so its view is unknown."
        return "the XML does not say which film is frontal: put indiana_projections.csv beside the reports."


def _study_id(root: Element, path: Path) -> str:
    identifier = root.find("uId")
    written = identifier.get("id", "") if identifier is not None else ""
    return re.sub(r"^CXR", "", written) or path.stem


def _sections(root: Element) -> dict[SectionName, str]:
    parts: dict[SectionName, str] = {}
    for element in root.iter("AbstractText"):
        label = element.get("Label", "").lower()
        for name in SECTIONS:
            if label == name:
                parts[name] = " ".join(part for part in (parts.get(name, ""), _text(element)) if part)
    return parts


def _texts(root: Element, where: str) -> list[str]:
    return [text for element in root.findall(where) if (text := _text(element))]


def _text(element: Element) -> str:
    # One line, as the table layout has it: line breaks of the XML are layout, not the radiologist's.
    return " ".join("".join(element.itertext()).split())
