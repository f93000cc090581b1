"""Bytes that people call text, in any usual encoding, as text; also where lines of several were put together."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from crossray.errors import StudyError

#: What is no part of a text: a file with more than a few of these is none.
CONTROL = re.compile(r"[\x00-\x08\x0e-\x19\x1b-\x1f]")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def decode_text(content: bytes, file: Path | str | None = None) -> str:
    """The text in a file: UTF-8, UTF-16 or UTF-32 by its mark or its zeros, else line by line UTF-8 or Windows-1252.

    Exports of several systems, put together, change the encoding from row to row: read as a whole in the one or the
    other, every umlaut of the rest would be two wrong letters.

    Raises:
        StudyError: the bytes are no text in any of these; the line is named where that can be.
    """
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if content.startswith(mark)), _utf16_by_zeros(content))
    if encoding is None or encoding == "utf-8":
        return _line_by_line(content, file).removeprefix("\ufeff")
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise _no_text(f"tried {encoding}", file) from error


def _line_by_line(content: bytes, file: Path | str | None) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return "".join(_line(line, number, file) for number, line in enumerate(content.splitlines(keepends=True), 1))


def _line(line: bytes, number: int, file: Path | str | None) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        pass
    try:
        return line.decode("cp1252")
    except UnicodeDecodeError as error:
        raise _no_text(f"line {number} is neither utf-8 nor cp1252", file) from error


def _utf16_by_zeros(content: bytes) -> str | None:
    """UTF-16 without its mark: Latin letters leave every second byte zero."""
    sample = content[:2000]
    if len(sample) < 4:
        return None
    low, high = sample[0::2].count(0) / len(sample[0::2]), sample[1::2].count(0) / len(sample[1::2])
    if high > 0.5 and low < 0.1:
        return "utf-16-le"
    return "utf-16-be" if low > 0.5 and high < 0.1 else None


def _no_text(why: str, file: Path | str | None) -> StudyError:
    return StudyError(f"is not text ({why}).", file=file, remedy="Save it as UTF-8 text.")
