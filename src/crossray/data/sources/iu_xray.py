"""The Indiana University chest X-ray collection of Open-i, in the layouts it is found in.

* The publisher's: ``ecgen-radiology/*.xml`` beside a folder of PNG films; ``parentImage`` ids name the films. The XML
  does not say which film is frontal: put a table of projections (``indiana_projections.csv`` with the columns
  ``uid, filename, projection``, or ``images.csv``) beside it; without one every view is ``unknown``.
* The table layout: ``reports.csv``, ``images.csv``, ``images/``. Its films were squeezed to a square; ``orig_height``
  and ``orig_width`` undo it. Where these are empty the film stays square and a remark says so: over the collection's
  frontal films the median of height to width is 0.99, so no single other shape is a better guess.

Projections are taken as the people gave them, never from the DICOM header ("PA" stands on many laterals).
A study is one examination; the collection does not say whether two studies are of one patient.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from crossray.data.mesh import mesh_label_names
from crossray.data.sources.base import Rejected, Remark
from crossray.data.sources.fingerprint import fingerprint_of
from crossray.data.sources.iu_tables import TableLayout
from crossray.data.sources.iu_xml import XmlLayout, find_reports
from crossray.data.study import Study
from crossray.errors import DataError


class IuXraySource:
    """The collection in the folder ``root``; the layout is found by looking.

    Raises:
        DataError: neither layout is there, or a part of one is missing; each missing file is named.
    """

    name = "iu_xray"
    has_reports = True

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout: TableLayout | XmlLayout = _find_layout(root)

    @property
    def label_names(self) -> tuple[str, ...]:
        """Classes read from the MeSH terms that people gave."""
        return mesh_label_names()

    def studies(self) -> Iterator[Study | Rejected | Remark]:
        """Every study, in the order of the reports table or of the numbers of the XML files."""
        return self.layout.studies()

    def fingerprint(self) -> str:
        """Changes with a report, a projection or a film."""
        return fingerprint_of(self.layout.tables(), self.layout.film_files(), self.root)


def _find_layout(root: Path) -> TableLayout | XmlLayout:
    if not root.is_dir():
        raise DataError("there is no such folder.", file=root, remedy="Give the folder that holds the collection.")
    tables = [root / "reports.csv", root / "images.csv", root / "images"]
    missing = [path for path in tables if not path.exists()]
    if not missing:
        return TableLayout(root)
    reports = find_reports(root)
    if reports:
        return XmlLayout(root, reports)
    if len(missing) < len(tables):
        named = ", ".join(path.name for path in missing)
        raise DataError(f"the table layout is not whole: {named} missing.", file=root)
    raise DataError(
        "holds neither the table layout (reports.csv, images.csv and images/ are missing) nor the publisher's "
        "(no ecgen-radiology/*.xml).",
        file=root,
        remedy="Give the folder that holds them.",
    )
