"""Headings of a report: where they stand and what kind of section each opens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from crossray.data.patterns import load_patterns
from crossray.data.study import SectionName, Span

BLANKS = r"[^\S\r\n]*"
"""Pattern: white space within a line."""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading: the kind of section it opens, and its characters, decoration and colon included.

    ``names_films`` marks "PA AND LATERAL CHEST:" and the like, which open whatever the author put under them.
    """

    name: SectionName
    span: Span
    names_films: bool = False


@dataclass(frozen=True)
class _Grammar:
    known: re.Pattern[str]
    kinds: tuple[tuple[SectionName, re.Pattern[str]], ...]
    films: re.Pattern[str]
    film_noun: re.Pattern[str]


def find_headings(text: str) -> tuple[Heading, ...]:
    """The headings of ``text`` in reading order; they never overlap."""
    grammar = _grammar()
    found = [heading for match in grammar.known.finditer(text) if (heading := _accept(match, grammar)) is not None]
    taken = {heading.span.start for heading in found}
    films = [
        Heading("technique", Span(match.start("mark"), match.end()), names_films=True)
        for match in grammar.films.finditer(text)
        if grammar.film_noun.search(match["words"]) and match.start("mark") not in taken
    ]
    return _without_overlaps(sorted([*found, *films], key=lambda heading: heading.span.start))


@cache
def _grammar() -> _Grammar:
    data = load_patterns("headings")
    kinds: list[tuple[SectionName, re.Pattern[str]]] = []
    spellings: list[str] = []
    for name, written in data["headings"].items():
        flexible = [re.sub(r"[ /]+", _flexible_gap, spelling) for spelling in written]
        kinds.append((name, re.compile("|".join(flexible), re.IGNORECASE)))
        spellings.extend(flexible)
    # Longest first: an alternation takes the first that fits, and "findings" would hide "findings and impression".
    known = "|".join(sorted(spellings, key=len, reverse=True))
    decoration = r"[*#]{0,4}"
    close = (
        rf"(?P<colon>{decoration}{BLANKS}:{decoration})"
        rf"|(?P<dash>{BLANKS}[-–—](?=\s))"
        rf"|(?P<alone>{decoration}{BLANKS}(?=[\r\n]|\Z))"
    )
    words = "|".join(sorted((re.escape(word) for word in data["film_words"]), key=len, reverse=True))
    return _Grammar(
        known=re.compile(rf"(?<![\w/*#-])(?:[*#]{{1,4}}{BLANKS})?(?P<words>{known})(?:{close})", re.IGNORECASE),
        kinds=tuple(kinds),
        films=re.compile(
            rf"(?<![^\r\n]){BLANKS}(?P<mark>(?P<words>(?:(?:{words})(?:[ ,/&().-]+|(?=:))){{1,12}})):", re.IGNORECASE
        ),
        film_noun=re.compile(rf"\b(?:{'|'.join(data['film_nouns'])})\b", re.IGNORECASE),
    )


def _flexible_gap(gap: re.Match[str]) -> str:
    return rf"{BLANKS}/{BLANKS}" if "/" in gap.group() else r"[^\S\r\n]+"


def _accept(match: re.Match[str], grammar: _Grammar) -> Heading | None:
    """The heading that a match is, or nothing if its place or its letters say that it is running text."""
    words = match["words"]
    capitals = words.isupper()
    starts_with_capital = words[0].isupper()
    before = match.string[max(0, match.start() - 200) : match.start()].rstrip(" \t\v\f\xa0")
    at_line_start = not before or before[-1] in "\r\n"
    if match["colon"] is not None:
        accepted = at_line_start or capitals or (starts_with_capital and before[-1] in ".!?;")
    else:
        accepted = at_line_start and starts_with_capital
    if not accepted:
        return None
    name = next(name for name, pattern in grammar.kinds if pattern.fullmatch(words))
    return Heading(name, _trimmed(match))


def _trimmed(match: re.Match[str]) -> Span:
    """The match without the white space around it."""
    written = match.group()
    start = match.start() + len(written) - len(written.lstrip())
    return Span(start, start + len(written.strip()))


def _without_overlaps(headings: list[Heading]) -> tuple[Heading, ...]:
    kept: list[Heading] = []
    for heading in headings:
        if not kept or heading.span.start >= kept[-1].span.end:
            kept.append(heading)
    return tuple(kept)
