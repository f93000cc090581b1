"""What a store holds, in numbers: counts, views, shapes, labels, text lengths, and the funnel that led to it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from crossray.data.funnel import Funnel
from crossray.data.prepare import read_funnel
from crossray.data.split_table import text_key
from crossray.data.store import Store
from crossray.data.text import TextConfig, select_text

#: An attribute with more different values (age) is counted without them.
_FEW_VALUES = 8


@dataclass(frozen=True)
class LabelCount:
    """How often a label is present, absent and unknown."""

    name: str
    present: int
    absent: int
    unknown: int


@dataclass(frozen=True)
class AttributeCount:
    """How many studies have an attribute, and how often each value occurs if there are no more than a few."""

    name: str
    studies: int
    values: dict[str, int]


@dataclass(frozen=True)
class Quantiles:
    """Smallest, median, 95th percentile and largest of a count."""

    smallest: int
    median: int
    p95: int
    largest: int


@dataclass(frozen=True)
class Description:
    """A store in numbers. ``patients`` counts the known ones; words and sentences are of what a model reads."""

    source: str
    hash: str
    prepared_size: int
    studies: int
    films: int
    views: dict[str, int]
    films_a_study: dict[int, int]
    patients: int
    studies_without_patient: int
    squeezed_films: int
    boxes: int
    masks: int
    phrase_regions: int
    words: Quantiles
    sentences: Quantiles
    sections: dict[str, int]
    distinct_texts: int
    studies_sharing_a_text: int
    labels: tuple[LabelCount, ...]
    attributes: tuple[AttributeCount, ...]
    funnel: Funnel


def describe_store(store: Store) -> Description:
    """Count everything in a store; reads all reports, no pixels."""
    films = [store.film(row) for row in range(store.film_count)]
    reports = [store.report(index) for index in range(len(store))]
    selected = [select_text(report, TextConfig()) for report in reports]
    texts = Counter(key for report in reports if (key := text_key(report)))
    geometries = [film.geometry for film in films]
    return Description(
        source=store.manifest.inputs.source,
        hash=store.hash,
        prepared_size=store.prepared_size,
        studies=len(store),
        films=len(films),
        views=dict(Counter(film.view for film in films).most_common()),
        films_a_study=dict(sorted(Counter(Counter(film.study_index for film in films).values()).items())),
        patients=len({patient for patient in store.patient_ids if patient}),
        studies_without_patient=sum(not patient for patient in store.patient_ids),
        squeezed_films=sum(
            (g.file_height * g.original_width) != (g.file_width * g.original_height) for g in geometries
        ),
        boxes=sum(len(film.boxes) for film in films),
        masks=sum(len(film.mask_names) for film in films),
        phrase_regions=sum(len(store.phrase_regions(index)) for index in range(len(store))),
        words=_quantiles([len(text.text.split()) for text in selected]),
        sentences=_quantiles([len(text.sentences) for text in selected]),
        sections=dict(Counter(s.name for report in reports for s in report.sections).most_common()),
        distinct_texts=len(texts),
        studies_sharing_a_text=sum(count for count in texts.values() if count > 1),
        labels=_label_counts(store),
        attributes=_attribute_counts(store),
        funnel=read_funnel(store.path),
    )


def as_json(description: Description) -> dict[str, Any]:
    """The description as plain values, for programs."""
    return {**asdict(description), "funnel": description.funnel.model_dump(mode="json")}


def description_lines(description: Description) -> list[str]:
    """The description in words, one fact a line."""
    d = description
    by_films = ", ".join(f"{count} with {films}" for films, count in d.films_a_study.items())
    lines = [
        f"source {d.source}, films prepared at {d.prepared_size} x {d.prepared_size}, hash {d.hash[:12]}",
        f"studies: {d.studies} (by number of films: {by_films})",
        f"films: {d.films} ({_counts(d.views)}); squeeze undone on {d.squeezed_films}",
        f"patients: {d.patients} known; {d.studies_without_patient} studies without a patient id",
        f"boxes: {d.boxes}, masks: {d.masks}, phrase regions: {d.phrase_regions}",
        f"reports with section: {_counts(d.sections)}",
        f"words read by a model: {_range(d.words)}",
        f"sentences read by a model: {_range(d.sentences)}",
        f"distinct texts: {d.distinct_texts}; {d.studies_sharing_a_text} studies share theirs with another",
        *(f"{a.name}: {a.studies} studies" + (f" ({_counts(a.values)})" if a.values else "") for a in d.attributes),
        "",
    ]
    if d.labels:
        width = max(len(label.name) for label in d.labels)
        lines.append(f"{'label':<{width}}  present   share  absent  unknown")
        for label in d.labels:
            known = label.present + label.absent
            share = f"{label.present / known:7.1%}" if known else "      -"
            lines.append(f"{label.name:<{width}}  {label.present:7d} {share} {label.absent:7d} {label.unknown:8d}")
        lines.append("")
    return [*lines, *d.funnel.lines()]


def _label_counts(store: Store) -> tuple[LabelCount, ...]:
    return tuple(
        LabelCount(name, int((column == 1).sum()), int((column == 0).sum()), int(np.isnan(column).sum()))
        for name, column in zip(store.label_names, store.labels.T, strict=True)
    )


def _attribute_counts(store: Store) -> tuple[AttributeCount, ...]:
    values: dict[str, Counter[str]] = {}
    for index in range(len(store)):
        for name, value in store.attributes(index).items():
            values.setdefault(name, Counter())[value] += 1
    return tuple(
        AttributeCount(name, counts.total(), dict(counts.most_common()) if len(counts) <= _FEW_VALUES else {})
        for name, counts in sorted(values.items())
    )


def _quantiles(values: list[int]) -> Quantiles:
    smallest, median, p95, largest = np.percentile(values or [0], [0, 50, 95, 100], method="lower").astype(int).tolist()
    return Quantiles(smallest, median, p95, largest)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"


def _range(quantiles: Quantiles) -> str:
    q = quantiles
    return f"median {q.median}, 95th percentile {q.p95}, {q.smallest} to {q.largest}"
