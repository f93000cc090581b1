"""What publishers tell of a patient, in one spelling: sex, age; an attribute that is not known is left out."""

from __future__ import annotations

import re

_SEXES = {"f": "F", "female": "F", "w": "F", "m": "M", "male": "M"}
# As a number, or as DICOM writes it: 58, 58.0, 058Y.
_YEARS = re.compile(r"0*(\d{1,3})(?:\.0+)?Y?", re.IGNORECASE)
_OLDEST = 120


def attributes(**values: str) -> dict[str, str]:
    """The attributes that have a value."""
    return {name: value for name, value in values.items() if value}


def sex_of(written: str) -> str:
    """F or M; empty for anything else (unknown, other)."""
    return _SEXES.get(written.strip().lower(), "")


def age_of(written: str) -> str:
    """Age in years; empty if it is no number of years or above 120 (NIH's first table has patients of 414)."""
    match = _YEARS.fullmatch(written.strip())
    return match[1] if match is not None and int(match[1]) <= _OLDEST else ""
