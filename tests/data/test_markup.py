"""Reports in RTF and HTML become what a reader of them sees; plain text stays as it is."""

from __future__ import annotations

import pytest

from crossray.data.markup import markup_of, plain_text

RTF = (
    r"{\rtf1\ansi\ansicpg1252\deff0\uc1{\fonttbl{\f0 Arial;}}{\colortbl;\red0\green0\blue0;}{\*\generator Word;}"
    "\r\n"
    r"\pard\f0\fs20 \b BEFUND:\b0  Gr\'f6\'dfe normal, {\i kein} Erguss.\par\par BEURTEILUNG: \u8211?unauff"
    r"\u228\'e4llig \{alt\}\tab 5\~mm{\pict\pngblip 89504e47}\par}"
)


def test_rtf_becomes_its_words() -> None:
    assert plain_text(RTF) == "BEFUND: Größe normal, kein Erguss.\n\nBEURTEILUNG: –unauffällig {alt} 5 mm"


def test_html_becomes_its_words() -> None:
    html = (
        "<html><head><style>p {color: red}</style></head><body><P class='x'><b>FINDINGS:</b> Normal&nbsp;heart.<br/>"
        "No effusion &amp; nodule &lt;5&nbsp;mm.</P><ul><li>One</li><li>Two</li></ul></body></html>"
    )
    assert plain_text(html) == "FINDINGS: Normal heart.\nNo effusion & nodule <5 mm.\n\nOne\n\nTwo"


@pytest.mark.parametrize(
    "text",
    [
        "Nodule <5 mm, > 3 mm.",
        "a < b and c > d",
        "  FINDINGS:\r\n\r\n\r\nnormal ",
        "R&D {note} \\par",
        "",
        "<unknown>",
        "Nodule <i.e. a granuloma> unchanged",
        "Ratio p <p 0.05, but R&amp;L > 0.5",
        "<b small and c>4 mm",
    ],
)
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert markup_of(text) == ""
    assert plain_text(text) == text


@pytest.mark.parametrize(
    "text", [RTF[:length] for length in range(5, len(RTF), 7)] + ["{\\rtf1 }}}} x", "<b", "<p><b>x"]
)
def test_cut_markup_never_fails(text: str) -> None:
    assert isinstance(plain_text(text), str)


@pytest.mark.parametrize("tag", ['<p class="a > b" align = center>', "<td nowrap>", "<br\n/>", "<DIV ID='x'>"])
def test_tags_with_attributes_are_no_words(tag: str) -> None:
    assert markup_of(f"Normal {tag} heart") == "HTML"
    assert plain_text(f"Normal {tag} heart").split() == ["Normal", "heart"]
