"""Reports that a system keeps as RTF or HTML, as the plain text that a reader of them sees."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_RTF = "{\\rtf"
# Behind its name a tag has nothing or attributes: "<i.e. 3 mm>" and "p <p 0.05 and > 0.01" are words of a report.
_ATTRIBUTE = r"""\s+[a-z][\w:-]*\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+)"""
_TAG = re.compile(
    r"</?(?:html|body|p|br|div|span|b|i|u|strong|em|font|table|tr|td|th|ul|ol|li|pre|h[1-6])"
    rf"(?:{_ATTRIBUTE}|\s+nowrap\b)*\s*/?>",
    re.IGNORECASE,
)
_BREAKS = frozenset({"p", "br", "div", "tr", "li", "ul", "ol", "table", "pre", *(f"h{level}" for level in range(1, 7))})
_UNSEEN = frozenset({"style", "script", "head"})

_RTF_TOKEN = re.compile(
    r"\\([a-zA-Z]{1,32})(-?\d{1,10})? ?|\\'([0-9a-fA-F]{2})|\\([^a-zA-Z])|([{}])|[\r\n]+|([^\\{}\r\n]+)"
)
_RTF_SIGNS = {"par": "\n", "line": "\n", "sect": "\n", "page": "\n", "row": "\n", "tab": "\t", "cell": "\t"} | {
    "emdash": "—", "endash": "–", "bullet": "•", "lquote": "‘", "rquote": "’", "ldblquote": "“", "rdblquote": "”",
}  # fmt: skip
_RTF_UNSEEN = frozenset({"fonttbl", "colortbl", "stylesheet", "info", "pict", "header", "footer", "object"})


def markup_of(text: str) -> str:
    """``RTF``, ``HTML``, or nothing for plain text."""
    if text.lstrip().startswith(_RTF):
        return "RTF"
    return "HTML" if _TAG.search(text) else ""


def plain_text(text: str) -> str:
    """The text without markup, paragraphs as lines; a text without markup is returned as it is."""
    markup = markup_of(text)
    if not markup:
        return text
    seen = _from_rtf(text) if markup == "RTF" else _from_html(text)
    lines = (re.sub(r"[^\S\n]+", " ", line).strip() for line in seen.replace("\r", "\n").split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


class _Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._unseen += tag in _UNSEEN
        if tag in _BREAKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._unseen -= tag in _UNSEEN and self._unseen > 0
        if tag in _BREAKS - {"br"}:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(data)


def _from_html(text: str) -> str:
    parser = _Seen()
    parser.feed(text)
    parser.close()
    return "".join(parser.parts)


def _from_rtf(text: str) -> str:
    """Words of an RTF text; what is no text (fonts, pictures, what ``\\*`` marks) is left out with its group."""
    written: list[str] = []
    groups: list[tuple[bool, int]] = []
    unseen, instead, skip = False, 1, 0  # instead: characters that stand in for one \u, and are passed over after it
    for word, number, code, sign, brace, plain in _RTF_TOKEN.findall(text):
        if brace == "{":
            groups.append((unseen, instead))
        elif brace:
            unseen, instead = groups.pop() if groups else (False, 1)
        elif word in _RTF_UNSEEN or sign == "*":
            unseen = True
        elif word == "uc":
            instead = int(number or 1)
        elif not unseen:
            piece = _rtf_piece(word, number, code, sign, plain)
            passed = min(skip, len(piece)) if plain or code else 0
            written.append(piece[passed:])
            skip = instead if word == "u" else skip - passed
    return "".join(written)


def _rtf_piece(word: str, number: str, code: str, sign: str, plain: str) -> str:
    if word == "u" and number:
        point = int(number) % 65_536
        return "" if 0xD800 <= point < 0xE000 else chr(point)
    if code:
        return bytes.fromhex(code).decode("cp1252", errors="replace")
    return plain or _RTF_SIGNS.get(word, "") or {"~": " ", "_": "-", "\\": "\\", "{": "{", "}": "}"}.get(sign, "")
