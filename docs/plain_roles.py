"""Hook of mkdocs: roles of docstrings (``:func:`name```) are for Python's own tools; the site shows the name alone."""

from __future__ import annotations

import re

ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):(<code>)~?")


def on_page_content(html: str, **_: object) -> str:
    """Called by mkdocs for every page, with its HTML."""
    return ROLE.sub(r"\1", html)
