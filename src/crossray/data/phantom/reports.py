"""The report of a case: sentences from the phrase tables, and the span of each phrase that names a finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crossray.data.phantom.case import Case, Finding
from crossray.data.phantom.draws import Draws
from crossray.data.phantom.phrases import Denial, PhraseTables, tables
from crossray.data.phantom.presets import DifficultySettings

SIDE_NAMES = {(-1,): "right", (1,): "left", (-1, 1): "both"}
_ORGANS = {
    "heart": ("cardiomegaly",),
    "lungs": ("edema", "consolidation", "nodule", "atelectasis"),
    "pleura": ("effusion", "pneumothorax"),
    "bones": ("fracture",),
    "devices": ("device",),
}


@dataclass(frozen=True)
class Mention:
    """Characters ``start`` to ``end`` name the finding of that number in the case, under a class name."""

    finding: int
    label: str
    start: int
    end: int


@dataclass(frozen=True)
class Written:
    """Text with the phrases in it that name findings."""

    text: str
    mentions: tuple[Mention, ...] = ()

    def after(self, prefix: str) -> Written:
        """The same behind a prefix: spans move along."""
        by = len(prefix)
        moved = tuple(Mention(m.finding, m.label, m.start + by, m.end + by) for m in self.mentions)
        return Written(prefix + self.text, moved)


def write_report(case: Case, labels: dict[str, float], settings: DifficultySettings, draws: Draws) -> Written:
    """The report of a case, ``INDICATION``, ``COMPARISON``, ``FINDINGS`` and ``IMPRESSION`` on lines of their own.

    Args:
        case: what is on the film.
        labels: the truth by class name, so that nothing present is denied.
        settings: how often rare words, hedges and remarks are used.
        draws: the stream of the text.
    """
    return _Writer(case, labels, settings, draws).report()


class _Writer:
    def __init__(self, case: Case, labels: dict[str, float], settings: DifficultySettings, draws: Draws) -> None:
        self.case, self.labels, self.settings, self.draws = case, labels, settings, draws
        self.words: PhraseTables = tables()

    def report(self) -> Written:
        sections: list[tuple[str, Written]] = []
        if self.draws.chance(self.words.indication_rate):
            sections.append(("INDICATION", Written(self.draws.choice(self.words.indications))))
        if self.case.follow_up or self.draws.chance(self.words.comparison_rate):
            kind = "further" if self.case.follow_up else "first"
            sections.append(("COMPARISON", Written(self.draws.choice(self.words.comparisons[kind]))))
        findings, impression = self._body()
        if findings.text:
            sections.append(("FINDINGS", findings))
        sections.append(("IMPRESSION", impression))
        return _join([body.after(f"{heading}: ") for heading, body in sections], "\n")

    def _body(self) -> tuple[Written, Written]:
        plain = not (self.case.findings or self.case.resolved)
        if plain and self.draws.chance(self.words.normal_report_rate):
            choices = {index: row[0] for index, row in enumerate(self.words.normal_reports)}
            _, findings, impression = self.words.normal_reports[self.draws.weighted(choices)]
            return Written(findings), Written(impression)
        if self.draws.chance(self.settings.impression_only_rate):
            return Written(""), self._impression(every=True)
        return self._findings(), self._impression(every=False)

    def _findings(self) -> Written:
        order = ["heart", "lungs", "pleura", "bones"]
        if self.draws.chance(0.35):
            order = ["lungs", "pleura", "heart", "bones"]
        order.insert(0 if self.draws.chance(0.5) else len(order), "devices")
        sentences: list[Written] = []
        denied: set[str] = set()
        for organ in order:
            for number, finding in enumerate(self.case.findings):
                if finding.kind in _ORGANS[organ]:
                    sentences.append(self._sentence(number, finding, short=False))
            sentences += self._denials(organ, denied)
        sentences += self._resolutions() + self._remarks()
        return _join(sentences, " ")

    def _impression(self, *, every: bool) -> Written:
        sentences = [
            self._sentence(number, finding, short=True)
            for number, finding in enumerate(self.case.findings)
            if every or number == 0 or self.draws.chance(self.words.impression_mention_rate)
        ]
        if not sentences:
            return Written(self.draws.choice(self.words.normal_impressions))
        if len(sentences) > 1 and self.draws.chance(0.5):
            sentences = [sentence.after(f"{number}. ") for number, sentence in enumerate(sentences, 1)]
        return _join(sentences, " ")

    def _sentence(self, number: int, finding: Finding, *, short: bool) -> Written:
        article, phrase, plural, label = self._phrase(finding, short=short)
        frame = self.draws.choice(self.words.frames[self._frame_kind(finding, short=short)])
        frame = frame.replace("{is}", "are" if plural else "is")
        slot, shown = ("{x}", article + phrase) if "{x}" in frame else ("{bare}", phrase)
        before, after = frame.split(slot)
        start = len(before) + len(shown) - len(phrase)
        text = _capital(before + shown + after)
        return Written(text, (Mention(number, label, start, start + len(phrase)),))

    def _frame_kind(self, finding: Finding, *, short: bool) -> str:
        prefix = "short" if short else ""
        if finding.change != "none" and self.draws.chance(0.8):
            return f"{prefix}_{finding.change}" if short else finding.change
        if finding.kind != "device" and self.draws.chance(self.settings.hedge_rate):
            return "short_hedged" if short else "hedged"
        return "short" if short else "plain"

    def _phrase(self, finding: Finding, *, short: bool) -> tuple[str, str, bool, str]:
        """``(article, phrase, plural, class name)`` for a finding."""
        key, label = self._key(finding, short=short)
        number = "both" if len(finding.sides) == 2 else "one"
        wordings = self.words.phrases[key][number]
        rare = self.draws.chance(self.settings.rare_word_rate)
        phrase = self._fill(self.draws.choice(wordings.rare if rare else wordings.common), finding)
        plural = phrase.startswith("plural ")
        phrase = phrase.removeprefix("plural ")
        for article in ("an ", "a "):
            if phrase.startswith(article):
                bare = phrase.removeprefix(article)
                return ("an " if _vowel(bare) else "a "), bare, plural, label
        return "", phrase, plural, label

    def _key(self, finding: Finding, *, short: bool) -> tuple[str, str]:
        if finding.kind == "device":
            return finding.variant, finding.label
        if finding.kind == "nodule" and finding.size == "large":
            return "mass", finding.label
        if finding.variant == "pneumonia" and (short or self.draws.chance(0.2)):
            return "pneumonia", "Pneumonia"
        return finding.kind, finding.label

    def _fill(self, phrase: str, finding: Finding) -> str:
        values = {}
        if "{size}" in phrase:
            sizes = self.words.sizes.get(finding.kind, self.words.sizes["default"])
            values["size"] = self.draws.choice(sizes[finding.size])
        side = SIDE_NAMES.get(finding.sides, "")
        if "side}" in phrase:
            values["side"] = self.draws.choice(self.words.sides[side])
            values["bare_side"] = side
        if finding.zone:
            zone = self.words.zones[finding.zone][side]
            values["zone"], values["place"] = self.draws.choice(zone.attribute), self.draws.choice(zone.place)
        return phrase.format(**values)

    def _denials(self, organ: str, denied: set[str]) -> list[Written]:
        if organ == "devices":
            return []
        choices: Sequence[Denial] = getattr(self.words.denials, organ)
        usable = [
            denial
            for denial in choices
            if not any(self.labels.get(name) == 1.0 for name in denial.denies) and not denied & set(denial.denies)
        ]
        sentences = []
        if usable and self.draws.chance(self.words.denial_rate):
            denial = self.draws.choice(usable)
            denied.update(denial.denies)
            sentences.append(Written(denial.text))
        return sentences + (self._one_sided() if organ == "pleura" else [])

    def _one_sided(self) -> list[Written]:
        """A denial for the healthy side of a finding that the other side has."""
        sentences = []
        for denial in self.words.denials.one_sided:
            sides = {side for finding in self.case.findings if finding.kind == denial.kind for side in finding.sides}
            if len(sides) == 1 and self.draws.chance(self.words.one_sided_rate):
                healthy = "left" if sides == {-1} else "right"
                sentences.append(Written(denial.text.format(side=healthy)))
        return sentences

    def _resolutions(self) -> list[Written]:
        sentences = []
        for finding in self.case.resolved:
            if not self.draws.chance(self.words.resolved_rate):
                continue
            word = self.draws.choice(self.words.resolved[finding.kind])
            plural = word.endswith("devices")
            kind = "resolved_device" if finding.kind == "device" else "resolved"
            frame = self.draws.choice(self.words.frames[kind]).replace("{bare}", word)
            frame = frame.replace("{has}", "have" if plural else "has").replace("{is}", "are" if plural else "is")
            sentences.append(Written(_capital(frame)))
        return sentences

    def _remarks(self) -> list[Written]:
        sentences = []
        for item in self.case.distractors:
            choices = self.words.remarks[item.kind]
            if choices and self.draws.chance(0.6):
                side = "right" if item.side < 0 else "left"
                sentences.append(Written(_capital(self.draws.choice(choices).format(side=side))))
        if self.draws.chance(self.settings.remark_rate):
            sentences.append(Written(self.draws.choice(self.words.remarks["plain"])))
        return sentences


def _join(parts: Sequence[Written], separator: str) -> Written:
    whole = Written("")
    for part in parts:
        prefix = whole.text + separator if whole.text else ""
        moved = part.after(prefix)
        whole = Written(moved.text, (*whole.mentions, *moved.mentions))
    return whole


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _vowel(text: str) -> bool:
    """Whether the indefinite article before the text is "an"."""
    return text[0].lower() in "aeio" or text.startswith(("8 ", "IJ", "NG", "ET"))
