"""Why a film and its report may have missed each other: what was done to keys is told, never repaired."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

# A spreadsheet's 1.23457E+10, with a decimal comma in half of Europe.
_ROUNDED = re.compile(r"\d(?:[.,]\d+)?E\+?\d+", re.IGNORECASE)


def bare(key: str) -> str:
    """What is left of a key when a spreadsheet has taken it for a number."""
    return key.casefold().removesuffix(".0").lstrip("0")


def groups_alike(keys: Iterable[str]) -> list[list[str]]:
    """Groups of different keys that differ by zeros, ``.0`` or capitals alone."""
    by_form: dict[str, set[str]] = defaultdict(set)
    for key in keys:
        by_form[bare(key)].add(key)
    return [sorted(group) for group in by_form.values() if len(group) > 1]


class KeyHints:
    """Hints on keys that stand on one side alone.

    Args:
        keys: of all films and reports that are used.
        left_out: key to the rules by which files and reports with it were left out.
    """

    def __init__(self, keys: Iterable[str], left_out: Mapping[str, Iterable[str]]) -> None:
        pairs = [group for group in groups_alike(keys) if len(group) == 2]
        self._near = {key: other for first, second in pairs for key, other in ((first, second), (second, first))}
        self._left_out = left_out

    def of(self, key: str) -> str:
        """What may have become of the other side, with a space before it; or nothing."""
        if rules := sorted(set(self._left_out.get(key, ()))):
            return f" What has it was left out: {', '.join(rules)}."
        if key in self._near:
            return f" Differs from '{self._near[key]}' only by zeros or spelling."
        if _ROUNDED.fullmatch(key):
            return " A spreadsheet has rounded it: export the table again, with keys as text."
        return ""
