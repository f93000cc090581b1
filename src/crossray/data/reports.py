"""A report's text to sections and sentences: our own rules, spans into the text as it came, nothing lost.

Every character but white space lies in a heading (:func:`crossray.data.headings.find_headings`) or in the body of
exactly one section, and every such character of a body in exactly one sentence. All passes are linear in the text.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

from crossray.data.headings import Heading, find_headings
from crossray.data.sentences import split_sentences, words
from crossray.data.study import Report, Section, SectionName, Sentence, Span
from crossray.errors import StudyError

__all__ = ["decode_report", "parse_report", "parse_sections", "words"]

_HISTORY: tuple[SectionName, ...] = ("indication", "comparison", "technique")
_PARAGRAPH_END = re.compile(r"(?:\r\n|\r|\n)[^\S\r\n]*(?:\r\n|\r|\n)")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x19\x1b-\x1f]")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


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
    """The text of a report file: UTF-8 or UTF-16/32 by their marks, else UTF-8, else Windows-1252.

    Raises:
        StudyError: the bytes are no text in any of these.
    """
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if content.startswith(mark)), None)
    candidates = [encoding] if encoding else ["utf-8", *_utf16_by_zeros(content), "cp1252"]
    for candidate in candidates:
        try:
            text = content.decode(candidate).removeprefix("\ufeff")
        except UnicodeDecodeError:
            continue
        if not _CONTROL.search(text):
            return text
    tried = ", ".join(candidates)
    raise StudyError(
        f"the report is not text (tried {tried}).", file=file, remedy="Save it as UTF-8 text, one report a file."
    )


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


def _utf16_by_zeros(content: bytes) -> list[str]:
    """UTF-16 without its mark: Latin letters leave every second byte zero."""
    sample = content[:2000]
    if len(sample) < 4:
        return []
    low, high = sample[0::2].count(0) / len(sample[0::2]), sample[1::2].count(0) / len(sample[1::2])
    if high > 0.5 and low < 0.1:
        return ["utf-16-le"]
    return ["utf-16-be"] if low > 0.5 and high < 0.1 else []
