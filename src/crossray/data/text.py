"""What a model reads of a report: chosen sections, de-identification marks dropped, white space tidied."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from crossray.data.sentences import LIST_NUMBER
from crossray.data.study import Report, SectionName, Span
from crossray.settings import Settings

_DEIDENTIFIED = re.compile(r"[-/]*(?<![^\W_])(?:X{4,}|_{2,})(?![^\W_])[-/]*")
_WHITE = re.compile(r"\s+")
_SPACE_BEFORE_STOP = re.compile(r" (?=[.,;:!?)])")
_EMPTY_BRACKETS = re.compile(r"[(\[] ?[)\]]")
_TOKEN = re.compile(r"[^\W_]+")
# The published GLoRIA preprocessing (global_local spec, §4.4).
_GLORIA_BREAK = re.compile(r"[0-9]+\.|\.")
_GLORIA_TOKEN = re.compile(r"\w+")


class TextConfig(Settings):
    """Which part of a report the model reads, and how it is cleaned.

    Attributes:
        sections: kinds of sections.
        section_order: ``reading`` as they stand in the report; ``listed`` as in ``sections`` (MGCA and JoImTeRNet read
            the impression first: what is cut off, if a report is too long, is then the end of the findings).
        fallback: what to read of a report that has none of them.
        deidentified: whether ``XXXX`` and ``___`` stay.
        list_numbers: whether the "2." of an enumerated impression stays.
        lower_case: lower-case the text here (a tokenizer usually does so itself).
        preprocessing: ``clean`` keeps the sentences of the parser with their punctuation; ``gloria`` is the published
            one: cut at full stops and list numbers, lower-case ``\\w+`` tokens, ASCII, sentences of one token dropped.
    """

    sections: tuple[SectionName, ...] = ("findings", "impression")
    section_order: Literal["reading", "listed"] = "reading"
    added_later: ClassVar[tuple[str, ...]] = ("section_order",)
    fallback: Literal["whole_report", "empty"] = "whole_report"
    deidentified: Literal["drop", "keep"] = "drop"
    list_numbers: Literal["drop", "keep"] = "drop"
    lower_case: bool = False
    preprocessing: Literal["clean", "gloria"] = "clean"

    def place_of(self, section: SectionName) -> int:
        """By which sections are put in order, in reading order where it is equal."""
        listed = self.section_order == "listed" and section in self.sections
        return self.sections.index(section) if listed else 0


@dataclass(frozen=True, slots=True)
class SelectedText:
    """The text a model reads; ``sentences`` are spans into ``text``, in order, one space between."""

    text: str
    sentences: tuple[Span, ...]


def select_text(report: Report, config: TextConfig) -> SelectedText:
    """The model's text of a report; empty if nothing but de-identification marks and punctuation is left."""
    present = {section.name for section in report.sections}
    wanted = set(config.sections) & present
    if not wanted and config.fallback == "whole_report":
        wanted = present
    sentences = _clean_sentences if config.preprocessing == "clean" else _gloria_sentences
    return _join(sentences(report, frozenset(wanted), config))


def normalise_text(text: str) -> str:
    """The key under which reports count as identical: lower-case runs of letters and digits, one space between."""
    return " ".join(_TOKEN.findall(text.lower()))


def random_sentence(selected: SelectedText, generator: np.random.Generator) -> SelectedText:
    """One sentence of the text, drawn uniformly (GLoRIA's and ConVIRT's caption); an empty text stays empty."""
    if not selected.sentences:
        return selected
    chosen = selected.sentences[int(generator.integers(len(selected.sentences)))]
    return _join([chosen.of(selected.text)])


def _clean_sentences(report: Report, wanted: frozenset[SectionName], config: TextConfig) -> Iterator[str]:
    for sentence in sorted(report.sentences, key=lambda one: config.place_of(one.section)):
        if sentence.section not in wanted:
            continue
        written = sentence.span.of(report.text)
        if config.list_numbers == "drop":
            written = LIST_NUMBER.sub("", written, count=1) if LIST_NUMBER.match(written) else written
        written = _without_marks(written, config)
        if _TOKEN.search(written) or (config.deidentified == "keep" and "_" in written):
            yield written.lower() if config.lower_case else written


def _gloria_sentences(report: Report, wanted: frozenset[SectionName], config: TextConfig) -> Iterator[str]:
    for section in sorted(report.sections, key=lambda one: config.place_of(one.name)):
        if section.name not in wanted:
            continue
        body = _without_marks(section.span.of(report.text), config)
        for piece in _GLORIA_BREAK.split(body):
            tokens = _GLORIA_TOKEN.findall(piece.lower())
            ascii_tokens = [token.encode("ascii", "ignore").decode("ascii") for token in tokens]
            if len(tokens) > 1 and (written := " ".join(token for token in ascii_tokens if token)):
                yield written


def _without_marks(written: str, config: TextConfig) -> str:
    """One line without de-identification marks and the traces they leave ("x-XXXX." is "x.")."""
    if config.deidentified == "drop":
        written = _DEIDENTIFIED.sub(" ", written)
        written = _EMPTY_BRACKETS.sub(" ", _WHITE.sub(" ", written))
        written = _SPACE_BEFORE_STOP.sub("", _WHITE.sub(" ", written))
    return _WHITE.sub(" ", written).strip()


def _join(sentences: Iterator[str] | list[str]) -> SelectedText:
    spans: list[Span] = []
    written: list[str] = []
    position = 0
    for sentence in sentences:
        spans.append(Span(position, position + len(sentence)))
        written.append(sentence)
        position += len(sentence) + 1
    return SelectedText(" ".join(written), tuple(spans))
