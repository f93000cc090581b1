"""Where a sentence names a finding, and whether it affirms, denies or questions it.

Cues reach within their sentence only, up to a word that ends their scope ("but", ";", "there is"). The nearest cue
before the finding decides; without one, the nearest cue behind it that no other verb cuts off. Patterns are data
(``patterns/cues.yaml``, ``patterns/findings.yaml``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import cache, lru_cache
from typing import Literal

from crossray.data.patterns import load_patterns
from crossray.data.study import Span

_RIGHT = r"(?![^\W_])"


class Mention(Enum):
    """How a report speaks of a finding."""

    NONE = "none"
    PRESENT = "present"
    ABSENT = "absent"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True)
class FindingMention:
    """One place that names a finding: the class, the characters, and what is said of it.

    ``mention`` is ``NONE`` where the words speak of no film: "evaluate for pneumonia", "history of effusion".
    """

    finding: str
    span: Span
    mention: Mention


@dataclass(frozen=True)
class _Finding:
    name: str
    mention: re.Pattern[str]
    decided: tuple[tuple[Mention, re.Pattern[str]], ...]
    ignore: re.Pattern[str] | None


@dataclass(frozen=True)
class _Cues:
    before: re.Pattern[str]
    after: re.Pattern[str]
    terminator: re.Pattern[str]
    terminator_or_verb: re.Pattern[str]


@lru_cache(maxsize=16_384)  # reports repeat their sentences: a third of the IU sentences occur more than once
def mentions_in(sentence: str) -> tuple[FindingMention, ...]:
    """The findings that a sentence names, in order of the classes and then of the text; spans into ``sentence``."""
    found: list[FindingMention] = []
    for finding in _findings():
        taken = [Span(*match.span()) for match in finding.ignore.finditer(sentence)] if finding.ignore else []
        for state, pattern in finding.decided:
            for match in pattern.finditer(sentence):
                if _free(match, taken):
                    taken.append(Span(*match.span()))
                    found.append(FindingMention(finding.name, taken[-1], state))
        for match in finding.mention.finditer(sentence):
            if _free(match, taken):
                span = Span(*match.span())
                found.append(FindingMention(finding.name, span, _assess(sentence, span)))
    return tuple(found)


def _assess(sentence: str, span: Span) -> Mention:
    cues = _cues()
    if (cue := _last(cues.before, sentence, span.start)) and not cues.terminator.search(
        sentence, cue.end(), span.start
    ):
        return _meaning(cue)
    for cue in cues.after.finditer(sentence, span.end):
        if cue.lastgroup != "pseudo":
            cut_off = cues.terminator_or_verb.search(sentence, span.end, cue.start())
            return Mention.PRESENT if cut_off else _meaning(cue)
    return Mention.PRESENT


def _last(pattern: re.Pattern[str], sentence: str, end: int) -> re.Match[str] | None:
    """The last cue before ``end``; a pseudo cue is none, but hides what it contains."""
    last = None
    for match in pattern.finditer(sentence, 0, end):
        if match.lastgroup != "pseudo":
            last = match
    return last


def _meaning(cue: re.Match[str]) -> Mention:
    meanings = {
        "silent": Mention.NONE,
        "affirmed": Mention.PRESENT,
        "uncertainty": Mention.UNCERTAIN,
        "negation": Mention.ABSENT,
    }
    return meanings[str(cue.lastgroup)]


def _free(match: re.Match[str], taken: list[Span]) -> bool:
    return all(match.end() <= span.start or match.start() >= span.end for span in taken)


@cache
def _findings() -> tuple[_Finding, ...]:
    data = load_patterns("findings")
    phrases: dict[str, str] = data["phrases"]

    def compiled(written: list[str]) -> re.Pattern[str]:
        return _compile(_alternatives([_insert(phrase, phrases) for phrase in written]))

    return tuple(
        _Finding(
            name=name,
            mention=compiled(patterns["mention"]),
            decided=tuple(
                (state, compiled(patterns[state.value]))
                for state in (Mention.UNCERTAIN, Mention.ABSENT)
                if patterns.get(state.value)
            ),
            ignore=compiled(patterns["ignore"]) if patterns.get("ignore") else None,
        )
        for name, patterns in data["findings"].items()
    )


@cache
def _cues() -> _Cues:
    data = load_patterns("cues")

    def grouped(place: Literal["before", "after"]) -> re.Pattern[str]:
        # Order decides between cues that begin at one place: those that contain others come first.
        kinds = {"pseudo": data["pseudo"]} | {
            kind: data[f"{kind}_{place}"]
            for kind in ("silent", "affirmed", "uncertainty", "negation")
            if f"{kind}_{place}" in data
        }
        return _compile("|".join(f"(?P<{kind}>{_alternatives(written)})" for kind, written in kinds.items()))

    return _Cues(
        before=grouped("before"),
        after=grouped("after"),
        terminator=_compile(_alternatives(data["terminators"])),
        terminator_or_verb=_compile(_alternatives([*data["terminators"], *data["verbs"]])),
    )


def _alternatives(written: list[str]) -> str:
    """One pattern of all phrases, whole words only on whichever side a phrase has a letter."""
    # Longest first: an alternation takes the first that fits. The bounds stand outside, where they are tried once.
    phrases = sorted(written, key=len, reverse=True)
    worded = [phrase for phrase in phrases if phrase[0] not in r"[\,;:"]
    others = [phrase if phrase.endswith(("]", r"\?")) else phrase + _RIGHT for phrase in set(phrases) - set(worded)]
    return "|".join(["(?<![^\\W_])(?:" + "|".join(worded) + ")" + _RIGHT] * bool(worded) + sorted(others))


def _insert(phrase: str, phrases: dict[str, str]) -> str:
    """The phrase with ``{name}`` replaced; phrases may use phrases."""
    return re.sub(r"\{([a-z_]+)\}", lambda match: _insert(phrases[match.group(1)], phrases), phrase)


def _compile(pattern: str) -> re.Pattern[str]:
    # Wrapped lines and double spaces match like one space.
    return re.compile(pattern.replace(" ?", r"\s*").replace(" ", r"\s+"), re.IGNORECASE)
