"""The audit of a prepared store."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np

from crossray.data.audit.burned_in import looks_written_on
from crossray.data.audit.finding import Audit, Finding, Places, finding
from crossray.data.audit.identifiers import PATTERNS, identifiers_in
from crossray.data.audit.label_text import label_findings
from crossray.data.audit.near_copies import NEAR_BITS, hashes_of, near_pairs
from crossray.data.split_table import text_key
from crossray.data.splits import SIDES, Fold, SplitList
from crossray.data.store import Store

Sides = list[Mapping[str, str]]


def audit_store(store: Store, split: SplitList | None = None) -> Audit:
    """Everything that is looked for in a store; what concerns sides only where a split list is given."""
    sides = [_side_of(fold) for fold in split.folds] if split is not None else []
    findings = [*_near_copies(store, sides), *_divided(store, sides)] if sides else _near_copies(store, sides)
    return Audit(str(store.path), (*findings, *_identifiers(store), _written_on(store), *label_findings(store)))


def _side_of(fold: Fold) -> Mapping[str, str]:
    return {study_id: side for side in SIDES for study_id in fold.side(side)}


def _crosses(studies: Iterable[str], sides: Sides) -> bool:
    listed = list(studies)
    return any(len({fold[study] for study in listed if study in fold}) > 1 for fold in sides)


def _divided(store: Store, sides: Sides) -> list[Finding]:
    by_patient, by_text = defaultdict[str, list[str]](list), defaultdict[bytes, list[str]](list)
    for row, (study, patient) in enumerate(zip(store.study_ids, store.patient_ids, strict=True)):
        if patient is not None:
            by_patient[patient].append(study)
        if text := text_key(store.report(row)):
            # Not the text itself, of which a store may hold more than memory does.
            by_text[hashlib.sha256(text.encode()).digest()].append(study)
    patients = [group[0] for group in by_patient.values() if _crosses(group, sides)]
    texts = [group[0] for group in by_text.values() if _crosses(group, sides)]
    meaning = "reports whose findings and impression are equal but for case, white space, punctuation and marks"
    known = "patients on two sides of a fold (a study each)" if by_patient else "no patient is known: not looked at"
    return [
        finding("patients across sides", patients, len(by_patient), known),
        finding("reports across sides", texts, len(by_text), meaning),
    ]


def _near_copies(store: Store, sides: Sides) -> list[Finding]:
    row_of = np.array([store.film(row).study_index for row in range(store.film_count)], dtype=np.int64)
    pairs, crossing, strangers = Places(), Places(), Places()
    for left, right, _ in near_pairs(hashes_of(store)):
        first, second = int(row_of[left]), int(row_of[right])
        if first == second:
            continue  # two films of one examination are never divided
        studies = (store.study_ids[first], store.study_ids[second])
        place = " = ".join(studies)
        pairs.add(place)
        if _crosses(studies, sides):
            crossing.add(place)
        if store.patient_ids[first] is None or store.patient_ids[first] != store.patient_ids[second]:
            strangers.add(place)
    near = f"pairs of films of two studies, at most {NEAR_BITS} of 256 bits apart (or mirrored, or black for white)"
    found = [
        finding("near-duplicate films", pairs, store.film_count, near, fails=False),
        finding("the same, other patients", strangers, store.film_count, f"{near}, not known to be one patient's"),
    ]
    if sides:
        found.append(finding("the same, across sides", crossing, store.film_count, f"{near}, on two sides of a fold"))
    return found


def _identifiers(store: Store) -> list[Finding]:
    places = {kind: Places() for kind in PATTERNS}
    counts = dict.fromkeys(PATTERNS, 0)
    for row, study in enumerate(store.study_ids):
        for kind, count in identifiers_in(store.report(row).text).items():
            places[kind].add(study)
            counts[kind] += count
    meaning = "places in reports that look like it (not printed)"
    return [finding(f"report: {kind}", places[kind], len(store), meaning, found=counts[kind]) for kind in PATTERNS]


def _written_on(store: Store) -> Finding:
    places = Places()
    for start in range(0, store.film_count, 256):
        rows = range(start, min(start + 256, store.film_count))
        hits = np.flatnonzero(looks_written_on(store.pixels(rows)))
        for hit in hits:
            places.add(store.study_ids[store.film(rows[hit]).study_index])
    meaning = "films with a line of sharp bright strokes: look at them"
    return finding("burned-in text suspected", places, store.film_count, meaning)
