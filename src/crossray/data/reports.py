"""A report's text to sections and sentences: our own rules, spans into the text as it came, nothing lost.

Every character but white space lies in a heading (:func:`crossray.data.headings.find_headings`) or in the body of
exactly one section, and every such character of a body in exactly one sentence. All passes are linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

from crossray.data.headings import Heading, find_headings
from crossray.data.sentences import split_sentences, words
from crossray.data.study import Report, Section, SectionName, Sentence, Span
from crossray.data.text_encoding import CONTROL, decode_text
from crossray.errors import StudyError

__all__ = ["decode_report", "parse_report", "parse_sections", "words"]

_HISTORY: tuple[SectionName, ...] = ("indication", "comparison", "technique")
_PARAGRAPH_END = re.compile(r"(?:\r\n|\r|\n)[^\S\r\n]*(?:\r\n|\r|\n)")


def parse_report(text: str) -> Report:
    """Sections and sentences of a free-text report.

    Text under no heading becomes a section of kind ``other``. Where a report has no findings heading, a new
    paragraph after the history, comparison or technique is findings: many hospitals write them so.
    """
    headings = find_headings(text)
    has_findings = any(heading.name == "findings" for heading in headings)
    sections: list[Section] = []
    for name, body in _bodies(text, headings, has_findings):
        sections.extend(_cut_paragraphs(text, name, body, has_findings))
    return _with_sentences(text, sections)


def parse_sections(parts: Mapping[SectionName, str]) -> Report:
    """A report from a source that gives its sections apart, as ``FINDINGS: ...`` and so on, one line break between.

    The order is that of ``parts``; a part that is empty or white space is left out.
    """
    text = ""
    sections: list[Section] = []
    for name, part in parts.items():
        if name not in get_args(SectionName):
            raise ValueError(f"'{name}' is not a section: {', '.join(get_args(SectionName))}")
        body = part.strip()
        if not body:
            continue
        text += f"\n{name.upper()}: " if text else f"{name.upper()}: "
        sections.append(Section(name, Span(len(text), len(text) + len(body))))
        text += body
    return _with_sentences(text, sections)


def decode_report(content: bytes, file: Path | str | None = None) -> str:
    """The text of a report file, as :func:`crossray.data.text_encoding.decode_text`.

    Raises:
        StudyError: the bytes are no text in any usual encoding, or hold control characters.
    """
    text = decode_text(content, file)
    if found := CONTROL.search(text):
        line = text.count("\n", 0, found.start()) + 1
        problem = f"is not text (line {line} holds the control character 0x{ord(found[0]):02x})."
        raise StudyError(problem, file=file, remedy="Save it as UTF-8 text, one report a file.")
    return text


def _bodies(text: str, headings: tuple[Heading, ...], has_findings: bool) -> Iterator[tuple[SectionName, Span]]:
    """Each stretch between headings with the kind that its heading gives it."""
    starts = [heading.span.start for heading in headings] + [len(text)]
    yield "other", _stripped(text, 0, starts[0])
    for heading, end in zip(headings, starts[1:], strict=True):
        name: SectionName = "findings" if heading.names_films and not has_findings else heading.name
        yield name, _stripped(text, heading.span.end, end)


def _cut_paragraphs(text: str, name: SectionName, body: Span, has_findings: bool) -> Iterator[Section]:
    """The section, or the section and the findings written below it without a heading; nothing for an empty body."""
    cut = None if has_findings or name not in _HISTORY else _PARAGRAPH_END.search(text, body.start, body.end)
    if cut is not None:
        yield Section(name, _stripped(text, body.start, cut.start()))
        yield Section("findings", _stripped(text, cut.end(), body.end))
    elif body.end > body.start:
        yield Section(name, body)


def _with_sentences(text: str, sections: list[Section]) -> Report:
    sentences = [Sentence(span, section.name) for section in sections for span in split_sentences(text, section.span)]
    return Report(text=text, sections=tuple(sections), sentences=tuple(sentences))


def _stripped(text: str, start: int, end: int) -> Span:
    body = text[start:end]
    start += len(body) - len(body.lstrip())
    return Span(start, start + len(body.strip()))
