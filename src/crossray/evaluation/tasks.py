"""One task on one fold: from a model and a cohort to the arrays of a cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crossray.data.augment import ImageInputConfig
from crossray.evaluation.cells import Arrays
from crossray.evaluation.cohort import Cohort, Part
from crossray.evaluation.finetune import FinetuneConfig, Progress, finetune
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.models import Films, FloorModel, RunModel
from crossray.evaluation.probe import FeatureSplit, ProbeConfig, linear_probe
from crossray.evaluation.prompts import class_prompt, load_prompts
from crossray.evaluation.summary import FoldScores
from crossray.evaluation.trunk_mode import stages_that_learn
from crossray.evaluation.zero_shot import ZeroShotConfig, zero_shot_scores

CLASS_PROBABILITIES = "class probabilities"


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
    """Fine-tuning from the model's trunk, or of its last stages.

    Raises:
        ConfigError: it has fewer stages than should learn.
    """
    parts = (cohort.train.film_part, cohort.validation.film_part, cohort.test.film_part)
    trunk, stages = model.trunk(), stages_that_learn(config.trunk)
    if stages is not None:
        trunk.encoder.learn_last(stages)
    result = finetune(trunk, trunk.encoder.pooled_channels, store.pixels, *parts, image, config, progress)
    return {
        **classification_arrays(cohort.test, result.test_scores),
        "best_epoch": np.array(result.best_epoch),
        "validation_auc": np.array(result.validation_auc),
    }


def classification_arrays(part: Part, scores: FloatArray) -> Arrays:
    """A classification cell: ids, patients, labels and scores of the test films."""
    return {**who_is(part), "labels": part.labels, "scores": scores}


def fold_scores(fold: str, cell: Arrays) -> FoldScores:
    """A classification cell as predictions."""
    return FoldScores(fold, patients_of(cell), cell["scores"], cell["labels"])


def who_is(part: Part) -> Arrays:
    """Ids and patients of a part, as every cell keeps them."""
    # An unknown patient is an empty name: cells hold plain arrays only.
    return {
        "study_ids": np.array(part.study_ids),
        "patient_ids": np.array([patient or "" for patient in part.patient_ids]),
    }


def patients_of(cell: Arrays) -> tuple[str | None, ...]:
    """One patient a row of a cell; ``None`` where unknown."""
    return tuple(patient or None for patient in cell["patient_ids"].tolist())
