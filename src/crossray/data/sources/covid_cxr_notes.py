"""What the notes and findings of the COVID-19 image data collection say: a report, a credit, four labels.

A note tells of the presentation, of the film, and at times of the course; those of some sites have the headings
Presentation, Imaging notes and Discussion, most have none. The column ``other_notes`` mostly names the author, as the
licence wants; that is no text about a film.

``finding`` is the diagnosis, often by the germ. Versions of the set write it alone (``Klebsiella``), with what came of
it (``COVID-19, ARDS``), or with its kind (``Pneumonia/Bacterial/Klebsiella``).
"""

from __future__ import annotations

import math
import re

from crossray.data.reports import parse_report
from crossray.data.sentences import split_sentences
from crossray.data.study import Report, Section, Sentence, Span

COVID, BACTERIAL, PNEUMONIA, NO_FINDING = "COVID-19", "Bacterial Pneumonia", "Pneumonia", "No Finding"
#: Few and fixed: what enough films of enough patients have, and No Finding, without which Pneumonia has no negatives.
LABELS = (COVID, BACTERIAL, PNEUMONIA, NO_FINDING)

# The copy has a question mark where the © of two credits was.
_CREDIT = re.compile(r"(?:image|case) courtesy\b|credit\b|[©?]\s", re.IGNORECASE)
_NOT_TOLD = frozenset({"", "todo", "unknown"})
_DESCRIBING = ("findings", "impression", "other")

_BACTERIA = frozenset(
    {
        "bacterial",
        "streptococcus",
        "mycoplasma",
        "mycoplasma bacterial pneumonia",
        "klebsiella",
        "legionella",
        "chlamydophila",
        "e.coli",
        "nocardia",
        "staphylococcus",
        "mrsa",
    }
)
_OTHER_CAUSES = frozenset(
    {
        *("sars", "mers-cov", "influenza", "h1n1", "varicella", "herpes", "herpes pneumonia"),
        *("fungal", "pneumocystis", "aspergillosis", "lipoid", "aspiration"),
    }
)


def note_report(clinical_notes: str, other_notes: str) -> Report:
    """The note as a report: sections by its headings; the other note below it, unless it is a credit.

    A note whose only heading opens the history is not divided: what it says of the film stands under that heading too.
    """
    other = "" if credit_of(other_notes) else other_notes.strip()
    text = "\n".join(part for part in (clinical_notes.strip(), other) if part)
    report = parse_report(text)
    if not text or any(section.name in _DESCRIBING for section in report.sections):
        return report
    whole = Span(0, len(text))
    sentences = tuple(Sentence(span, "other") for span in split_sentences(text, whole))
    return Report(text, (Section("other", whole),), sentences)


def credit_of(other_notes: str) -> str:
    """Whom the film is owed to; empty if the note says something else."""
    return other_notes.strip() if _CREDIT.match(other_notes.strip()) else ""


def finding_labels(finding: str) -> dict[str, float]:
    """The labels of a finding: 1, 0, or NaN where the finding does not settle it.

    What a diagnosis with a cause does not name is absent. Pneumonia without a cause leaves its cause unknown; a word
    that is no known cause, such as ARDS, leaves open whether there is a pneumonia too; an empty finding, everything.
    """
    words = {word.strip().lower() for word in re.split(r"[,/]", finding)} - _NOT_TOLD
    if words == {NO_FINDING.lower()}:
        return dict.fromkeys(LABELS, 0.0) | {NO_FINDING: 1.0}
    if not words:
        return dict.fromkeys(LABELS, math.nan)
    covid, bacterial = COVID.lower() in words, bool(words & _BACTERIA)
    caused = covid or bacterial or bool(words & _OTHER_CAUSES)
    return {
        COVID: float(covid) if caused else math.nan,
        BACTERIAL: float(bacterial) if caused else math.nan,
        PNEUMONIA: 1.0 if caused or PNEUMONIA.lower() in words else math.nan,
        NO_FINDING: 0.0,
    }
