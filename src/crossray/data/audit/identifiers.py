"""Patterns of protected health information in report texts. What they find is counted, never repeated.

They are rules, made to miss little of what is written in a usual form: a name without a title is not found, and no
finding is no proof. The marks of de-identification (``___``, ``XXXX``, ``[**...**]``) match nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|sept|oct|nov|dec)[a-z]*\.?"
_STREET = r"(?:street|st|avenue|ave|road|rd|boulevard|blvd|lane|ln|drive|dr|court|ct)"

PATTERNS: Mapping[str, re.Pattern[str]] = {
    "date": re.compile(
        rf"(?<![\d/.])(?:\d{{1,2}}/\d{{1,2}}/(?:\d{{4}}|\d{{2}})|\d{{4}}-\d{{2}}-\d{{2}}|\d{{1,2}}\.\d{{1,2}}\.\d{{4}})(?![\d/])"
        rf"|\b{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}\b|\b\d{{1,2}} {_MONTH},? \d{{4}}\b",
        re.IGNORECASE,
    ),
    "name": re.compile(r"\b(?:[Mm]rs?|[Mm]s|[Mm]iss|[Dd]r|MRS?|DR|[Dd]octor)\b\.? ?(?!X{2,}\b)[A-Z][A-Za-z'\-]+"),
    "record_number": re.compile(
        r"\b(?:mrn|medical record(?: (?:number|no\.?))?|accession(?: (?:number|no\.?))?|patient id)[ :#]*"
        r"(?=[a-z\d-]*\d)[a-z]{0,3}-?\d[\d-]{3,}",
        re.IGNORECASE,
    ),
    "phone": re.compile(r"(?<![\d.])(?:\+?1[ .-]?)?(?:\(\d{3}\) ?|\d{3}[.-])\d{3}[.-]\d{4}(?!\d)"),
    "email": re.compile(r"\b[\w.+-]+@[\w-]+\.[\w.-]*[a-z]", re.IGNORECASE),
    "address": re.compile(rf"\b\d{{1,5}} (?:[A-Z][a-z]+ ){{1,3}}(?i:{_STREET})\b"),
}


def identifiers_in(text: str) -> dict[str, int]:
    """How often each kind of identifier occurs in a report's text; kinds that do not occur are left out."""
    counts = {kind: sum(1 for _ in pattern.finditer(text)) for kind, pattern in PATTERNS.items()}
    return {kind: count for kind, count in counts.items() if count}
