"""Language patterns as data: headings, abbreviations, mentions and cues, one YAML file each."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@cache
def load_patterns(name: str) -> dict[str, Any]:
    """The mapping in ``name.yaml`` of this folder; read once, on first use. Treat it as read-only."""
    content = yaml.safe_load((files(__package__) / f"{name}.yaml").read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise TypeError(f"patterns/{name}.yaml must hold a mapping")
    return content
