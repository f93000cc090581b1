"""Rule labeller: the CheXpert classes of a report, and those that people gave to the IU reports.

A report that does not mention a finding is taken to say that it is not there, as in the published evaluations
(global_local spec, §4.3: blank is 0); an uncertain mention is unknown. Both are options of :class:`LabelPolicy`.
Only findings and impression are read, and text under no heading where a report has neither: the history tells what
was feared, not what was seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

from crossray.data.language import is_english
from crossray.data.mentions import FindingMention, Mention, mentions_in
from crossray.data.mesh import mesh_label_names, mesh_labels
from crossray.data.study import Report, Sentence, Span
from crossray.settings import Settings

__all__ = [
    "FINDINGS",
    "FindingMention",
    "LabelPolicy",
    "Mention",
    "find_mentions",
    "label_mentions",
    "label_report",
    "mesh_label_names",
    "mesh_labels",
]

FINDINGS = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
"""The 14 CheXpert classes in their published order."""

_STRENGTH = (Mention.PRESENT, Mention.UNCERTAIN, Mention.ABSENT, Mention.NONE)


class LabelPolicy(Settings):
    """What uncertain and missing mentions count as: 1, 0, or unknown (NaN)."""

    uncertain: Literal["present", "absent", "unknown"] = "unknown"
    not_mentioned: Literal["absent", "unknown"] = "absent"


def find_mentions(report: Report) -> list[FindingMention]:
    """Every place of the report that names a finding; spans into ``report.text``, sentence by sentence."""
    found: list[FindingMention] = []
    for sentence in _read_sentences(report):
        start = sentence.span.start
        for mention in mentions_in(sentence.span.of(report.text)):
            span = Span(start + mention.span.start, start + mention.span.end)
            found.append(FindingMention(mention.finding, span, mention.mention))
    return found


def label_mentions(report: Report) -> dict[str, Mention]:
    """How the report speaks of each class: present anywhere, else uncertain, else absent, else not at all.

    ``No Finding`` is present if no other class but ``Support Devices`` is present or uncertain, and absent otherwise;
    it is not mentioned in a report without findings, impression or text under no heading.
    """
    states = dict.fromkeys(FINDINGS, Mention.NONE)
    for found in find_mentions(report):
        states[found.finding] = min(states[found.finding], found.mention, key=_STRENGTH.index)
    if _read_sentences(report):
        open_findings = _any_open(state for name, state in states.items() if name != "Support Devices")
        states["No Finding"] = Mention.ABSENT if open_findings else Mention.PRESENT
    return states


def label_report(report: Report, policy: LabelPolicy | None = None) -> dict[str, float]:
    """A value for each of :data:`FINDINGS`: 1.0 present, 0.0 absent, NaN unknown.

    A report with nothing to read (no findings, no impression, no text under no heading) is unknown throughout; so is
    one in another language, of which these rules would find nothing and say that all is absent.
    """
    policy = policy or LabelPolicy()
    value = {"present": 1.0, "absent": 0.0, "unknown": math.nan}
    if not _read_sentences(report) or not is_english(report.text):
        return dict.fromkeys(FINDINGS, math.nan)
    meaning = {
        Mention.PRESENT: 1.0,
        Mention.ABSENT: 0.0,
        Mention.UNCERTAIN: value[policy.uncertain],
        Mention.NONE: value[policy.not_mentioned],
    }
    return {name: meaning[state] for name, state in label_mentions(report).items()}


def _read_sentences(report: Report) -> list[Sentence]:
    reading = [sentence for sentence in report.sentences if sentence.section in ("findings", "impression")]
    return reading or [sentence for sentence in report.sentences if sentence.section == "other"]


def _any_open(states: Iterable[Mention]) -> bool:
    return any(state in (Mention.PRESENT, Mention.UNCERTAIN) for state in states)
