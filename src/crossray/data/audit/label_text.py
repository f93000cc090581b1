"""Labels that the text gives away: a label's name or synonym in what a model reads of the report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crossray.data.audit.finding import Finding, finding
from crossray.data.findings import FINDINGS
from crossray.data.mentions import mentions_in
from crossray.data.store import Store
from crossray.data.text import SelectedText, TextConfig, normalise_text, select_text


def label_findings(store: Store, config: TextConfig | None = None) -> list[Finding]:
    """For each label: in how many of the studies that have it the text names it.

    A classifier of films is not touched by this; one that reads the report is. Synonyms are those of the rule
    labeller for the CheXpert classes, and the name itself for others.
    """
    texts = [select_text(store.report(row), config or TextConfig()) for row in range(len(store))]
    named = [_named(text, store.label_names) for text in texts]
    result = []
    for column, name in enumerate(store.label_names):
        positive = np.flatnonzero(store.labels[:, column] == 1)
        places = [store.study_ids[row] for row in positive if name in named[row]]
        meaning = "studies with the label whose text names it: no test of what a film shows if the text is read"
        result.append(finding(f"label in text: {name}", places, len(positive), meaning, fails=False))
    return result


def _named(text: SelectedText, labels: Sequence[str]) -> set[str]:
    words = f" {normalise_text(text.text)} "
    by_rules = {item.finding for span in text.sentences for item in mentions_in(span.of(text.text))}
    by_name = {name for name in labels if f" {normalise_text(name)} " in words}
    return (by_rules & set(FINDINGS)) | by_name
