"""The reports of CheXpert Plus: ``df_chexpert_plus_240401.csv``, a row a film, one report for all films of a study."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from crossray.data.reports import parse_report, parse_sections
from crossray.data.sources.chexpert_table import place_of
from crossray.data.sources.publisher_tables import publisher_rows
from crossray.data.sources.tables import Row
from crossray.data.study import Report, SectionName

REPORT_TABLE = "df_chexpert_plus_240401.csv"
_REQUIRED = ("path_to_image", "report", "section_findings", "section_impression")

# The last part of the whole text is a code for follow-up ("SUMMARY:1-NO SIGNIFICANT ABNORMALITY"), not a finding.
_CODE = re.compile(r"\s*^[^\S\n]*SUMMARY:.*", re.DOTALL | re.MULTILINE)

#: Section -> the publisher's columns for it, but for the summary, which is that code.
_SECTIONS: Mapping[SectionName, tuple[str, ...]] = {
    "indication": ("section_clinical_history", "section_history"),
    "comparison": ("section_comparison",),
    "technique": ("section_technique", "section_procedure_comments"),
    "findings": ("section_findings",),
    "impression": ("section_impression",),
}


class ReportTable:
    """Reports by study, parsed when they are asked for."""

    def __init__(self, texts: dict[str, tuple[str, dict[SectionName, str]]]) -> None:
        self._texts = texts

    @classmethod
    def read(cls, path: Path) -> ReportTable:
        """Read the table; rows of other films than CheXpert's are passed over.

        Raises:
            DataError: it cannot be read, or lacks a column.
        """
        texts: dict[str, tuple[str, dict[SectionName, str]]] = {}
        for row in publisher_rows(path, _REQUIRED):
            place = place_of(row["path_to_image"])
            if place is not None and not row.malformed and place.study_id not in texts:
                texts[place.study_id] = (row["report"], _sections(row))
        return cls(texts)

    def report_of(self, study_id: str) -> Report:
        """The report of a study: the publisher's sections; where neither findings nor impression were found, the whole
        text but its closing code, read by our own rules. Empty for a study that has none.
        """
        text, sections = self._texts.get(study_id, ("", {}))
        if sections.get("findings") or sections.get("impression"):
            return parse_sections(sections)
        return parse_report(_CODE.sub("", text))


def _sections(row: Row) -> dict[SectionName, str]:
    return {name: " ".join(cell for column in columns if (cell := row[column])) for name, columns in _SECTIONS.items()}
