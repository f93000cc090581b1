"""Hook of mkdocs: data flows, which GitHub draws from their Mermaid source, become arrows in words."""

from __future__ import annotations

import re

BLOCK = re.compile(r"^```mermaid\nflowchart LR\n(?P<lines>.*?)^```$", re.MULTILINE | re.DOTALL)
ARROW = re.compile(r'\s*(?:--\s+"?(?P<solid>[^">]+?)"?\s+-->|-\.\s+"?(?P<dotted>[^"]+?)"?\s+\.->|-\.->|-->)\s*')
NODE = re.compile(r'(?P<name>\w+)(?:(?P<shape>\{\{|\[\(|\[|\()"?(?P<label>.*?)"?(?:\}\}|\)\]|\]|\)))?')


def on_page_markdown(markdown: str, **_: object) -> str:
    """Called by mkdocs for every page before Markdown is read.

    Raises:
        ValueError: a flow is written otherwise than this reads.
    """
    return BLOCK.sub(lambda found: _arrows(found["lines"].splitlines()), markdown)


def _arrows(lines: list[str]) -> str:
    """One item a line: nodes by their labels, losses bold, what an arrow says in brackets."""
    labels: dict[str, str] = {}
    items = []
    for line in lines:
        parts = ARROW.split(line.strip())  # node, solid, dotted, node, ...
        said = [_node(parts[0], labels)]
        for solid, dotted, node in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
            on_it = f" ({solid or dotted})" if solid or dotted else ""
            said.append(f"→{on_it} {_node(node, labels)}")
        items.append(f"- {' '.join(said)}\n")
    return "\n" + "".join(items)


def _node(written: str, labels: dict[str, str]) -> str:
    found = NODE.fullmatch(written)
    if found is None:
        raise ValueError(f"'{written}' is no node of a flow that docs/flows.py reads.")
    if found["label"]:
        shown = found["label"].replace("_", r"\_").replace("[", r"\[").replace("*", r"\*")
        labels[found["name"]] = f"**{shown}**" if found["shape"] == "{{" else shown
    return labels.get(found["name"], found["name"])
