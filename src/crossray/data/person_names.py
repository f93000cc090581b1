"""Words of a person's name in all the ways in which a report or a path may spell them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator

# What a de-identified header puts where the name stood.
_NOT_A_NAME = frozenset(
    {"anon", "anonym", "anonymous", "anonymized", "anonymised", "deidentified", "removed"}
    | {"patient", "unknown", "name", "none", "test", "phantom", "chest"}
)
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "æ": "ae", "ß": "ss"})
_STROKES = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ß": "ss", "ı": "i"})


def name_spellings(names: str, patient_id: str) -> frozenset[str]:
    """Words of a header's names in lower case, each also without umlauts and accents.

    A word has three letters or more, or two in a script without capitals: there the whole name is a word too, for
    texts write it without a space. A name that says no more than the patient's id is none.

    Args:
        names: values of PatientName and the like, with their carets and groups.
        patient_id: the patient's id.
    """
    text = unicodedata.normalize("NFC", _repaired(names))
    words = {word for word in re.split(r"[\W_]+", text.lower()) if word.isalpha() and len(word) >= 3 - _uncased(word)}
    words |= {whole for group in text.split("=") if len(whole := re.sub(r"[\W_]", "", group)) >= 2 and _uncased(whole)}
    words -= _NOT_A_NAME
    if all(word in patient_id.lower() for word in words):
        return frozenset()
    return frozenset(spelling for word in words for spelling in _spellings(word))


def name_patterns(words: Collection[str]) -> Iterator[re.Pattern[str]]:
    """Patterns of names in running text, the longest first.

    A name may be a word of the language too (Long, White): as such it is written in lower case.
    """
    for word in sorted(words, key=lambda word: (-len(word), word)):
        if _uncased(word):
            yield re.compile(re.escape(word))
        else:
            yield re.compile(rf"(?<!\w){re.escape(word[0].upper())}(?i:{re.escape(word[1:])})(?!\w)")


def _uncased(word: str) -> bool:
    return word.lower() == word.upper()


def _repaired(names: str) -> str:
    # UTF-8 in a header that does not name its character set is read as Latin-1.
    try:
        return f"{names} {names.encode('latin-1').decode('utf-8')}"
    except UnicodeError:
        return names


def _spellings(word: str) -> set[str]:
    decomposed = unicodedata.normalize("NFD", word)  # as some file systems write names
    plain = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return {word, word.casefold(), decomposed, word.translate(_UMLAUTS), plain.translate(_STROKES)}
