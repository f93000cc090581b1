"""An evaluation, from runs to one table: fold by fold, cell by cell, then rows. A stopped one goes on where it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossray.data.split_files import read_split
from crossray.data.splits import SplitList
from crossray.data.store import Store
from crossray.data.verify import open_whole
from crossray.errors import ConfigError
from crossray.evaluation.cells import Arrays, Cells
from crossray.evaluation.class_decision import class_decision_rows
from crossray.evaluation.class_retrieval_task import class_retrieval_rows
from crossray.evaluation.cohort import tested_hash
from crossray.evaluation.ensemble import EnsembleFold
from crossray.evaluation.finetune import Progress
from crossray.evaluation.fold import OTHER_FILM, RIDGE, FoldEvaluation
from crossray.evaluation.fold_probes import (
    FILM_ALONE,
    IMAGENET,
    REPORT_ALONE,
    UNTRAINED,
    WITH_PROBE,
    WORDS,
    WORDS_AND_TRUNK,
)
from crossray.evaluation.grounding_floors import SIDE_PRIOR, WORDS_PRIOR
from crossray.evaluation.grounding_rows import fold_phrases, grounding_rows
from crossray.evaluation.protocol import EvaluationConfig, Protocol, protocol_for
from crossray.evaluation.results import Provenance, Results, Row, command_line, write_results
from crossray.evaluation.retrieval_task import fold_ranks
from crossray.evaluation.rows import Evaluated, classification_rows, retrieval_rows
from crossray.evaluation.runs import Run, find_runs
from crossray.evaluation.tasks import fold_scores
from crossray.inference.run_files import stream_settings
from crossray.settings import build_settings
from crossray.versions import now, versions

Predictions = Mapping[Evaluated, Sequence[tuple[str, Arrays]]]
"""What was evaluated → (fold, cell) for each fold."""

#: Floors that our lines are compared to by a paired difference.
_COMPARED = (
    IMAGENET,
    UNTRAINED,
    RIDGE,
    WORDS,
    FILM_ALONE,
    REPORT_ALONE,
    WORDS_AND_TRUNK,
    OTHER_FILM,
    Evaluated(SIDE_PRIOR, kind="floor"),
    Evaluated(WORDS_PRIOR, kind="floor"),
)


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated: the runs of one recipe (one for each fold), on their store and split, under a protocol.

    Raises:
        ConfigError: labels are needed and there are none.
        CheckpointError: a run was trained on another store or split.
    """

    runs: tuple[Run, ...]
    store: Store
    split: SplitList
    protocol: Protocol
    config: EvaluationConfig

    def __post_init__(self) -> None:
        if (
            set(self.config.tasks) & {"zero_shot", "probe", "finetune", "text_probe", "joint_probe"}
            and not self.protocol.labels
        ):
            raise ConfigError(
                "the store holds no labels, so there is nothing to classify.", remedy="Use --tasks retrieval,floors."
            )
        for run in self.runs:
            run.check_made_from(self.store.hash, self.split.hash)

    def folds(self, cells: Path, progress: Progress | None = None) -> list[FoldEvaluation]:
        """The folds, with the folder of their cells."""
        say, shelf = progress or _silent, Cells(cells)
        return [
            FoldEvaluation(run, self.store, self.split, self.protocol, self.config, shelf, say) for run in self.runs
        ]


def ensemble_folds(members: Sequence[Evaluation], cells: Path, progress: Progress | None = None) -> list[EnsembleFold]:
    """The folds of several evaluations that score together; all must have runs of the same folds.

    Raises:
        ConfigError: they do not, or a fold's members are not given the same films and reports.
    """
    of_members = [member.folds(cells, progress) for member in members]
    folds = [[fold.run.fold for fold in own] for own in of_members]
    other = next((row for row, own in enumerate(folds) if own != folds[0]), None)
    if other is not None:
        raise ConfigError(
            f"members of an ensemble need the same folds: {members[0].runs[0].path.parent} has {', '.join(folds[0])}, "
            f"{members[other].runs[0].path.parent} has {', '.join(folds[other])}.",
            remedy="Give one folder of runs, one a fold, for each member.",
        )
    return [EnsembleFold.of(fold) for fold in zip(*of_members, strict=True)]


def open_evaluation(
    paths: Sequence[Path],
    config: EvaluationConfig,
    *,
    store: Path | str | None = None,
    split: str | None = None,
    checkpoint: str = "best",
    protocol_changes: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Find runs, open the store and split that they name, and look up the split's protocol.

    Args:
        paths: run folders, or folders of them.
        config: tasks and their settings.
        store, split: where they are now, if no longer where the run's configuration says.
        checkpoint: which weights of each run.
        protocol_changes: fields of the protocol to change, such as ``draws``.
    """
    runs = tuple(find_runs(paths, checkpoint))
    opened = open_whole(store or runs[0].store, stream_settings(runs[0].path))
    list_ = read_split(split or runs[0].split)
    protocol = protocol_for(list_.protocol, opened.label_names, opened.labels)
    if protocol_changes:
        content = protocol.model_dump()
        for name, value in protocol_changes.items():
            of_section = isinstance(content.get(name), dict) and isinstance(value, dict)
            content[name] = {**content[name], **value} if of_section else value
        protocol = build_settings(Protocol, content)
    return Evaluation(runs, opened, list_, protocol, config)


def evaluate(folds: Sequence[FoldEvaluation], out: Path) -> Results:
    """Make every cell that is missing, and write ``results.{json,csv,md}`` into ``out``."""
    by_task: dict[str, dict[Evaluated, list[tuple[str, Arrays]]]] = {}
    for fold in folds:
        for task, found in fold.evaluate().items():
            for who, cell in found.items():
                by_task.setdefault(task, {}).setdefault(who, []).append((fold.run.fold, cell))
    rows = [row for task, predictions in by_task.items() for row in _rows(task, predictions, folds[0].protocol)]
    if {"zero_shot", "class_retrieval"} <= by_task.keys():
        listed = next(iter(by_task["class_retrieval"].values()))
        rows += class_decision_rows(by_task["zero_shot"], listed, folds[0].protocol)
    results = Results(provenance=_provenance(folds), rows=tuple(rows))
    write_results(results, out)
    return results


def _rows(task: str, predictions: Predictions, protocol: Protocol) -> list[Row]:
    ours = next(who for who in predictions if who.kind == "model")
    compared = [ours, *(who for who in predictions if who == Evaluated(ours.model, WITH_PROBE, "variant"))]
    differences = [(who, floor) for who in compared for floor in _COMPARED if floor in predictions]
    if task == "grounding":
        phrases = {who: [fold_phrases(*cell) for cell in cells] for who, cells in predictions.items()}
        return grounding_rows(phrases, differences, protocol)
    if task == "class_retrieval":
        return class_retrieval_rows(predictions, differences, protocol)
    if task != "retrieval":
        scores = {who: [fold_scores(*cell) for cell in cells] for who, cells in predictions.items()}
        return classification_rows(task, scores, differences, protocol)
    ranks = {who: [fold_ranks(*cell) for cell in cells] for who, cells in predictions.items()}
    # A pool may be larger than the test side of one of the folds.
    there = [name for name in ranks[ours][0] if all(name in fold for fold in ranks[ours])]
    by_direction = {who: {name: [fold[name] for fold in folds] for name in there} for who, folds in ranks.items()}
    return retrieval_rows(by_direction, differences, protocol)


def _provenance(folds: Sequence[FoldEvaluation]) -> Provenance:
    first, runs = folds[0], [fold.run for fold in folds]
    protocol, config = first.protocol, first.config
    left_out = sorted({study_id for fold in folds for study_id in fold.cohort.left_out})
    return Provenance(
        protocol=protocol.id,
        preset=protocol.preset,
        split_protocol=first.split.protocol,
        split_hash=first.split.hash,
        store_hash=first.store.hash,
        source=first.store.manifest.inputs.source,
        folds=tuple(run.fold for run in runs),
        runs={fold.run.fold: fold.trained for fold in folds},
        seeds={
            "bootstrap": protocol.seed,
            "fine-tuning": config.finetune.seed,
            "prompts": config.zero_shot.seed,
            "training": runs[0].seed,
        },
        draws=protocol.draws,
        level=protocol.level,
        studies=sum(len(fold.cohort.test) for fold in folds),
        tested=tested_hash({fold.run.fold: fold.cohort.test for fold in folds}),
        left_out=tuple(left_out),
        labels=protocol.labels,
        common_labels=protocol.common_labels,
        choices={
            "AUROC": "mean over folds of the AUC inside each fold; 'pooled' ranks all folds together by mid-ranks",
            "retrieval": "ranks inside each fold's gallery, hits pooled over folds; a tie counts by its probability",
            **_class_retrieval_choice(folds),
            **_grounding_choice(folds),
            **(config.finetune.choices if "finetune" in config.tasks else {}),
            "selection": "C, alpha and the epoch are chosen on each fold's validation side, never on its test side",
        },
        caveats=_caveats(folds),
        settings=config.model_dump(mode="json"),
        command=command_line(),
        versions=versions(),
        date=now(),
    )


def _class_retrieval_choice(folds: Sequence[FoldEvaluation]) -> dict[str, str]:
    done = [fold for fold in folds if "class_retrieval" in fold.config.tasks and not fold.obstacle("class_retrieval")]
    return {"class retrieval": "; ".join(f"fold {f.run.fold}: {f.listed.in_words}" for f in done)} if done else {}


def _caveats(folds: Sequence[FoldEvaluation]) -> dict[str, str]:
    found = {fold.grounding_caveat for fold in folds if "grounding" in fold.config.tasks} - {""}
    return {"grounding": " ".join(sorted(found))} if found else {}


def _grounding_choice(folds: Sequence[FoldEvaluation]) -> dict[str, str]:
    if "grounding" not in folds[0].config.tasks or not sum(len(fold.test_phrases) for fold in folds):
        return {}
    left_out = sum(fold.test_phrases.left_out for fold in folds)
    return {
        "grounding": f"{folds[0].protocol.grounding.in_words}; "
        f"{left_out} phrases left out, whose boxes lie on no evaluated film"
    }


def _silent(line: str) -> None:
    pass
