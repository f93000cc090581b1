"""The phrase tables of the phantom's reports (``phrases.yaml``), checked when they are read."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import yaml

from crossray.settings import Settings


class Wordings(Settings):
    """Ways to say the same: common ones, and rare ones that difficulty brings in."""

    common: tuple[str, ...]
    rare: tuple[str, ...]


class ZoneWords(Settings):
    """A place in the lungs, said before a noun or after it."""

    attribute: tuple[str, ...]
    place: tuple[str, ...]


class Denial(Settings):
    """A sentence that says that classes are absent."""

    text: str
    denies: tuple[str, ...]


class OneSidedDenial(Settings):
    """A sentence that says that a kind of finding is absent on one side."""

    text: str
    kind: str


class Denials(Settings):
    """Denials by organ, in the order that reports go through them."""

    heart: tuple[Denial, ...]
    lungs: tuple[Denial, ...]
    pleura: tuple[Denial, ...]
    bones: tuple[Denial, ...]
    one_sided: tuple[OneSidedDenial, ...]


class PhraseTables(Settings):
    """All tables of ``phrases.yaml``; the comments there say how each is used."""

    sides: dict[str, tuple[str, ...]]
    sizes: dict[str, dict[str, tuple[str, ...]]]
    zones: dict[str, dict[str, ZoneWords]]
    phrases: dict[str, dict[str, Wordings]]
    frames: dict[str, tuple[str, ...]]
    resolved: dict[str, tuple[str, ...]]
    denials: Denials
    remarks: dict[str, tuple[str, ...]]
    indications: tuple[str, ...]
    comparisons: dict[str, tuple[str, ...]]
    normal_reports: tuple[tuple[float, str, str], ...]
    normal_impressions: tuple[str, ...]
    indication_rate: float
    comparison_rate: float
    normal_report_rate: float
    denial_rate: float
    impression_mention_rate: float
    one_sided_rate: float
    resolved_rate: float


@cache
def tables() -> PhraseTables:
    """The tables, read once."""
    text = resources.files("crossray.data.phantom").joinpath("phrases.yaml").read_text(encoding="utf-8")
    return PhraseTables.model_validate(yaml.safe_load(text))


def phrase_tables() -> dict[str, Any]:
    """The tables as plain values, for hashing: comments and layout of the file do not count."""
    return tables().model_dump(mode="json")
