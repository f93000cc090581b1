"""Tables for a paper: booktabs, every special character escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence

from crossray.evaluation.comparison.layout import Sheet, Text

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "→": r"$\rightarrow$",
    "−": r"$-$",
    "–": "--",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "⁺": r"$^{+}$",
}
"""Characters that TeX reads as commands, and those of our own titles that a plain font lacks."""


def escape(text: str) -> str:
    """Text as LaTeX prints it, character by character."""
    return "".join(_SPECIAL.get(character, character) for character in text)


def latex(sheets: Sequence[Sheet], notes: Sequence[str]) -> str:
    """All tables as one file to ``\\input``; the notes stand as comments above and once as text below."""
    lines = ["% Needs \\usepackage{booktabs}. Made by crossray compare; research only, not for diagnosis."]
    lines += [f"% {note}" for note in notes]
    for sheet in sheets:
        lines += ["", *_table(sheet)]
    lines += ["", r"\par{\footnotesize " + " ".join(escape(note) + "." for note in notes) + "}"]
    return "\n".join(lines) + "\n"


def _table(sheet: Sheet) -> list[str]:
    lines = [
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{escape(sheet.title)}}}",
        rf"\begin{{tabular}}{{l{'r' * len(sheet.heads)}}}",
        r"\toprule",
        " & ".join(["", *(escape(head) for head in sheet.heads)]) + r" \\",
        r"\midrule",
    ]
    for name, cells in zip(sheet.names, sheet.cells, strict=True):
        lines.append(" & ".join([escape(name), *(_cell(cell, sheet.kind) for cell in cells)]) + r" \\")
    return [*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]


def _cell(cell: Text, kind: str) -> str:
    main = _minus(escape(cell.main))
    if not cell.detail:
        return main
    # Braces around the bracket: after a line break "[" would be read as an argument of it.
    before, after = ("(", ")") if kind == "seeds" else ("{[}", "{]}")
    return rf"{main} {{\footnotesize {before}{_minus(escape(cell.detail))}{after}}}"


def _minus(text: str) -> str:
    """A hyphen before a digit is a minus sign."""
    return re.sub(r"-(?=\d)", "$-$", text)
