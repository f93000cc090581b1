"""Sentences and words of report prose, as spans into the original text.

A full stop ends a sentence unless it belongs to an abbreviation ("Dr."), a decimal ("1.5 cm"), or a list number
("2. Small effusion"), which opens the sentence it stands before. A missing space after a stop ("apex.There") still
ends one. A blank line, a bullet or a numbered line also does; a plain line break does not, because hospital systems
wrap lines. De-identification marks (``XXXX``, ``___``) are words like others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from crossray.data.patterns import load_patterns
from crossray.data.study import Report, Span

LIST_NUMBER = re.compile(r"\(?(\d{1,2})[.)](?=[^\S\r\n]|[^\W\d_])\)?[^\S\r\n]*")
"""A list number at the place where a sentence starts: "1. ", "2) ", "3.Chronic"."""

_BREAK = re.compile(
    r"(?P<stop>(?<![.!?])[.!?]+[\"'”’)\]]*)(?=\s|\Z)"
    r"|(?P<glued>(?<=[^\W_])[.!?](?=[A-Z][a-z]))"
    r"|(?P<line>(?:\r\n|\r|\n)(?=[^\S\r\n]*(?:[\r\n]|[-•*–][^\S\r\n]|\(?\d{1,2}[.)][^\S\r\n]+[^\W\d_]"
    r"|[A-Z][A-Za-z /]{1,40}:)))"
    r"|(?P<number>(?<=\s)(?=(?P<digits>\d{1,2})[.)][^\S\r\n]+[A-Z]))"
)
_WORD = re.compile(r"\d+(?:[.,]\d+)+|[^\W_]+(?:['’][^\W_]+)*|_{2,}")
_TOKEN_BEFORE = re.compile(r"[^\s(\[\"]*\Z")
_LONGEST_ABBREVIATION = 12


@dataclass(frozen=True)
class _Abbreviations:
    always: frozenset[str]
    before_lower_case: frozenset[str]
    before_number: frozenset[str]


@cache
def _abbreviations() -> _Abbreviations:
    data = load_patterns("abbreviations")
    return _Abbreviations(*(frozenset(data[key]) for key in ("always", "before_lower_case", "before_number")))


def split_sentences(text: str, span: Span | None = None) -> list[Span]:
    """The sentences of ``text`` (or of a span of it); every character but white space lies in exactly one."""
    span = span or Span(0, len(text))
    pieces: list[Span] = []
    for piece in _pieces(text, span):
        trimmed = _trim(text, piece)
        if trimmed.start == trimmed.end:
            continue
        # Stray punctuation ("effusion.. .") belongs to the sentence before it.
        if pieces and not any(character.isalnum() or character == "_" for character in trimmed.of(text)):
            trimmed = Span(pieces.pop().start, trimmed.end)
        pieces.append(trimmed)
    return pieces


def words(report_or_text: Report | str, span: Span | None = None) -> list[Span]:
    """The words of a text: letters and digits, with inner apostrophes; decimals and ``___`` are one word each."""
    text = report_or_text.text if isinstance(report_or_text, Report) else report_or_text
    span = span or Span(0, len(text))
    return [Span(*match.span()) for match in _WORD.finditer(text, span.start, span.end)]


def _pieces(text: str, span: Span) -> Iterator[Span]:
    start = _skip_white(text, span.start, span.end)
    numbered = _list_number(text, start, span.end)
    for match in _BREAK.finditer(text, span.start, span.end):
        if match.start() < start or not _ends_sentence(match, start, numbered, span.end):
            continue
        end = match.start() if match.lastgroup in ("line", "number", "digits") else match.end()
        yield Span(start, end)
        start = _skip_white(text, end, span.end)
        numbered = _list_number(text, start, span.end) or numbered
    yield Span(start, span.end)


def _ends_sentence(match: re.Match[str], start: int, numbered: int | None, limit: int) -> bool:
    """Whether the break is one, in a sentence that starts at ``start``, after list item ``numbered``."""
    text = match.string
    if match["line"] is not None:
        return True
    if match["number"] is not None:
        # "1. No effusion 2. Stable heart": only the next number of a list opens an item without a stop before it.
        return match.start() > start and numbered is not None and int(match["digits"]) == numbered + 1
    before = text[max(start, match.start() - _LONGEST_ABBREVIATION) : match.start()]
    if match.start() <= start + 3 and LIST_NUMBER.match(text, start, limit) and before.lstrip("(").isdigit():
        return False
    mark = match["stop"] or match["glued"]
    return mark[0] != "." or not _abbreviates(before, text[match.end() : match.end() + 8], glued=match["stop"] is None)


def _abbreviates(before: str, after: str, *, glued: bool) -> bool:
    token = _TOKEN_BEFORE.search(before)
    word = token.group().lower() if token else ""
    following = after.lstrip()
    known = _abbreviations()
    if word in known.always or (len(word) == 1 and word.isalpha() and following[:1].isupper() and not glued):
        return bool(following)
    if word in known.before_number:
        return following[:1].isdigit()
    return word in known.before_lower_case and following[:1].islower()


def _list_number(text: str, start: int, end: int) -> int | None:
    match = LIST_NUMBER.match(text, start, end)
    return int(match.group(1)) if match else None


def _skip_white(text: str, start: int, end: int) -> int:
    while start < end and text[start].isspace():
        start += 1
    return start


def _trim(text: str, span: Span) -> Span:
    start = _skip_white(text, span.start, span.end)
    end = span.end
    while end > start and text[end - 1].isspace():
        end -= 1
    return Span(start, end)
