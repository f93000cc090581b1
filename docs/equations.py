"""Hook of mkdocs: equations between dollar signs are drawn when the site is built; pages need no script for them.

matplotlib draws; what it cannot read stops the build. GitHub renders the same dollar signs by itself.
"""

from __future__ import annotations

import html
import re
from functools import cache

from matplotlib import rc_context
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import MathTextParser
from matplotlib.path import Path
from matplotlib.textpath import TextPath

# Code is passed over; $$...$$ stands by itself, $...$ in a line (and may run on into the next one).
PIECES = re.compile(
    r"^(?P<fence>```|~~~).*?^(?P=fence)|`[^`\n]*`|\$\$(?P<shown>.+?)\$\$|(?<![\\$])\$(?P<inline>[^$\n]+(?:\n[^$\n]+)?)\$",
    re.MULTILINE | re.DOTALL,
)
TOKEN = re.compile(r"equation(?P<kind>shown|inline)x(?P<hex>[0-9a-f]+)x")
POINTS = 10.0  # of which one em is made
# What LaTeX can write and matplotlib cannot read, in its own words.
REPLACED = (
    (r"\\[bB]ig(?![A-Za-z])", ""),
    (r"\\[td]frac", r"\\frac"),
    (r"\\frac\s*(\d)", r"\\frac{\1}"),
    (r"(\\frac\{[^{}]*\})\s*(\w)", r"\1{\2}"),
    (r"\\(le|ne)(?![A-Za-z])", r"\\\1q"),
    (r"\\(mathcal|mathbb|mathrm|sqrt)\s*(\w)", r"\\\1{\2}"),
)
LETTERS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C"}  # a path of SVG; else it closes


def on_page_markdown(markdown: str, **_: object) -> str:
    """Called by mkdocs for every page before Markdown is read: equations become tokens that it leaves alone."""

    def token(found: re.Match[str]) -> str:
        kind = "shown" if found["shown"] else "inline"
        latex = found[kind]
        return f"equation{kind}x{' '.join(latex.split()).encode().hex()}x" if latex else found[0]

    return PIECES.sub(token, markdown)


def on_page_content(content: str, **_: object) -> str:
    """Called with the page's HTML: tokens become pictures, those that stand by themselves in a line of their own."""

    def picture(found: re.Match[str]) -> str:
        drawn = equation(bytes.fromhex(found["hex"]).decode())
        block = "display: block; text-align: center; overflow-x: auto; margin: 1em 0"
        return f'<span style="{block}">{drawn}</span>' if found["kind"] == "shown" else drawn

    return TOKEN.sub(picture, content)


@cache
def equation(latex: str) -> str:
    """An inline SVG in the colour and on the baseline of the text around it.

    Raises:
        ValueError: matplotlib cannot read the equation.
    """
    written = latex
    for theirs, ours in REPLACED:
        written = re.sub(theirs, ours, written)
    with rc_context({"mathtext.fontset": "cm"}):
        size = FontProperties(size=POINTS)
        extent = MathTextParser("path").parse(f"${written}$", dpi=72, prop=size)
        outline = TextPath((0, 0), f"${written}$", prop=size)
    strokes = "".join(
        LETTERS[int(code)] + " ".join(f"{x:.2f} {-y:.2f}" for x, y in zip(points[::2], points[1::2], strict=True))
        if int(code) in LETTERS
        else "Z"
        for points, code in outline.iter_segments(simplify=False)
    )
    width, height = extent.width + 1, extent.height + 1
    em = [f"{value / POINTS:.3f}em" for value in (width, height, -extent.depth - 0.5)]
    style = f"width: {em[0]}; height: {em[1]}; vertical-align: {em[2]}"
    box = f"-0.5 {extent.depth - extent.height - 0.5:.2f} {width:.2f} {height:.2f}"
    return (
        f'<svg role="img" aria-label="{html.escape(latex)}" viewBox="{box}" style="{style}" fill="currentColor">'
        f'<path d="{strokes}"/></svg>'
    )
