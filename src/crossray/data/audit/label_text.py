"""Labels that the text gives away: a label's name or synonym in what a model reads of the report."""

from __future__ import annotations

from collections.abc import Sequence

from crossray.data.audit.finding import Finding, Places, finding
from crossray.data.findings import FINDINGS
from crossray.data.mentions import mentions_in
from crossray.data.store import Store
from crossray.data.text import SelectedText, TextConfig, normalise_text, select_text


def label_findings(store: Store, config: TextConfig | None = None) -> list[Finding]:
    """For each label: in how many of the studies that have it the text names it.

    A classifier of films is not touched by this; one that reads the report is. Synonyms are those of the rule
    labeller for the CheXpert classes, and the name itself for others.
    """
    places = {name: Places() for name in store.label_names}
    for row, study in enumerate(store.study_ids):  # one report at a time: a store may hold more than memory does
        labels = [name for name, value in zip(store.label_names, store.labels[row], strict=True) if value == 1]
        named = _named(select_text(store.report(row), config or TextConfig()), labels) if labels else set()
        for name in labels:
            if name in named:
                places[name].add(study)
    counts = (store.labels == 1).sum(axis=0).tolist()
    meaning = "studies with the label whose text names it: no test of what a film shows if the text is read"
    return [
        finding(f"label in text: {name}", places[name], positive, meaning, fails=False)
        for name, positive in zip(store.label_names, counts, strict=True)
    ]


def _named(text: SelectedText, labels: Sequence[str]) -> set[str]:
    words = f" {normalise_text(text.text)} "
    by_rules = {item.finding for span in text.sentences for item in mentions_in(span.of(text.text))}
    by_name = {name for name in labels if f" {normalise_text(name)} " in words}
    return (by_rules & set(FINDINGS)) | by_name
