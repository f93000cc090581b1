"""The Basic Application Level Confidentiality Profile of DICOM PS3.15, table E.1-1: which attributes identify, and how.

``ps3_15.csv`` holds every tag of the table (edition 2026c) with its action: D dummy value, Z empty or dummy, X removed,
U replaced by another UID. It was taken from the lists of dicom-anonymizer 2.1.0 (Kitware Europe, BSD 3-Clause), which
are scraped from the standard. ``x`` in a tag stands for any digit.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Literal

from pydicom.dataelem import DataElement
from pydicom.tag import BaseTag

Kind = Literal["identifies", "date", "uid", "time", "characteristic", "descriptor"]

#: Kept by the profile's Retain Patient Characteristics Option: what a model may be examined for.
_CHARACTERISTICS = frozenset(
    (
        "PatientAge",
        "PatientSex",
        "PatientSexNeutered",
        "PatientSize",
        "PatientWeight",
        "PregnancyStatus",
        "SmokingStatus",
    )
)
# Editions of code tables, on every coded entry: dates by their representation, of nobody.
_CODE_EDITIONS = frozenset(("ContextGroupVersion", "ContextGroupLocalVersion"))
_SHORT_TEXTS = frozenset(("LO", "SH", "ST"))


@cache
def profile() -> Mapping[str, str]:
    """Tag in eight hexadecimal digits (``x`` for any) to the action of the table."""
    text = files("crossray.data.audit").joinpath("ps3_15.csv").read_text(encoding="utf-8")
    return {row["tag"]: row["action"] for row in csv.DictReader(text.splitlines())}


def kind_of(element: DataElement) -> Kind | None:
    """What the table says of an attribute; ``None`` if it may stay.

    A ``descriptor`` (``ProtocolName``, ``SeriesDescription``) names the examination in a few words; the profile removes
    it because something else may have been written there, and its Clean Descriptors Option keeps what is clean.
    """
    action = _action(element.tag)
    if action is None or element.keyword in _CODE_EDITIONS:
        return None
    if "U" in action:
        return "uid"
    if element.keyword in _CHARACTERISTICS:
        return "characteristic"
    if element.VR in ("DA", "DT"):
        return "date"
    if element.VR == "TM":
        return "time"
    described = element.keyword.endswith(("Description", "Label")) or element.keyword == "ProtocolName"
    return "descriptor" if described and element.VR in _SHORT_TEXTS else "identifies"


def _action(tag: BaseTag) -> str | None:
    digits = f"{int(tag):08X}"
    group = digits[:2] + "xx"  # curves and overlays repeat in even groups
    names = (digits, f"{group}{digits[4:]}", f"{group}xxxx")
    return next((action for name in names if (action := profile().get(name)) is not None), None)
