"""Whether a text is English, as far as rules made for English reports need to know."""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W\d_]+")
_ENGLISH = frozenset(
    _WORD.findall(
        "the of and with is are there was were has have without not or for to within from at no seen",
    )
)
# Words that bind sentences in German, Spanish, French, Italian and Portuguese and mean nothing in an English report.
_ELSEWHERE = frozenset(
    _WORD.findall(
        "der das und kein keine keinen keiner nicht ist sind mit ohne beidseits rechts links bei zum zur im auf ein "
        "eine el los las sin con del se derecho derecha izquierdo izquierda hay y se les des sans pas avec droite "
        "gauche du aux della delle senza il são sem não com dos das na"
    )
)


def is_english(text: str) -> bool:
    """False if words of other European languages outnumber English ones, or most letters are of another script.

    A text of a few words that tells nothing counts as English. Capitals among small letters tell nothing: they are
    abbreviations (IM, DES, LAS, a Y stent).
    """
    written = _WORD.findall(text)
    words = [word.lower() for word in written]
    other_script = sum(len(word) for word in words if not any("a" <= letter < "ɐ" for letter in word))
    if 2 * other_script > sum(map(len, words)):
        return False
    small = [word.lower() for word in written if not word.isupper()]
    if 2 * len(small) >= len(written):  # not a report all in capitals
        words = small
    return sum(word in _ELSEWHERE for word in words) <= sum(word in _ENGLISH for word in words)
