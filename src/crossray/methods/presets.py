"""Presets: named sets of defaults that a method's configuration starts from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def with_preset(values: Any, presets: Mapping[str, Mapping[str, Any]], default: str) -> Any:
    """The values laid over those of the preset they name; a key that is given wins.

    A preset that does not exist is left for the field's own validation to refuse.
    """
    if not isinstance(values, Mapping):
        return values
    return {**presets.get(str(values.get("preset", default)), {}), **values}
