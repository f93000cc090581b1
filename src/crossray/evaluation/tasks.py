"""One task on one fold: from a model and a cohort to the arrays of a cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crossray.data.augment import ImageInputConfig
from crossray.evaluation.cells import Arrays
from crossray.evaluation.cohort import Cohort, Part
from crossray.evaluation.finetune import FinetuneConfig, Progress, finetune
from crossray.evaluation.floors import PairSplit, RidgeConfig, ridge_retrieval
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.models import Films, FloorModel, RunModel
from crossray.evaluation.probe import FeatureSplit, ProbeConfig, linear_probe
from crossray.evaluation.prompts import class_prompt, load_prompts
from crossray.evaluation.retrieval import RankCounts, RetrievalRanks, fuse, retrieval_ranks
from crossray.evaluation.rows import DIRECTIONS
from crossray.evaluation.summary import FoldRanks, FoldScores
from crossray.evaluation.zero_shot import ZeroShotConfig, zero_shot_scores

CLASS_PROBABILITIES = "class probabilities"

#: How many nearest reports of each film a retrieval cell keeps (for the report's pictures).
NEAREST = 5


def retrieval_task(model: RunModel, cohort: Cohort) -> dict[str, Arrays]:
    """Ranks of the test films and reports under each score the method has.

    ``fused`` is as :func:`fuse` says; a method without local scores has nothing else.
    """
    test = cohort.test
    global_scores, local_scores = model.similarity(test, test.texts, purpose="retrieval")
    fused = ranked(*fuse(global_scores, local_scores), test)
    if local_scores is None:
        return {"fused": fused}
    return {
        "fused": fused,
        "global": ranked(global_scores, global_scores, test),
        "local": ranked(local_scores, local_scores, test),
    }


def ridge_task(features: Sequence[NDArray[np.float32]], cohort: Cohort, config: RidgeConfig) -> Arrays:
    """Ranks of the retrieval floor; ``features`` of train, validation and test from the floor's trunk."""
    parts = (cohort.train, cohort.validation, cohort.test)
    train, validation, test = (
        PairSplit(own, [text.text for text in part.texts], part.text_groups)
        for own, part in zip(features, parts, strict=True)
    )
    result = ridge_retrieval(train, validation, test, config)
    arrays = ranked(result.test_scores, result.test_scores, cohort.test)
    return {**arrays, "chosen_alpha": np.array(result.chosen_alpha), "validation": np.array(result.validation_recall)}


def zero_shot_task(model: RunModel, cohort: Cohort, labels: Sequence[str], config: ZeroShotConfig) -> dict[str, Arrays]:
    """Scores of the test films, for the configured scorer (first) and for each of its variants, by name.

    A method that sets classes against each other has its published score besides (``CLASS_PROBABILITIES``).
    """
    bank = load_prompts(config.bank, seed=config.seed)
    covered = bank.covered(labels)
    known: dict[tuple[str, ...], tuple[FloatArray, FloatArray | None]] = {}

    def score(sentences: Sequence[str]) -> tuple[FloatArray, FloatArray | None]:
        key = tuple(sentences)
        if key not in known:
            known[key] = model.similarity(cohort.test, sentences, purpose="zero_shot")
        return known[key]

    has_local = bool(covered) and score(bank.of(covered[0]).positive)[1] is not None
    of_covered: dict[str, FloatArray] = {}
    for variant in zero_shot_variants(config, has_local=has_local):
        empty = np.zeros((len(cohort.test), 0))
        of_covered[variant.name] = zero_shot_scores(score, bank, covered, variant) if covered else empty
    own = model.class_probabilities(cohort.test, [class_prompt(label) for label in covered]) if covered else None
    if own is not None:
        of_covered[CLASS_PROBABILITIES] = own
    columns = [labels.index(label) for label in covered]
    return {name: _for_all(scores, columns, cohort.test, len(labels)) for name, scores in of_covered.items()}


def _for_all(scores: FloatArray, columns: Sequence[int], part: Part, labels: int) -> Arrays:
    """A cell of scores for some labels; one without prompts scores alike everywhere: nothing is known of it."""
    whole = np.zeros((len(part), labels))
    whole[:, columns] = scores
    return classification_arrays(part, whole)


def zero_shot_variants(config: ZeroShotConfig, *, has_local: bool) -> list[ZeroShotConfig]:
    """The configured scorer, then the others that are printed beside it."""
    changes: list[dict[str, str]] = [{}]
    changes += [{"aggregate": a, "contrast": c} for a in ("mean", "max") for c in ("versus_negated", "positive")]
    changes += [{"combine": combine} for combine in ("global", "local", "mean")] if has_local else []
    variants = [config.model_copy(update=change) for change in changes]
    return list({variant.name: variant for variant in variants}.values())


def probe_task(features: Sequence[NDArray[np.float32]], cohort: Cohort, config: ProbeConfig) -> Arrays:
    """A linear probe on frozen features of train, validation and test."""
    train = FeatureSplit(features[0], cohort.train.labels)
    validation = FeatureSplit(features[1], cohort.validation.labels)
    result = linear_probe(train, validation, features[2], config)
    return {
        **classification_arrays(cohort.test, result.test_scores),
        "chosen_c": np.array(result.chosen_c),
        "validation_auc": result.validation_auc,
    }


def finetune_task(
    model: RunModel | FloorModel,
    store: Films,
    image: ImageInputConfig,
    cohort: Cohort,
    config: FinetuneConfig,
    progress: Progress | None = None,
) -> Arrays:
    """Fine-tuning from the model's trunk."""
    parts = (cohort.train.film_part, cohort.validation.film_part, cohort.test.film_part)
    trunk = model.trunk()
    result = finetune(trunk, trunk.encoder.pooled_channels, store.pixels, *parts, image, config, progress)
    return {
        **classification_arrays(cohort.test, result.test_scores),
        "best_epoch": np.array(result.best_epoch),
        "validation_auc": np.array(result.validation_auc),
    }


def classification_arrays(part: Part, scores: FloatArray) -> Arrays:
    """A classification cell: ids, patients, labels and scores of the test films."""
    return {**_who(part), "labels": part.labels, "scores": scores}


def fold_scores(fold: str, cell: Arrays) -> FoldScores:
    """A classification cell as predictions."""
    return FoldScores(fold, _patients(cell), cell["scores"], cell["labels"])


def fold_ranks(fold: str, cell: Arrays) -> dict[str, FoldRanks]:
    """A retrieval cell as ranks, by direction (a field of ``RetrievalRanks``)."""
    patients = _patients(cell)
    distinct = tuple(patients[row] for row in cell["unique_rows"].tolist())
    found = {}
    for field in DIRECTIONS:
        better, tied, own_tied, own = cell[f"{field}:counts"]
        counts = RankCounts(better, tied, own_tied, own, int(cell[f"{field}:gallery"]))
        found[field] = FoldRanks(fold, distinct if field == "unique_text_to_image" else patients, counts)
    return found


def ranked(image_to_text: FloatArray, text_to_image: FloatArray, part: Part) -> Arrays:
    """A retrieval cell: ranks by scores ``[N, N]`` of every film with every report, for each direction."""
    ranks = retrieval_ranks(image_to_text, part.text_groups, text_to_image)
    arrays: Arrays = {**_who(part), "unique_rows": ranks.unique_rows, "nearest": _nearest(image_to_text, ranks)}
    for field in DIRECTIONS:
        counts: RankCounts = getattr(ranks, field)
        arrays[f"{field}:counts"] = np.stack([counts.better, counts.tied, counts.own_tied, counts.own])
        arrays[f"{field}:gallery"] = np.array(counts.gallery)
    return arrays


def _nearest(image_to_text: FloatArray, ranks: RetrievalRanks) -> NDArray[np.int64]:
    """``[N, k]``: for each film the rows of its nearest distinct reports, best first."""
    order = np.argsort(-image_to_text[:, ranks.unique_rows], axis=1, kind="stable")[:, :NEAREST]
    nearest: NDArray[np.int64] = ranks.unique_rows[order]
    return nearest


def _who(part: Part) -> Arrays:
    # An unknown patient is an empty name: cells hold plain arrays only.
    return {
        "study_ids": np.array(part.study_ids),
        "patient_ids": np.array([patient or "" for patient in part.patient_ids]),
    }


def _patients(cell: Arrays) -> tuple[str | None, ...]:
    return tuple(patient or None for patient in cell["patient_ids"].tolist())
