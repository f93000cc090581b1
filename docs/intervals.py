"""Hook of mkdocs: an interval in a table, ``0.891 [0.848, 0.928]``, breaks before its bracket or nowhere."""

from __future__ import annotations

import re

INTERVAL = re.compile(r"\[[-+−]?[\d.]+(?:,| to) [-+−]?[\d.]+\]")


def on_page_content(html: str, **_: object) -> str:
    """Called by mkdocs for every page, with its HTML."""
    return re.sub(r"<td.*?</td>", lambda cell: INTERVAL.sub(_kept_together, cell[0]), html, flags=re.DOTALL)


def _kept_together(found: re.Match[str]) -> str:
    return found[0].replace(" ", "&nbsp;")
