"""What was trained on what, in words and numbers, and the few figures that head the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crossray.evaluation.class_retrieval_task import CLASS_DIRECTIONS
from crossray.evaluation.fold import FoldEvaluation
from crossray.evaluation.grounding import POINTING
from crossray.evaluation.grounding_rows import ALL_PHRASES
from crossray.evaluation.results import Results, Row
from crossray.evaluation.rows import COMMON, DIRECTIONS, MACRO
from crossray.evaluation.tables import number
from crossray.inference.run_files import read_run_manifest


@dataclass(frozen=True)
class Fact:
    """A line of the list of facts."""

    name: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class Headline:
    """One figure at the head of the page, with what it must be compared to."""

    title: str
    value: str
    interval: str
    compared: str

    def __str__(self) -> str:
        return f"{self.title}: {self.value} [{self.interval}]; beside it: {self.compared}"


def training_facts(folds: Sequence[FoldEvaluation], results: Results) -> list[Fact]:
    """Data, split, model and training, as the page lists them."""
    first, provenance = folds[0], results.provenance
    store, config = first.store, first.run.config
    cohorts = [fold.cohort for fold in folds]
    sizes = "; ".join(f"fold {c.fold}: {len(c.train)} / {len(c.validation)} / {len(c.test)}" for c in cohorts)
    model, training = first.run.model, _section(config, "training")
    text = _section(config, "text_encoder")
    return [
        Fact(
            "Data",
            f"{len(store)} studies, {store.film_count} films of {provenance.source}",
            f"store {_short(store.hash)}",
        ),
        Fact("Films", f"prepared at {store.prepared_size} px, the model sees {model.image.size} px"),
        Fact("Text", " + ".join(model.text.sections), f"de-identification marks: {model.text.deidentified}"),
        Fact("Split", f"{provenance.split_protocol}", f"hash {_short(provenance.split_hash)}"),
        Fact("Training / validation / test studies", sizes),
        Fact("Method", model.method.name, f"preset {model.method.preset}"),
        Fact("Image encoder", model.image_encoder.name, _start(model.image_encoder.pretrained)),
        Fact("Text encoder", _text_encoder(text), _start(text.get("pretrained", "none"))),
        Fact("Training", f"{training.get('epochs')} epochs at batch {training.get('batch_size')}", _outcomes(folds)),
        Fact("Seeds", ", ".join(f"{name} {seed}" for name, seed in provenance.seeds.items())),
        Fact("Left out", f"{len(provenance.left_out)} studies of the split have no film or no text to read"),
    ]


def _start(weights: object) -> str:
    return "starts from random weights" if weights == "none" else f"starts from {weights}"


def headlines(results: Results) -> list[Headline]:
    """Retrieval at the largest K, the pointing game, and the mean AUC of each task, beside floor and chance.

    What reads reports to classify them has no headline: such figures are not to be seen without their caveat.
    """
    found = []
    retrieval = {
        "retrieval": ("R@", DIRECTIONS["image_to_text"]),
        "class_retrieval": ("P@", CLASS_DIRECTIONS["image_to_text"]),
    }
    for task, (metric, direction) in retrieval.items():
        places = [
            int(row.metric.removeprefix(metric))
            for row in results.select(task=task, kind="chance", target=direction)
            if row.metric.startswith(metric)
        ]
        if places:
            largest = f"{metric}{max(places)}"
            found += _headline(results, f"{largest}, {direction}, %", task=task, metric=largest, target=direction)
    found += _headline(
        results, f"Pointing game, {ALL_PHRASES}, %", task="grounding", metric=POINTING, target=ALL_PHRASES
    )
    means = [row.target for row in results.rows if row.target.startswith((COMMON, MACRO))]
    target = next((name for name in means if name.startswith(COMMON)), means[0] if means else "")
    titles = {"probe": "Linear probe", "finetune": "Fine-tuned", "zero_shot": "Zero-shot"}
    for task, title in titles.items():
        found += _headline(results, f"{title}, AUROC, {target}", task=task, metric="AUROC", target=target)
    return found


def _headline(results: Results, title: str, **conditions: str) -> list[Headline]:
    rows = results.select(**conditions)
    ours = next((row for row in rows if row.kind == "model"), None)
    if ours is None or ours.value is None:
        return []
    others = [f"{row.model} {_value(row)}" for row in rows if row.kind in ("floor", "chance")]
    interval = f"{number(ours.low, ours.metric)} to {number(ours.high, ours.metric)}"
    return [Headline(title, _value(ours), interval, ", ".join(others))]


def _value(row: Row) -> str:
    return number(row.value, row.metric)


def _outcomes(folds: Sequence[FoldEvaluation]) -> str:
    return ", ".join(dict.fromkeys(read_run_manifest(fold.run.path).outcome for fold in folds))


def _text_encoder(section: Mapping[str, Any]) -> str:
    size = [
        f"{section[key]} {key.replace('_', ' ')}" for key in ("layers", "width", "vocabulary_size") if section.get(key)
    ]
    return "BERT" + (f", {', '.join(size)}" if size else "")


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name)
    return section if isinstance(section, dict) else {}


def _short(digest: str) -> str:
    return digest[:16]
