"""Zero-shot scores of a run into probabilities: fitted on its validation side, measured on its test side, kept with it.

The scores are those of ``Model.classify`` and of the viewer: differences of mean cosines, without local scores. Trap:
the checkpoint was chosen on the same validation side, so the fit is a little too sure; the test side shows by how much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import crossray
from crossray.errors import CheckpointError, ConfigError
from crossray.evaluation.calibration import BINS, brier, equal_mass_error
from crossray.evaluation.cohort import Cohort, Part, build_cohort
from crossray.evaluation.finetune import Progress
from crossray.evaluation.intervals import bootstrap_weights, percentile_interval
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.models import RunModel
from crossray.evaluation.prompts import DEFAULT_BANK, PromptBank, load_prompts
from crossray.evaluation.protocol import EvaluationConfig
from crossray.evaluation.runs import Run
from crossray.evaluation.scaling import fit_platt
from crossray.evaluation.suite import Evaluation, open_evaluation
from crossray.evaluation.zero_shot import ZeroShotConfig, zero_shot_scores
from crossray.files import explained_disk_errors, write_sealed_json
from crossray.inference.calibration import (
    CALIBRATION_FILE,
    Calibration,
    Estimate,
    FindingCalibration,
    HeldOut,
    Scaling,
    prompts_hash,
)
from crossray.inference.embed import unit
from crossray.versions import now

FEWEST = 10
"""Validation films with a finding, and without it, below which no line is fitted."""

_AS_LOG_ODDS = Scaling(slope=1.0)


@dataclass(frozen=True)
class Scored:
    """Films of one side by one finding: ``scores [n]``, ``labels [n]`` (NaN unknown)."""

    scores: FloatArray
    labels: FloatArray

    @property
    def films(self) -> int:
        """Those whose label is known."""
        return int((~np.isnan(self.labels)).sum())

    @property
    def positives(self) -> int:
        """Those that have the finding."""
        return int((self.labels > 0.5).sum())


def calibrate_runs(
    paths: Sequence[Path],
    *,
    store: Path | str | None = None,
    split: str | None = None,
    checkpoint: str = "best",
    bank: str = DEFAULT_BANK,
    progress: Progress = lambda line: None,
) -> dict[Path, Calibration]:
    """Fit and write ``calibration.json`` of each run, by its folder.

    Args:
        paths: run folders, or folders of them (one run for each fold).
        store, split: where they are now (the store's folder or URL), if no longer where the run's configuration says.
        checkpoint: whose scores are calibrated.
        bank: of prompts: a shipped one's name, or a YAML file of one's own.
        progress: told of each run.

    Raises:
        CheckpointError: a run cannot be used, was trained on another store or split, or reads no reports.
        ConfigError: the bank has no class that the store has labels of.
        StoreError, DataError: the store or the split cannot be used.
    """
    config = EvaluationConfig(tasks=("zero_shot",), zero_shot=ZeroShotConfig(bank=bank, combine="global"))
    evaluation = open_evaluation(paths, config, store=store, split=split, checkpoint=checkpoint)
    prompts = load_prompts(bank)
    if not prompts.covered(evaluation.store.label_names):
        known = ", ".join(evaluation.store.label_names)
        raise ConfigError(f"prompt bank '{prompts.id}' has no class that the store labels: {known}.", field="--bank")
    found = {}
    for run in evaluation.runs:
        progress(f"fold {run.fold}: {run.path}")
        found[run.path] = _calibrated(run, evaluation, prompts)
        with explained_disk_errors(CheckpointError, run.path):
            write_sealed_json(run.path / CALIBRATION_FILE, found[run.path].model_dump(mode="json"))
    return found


def _calibrated(run: Run, evaluation: Evaluation, bank: PromptBank) -> Calibration:
    protocol, store = evaluation.protocol, evaluation.store
    # Every finding that can be: the protocol's own labels are those that its tables compare.
    labels = bank.covered(store.label_names)
    fold = evaluation.split.fold(run.fold)
    cohort = build_cohort(store, fold, labels, protocol.views, run.model.text)
    return Calibration(
        weights=run.weights_hash,
        checkpoint=run.checkpoint,
        source=store.manifest.inputs.source,
        store_hash=store.hash,
        split_protocol=evaluation.split.protocol,
        split_hash=evaluation.split.hash,
        fold=run.fold,
        protocol=protocol.id,
        views=protocol.views,
        bank=bank.id,
        films=len(cohort.validation),
        draws=protocol.draws,
        level=protocol.level,
        seed=protocol.seed,
        crossray=crossray.__version__,
        date=now(),
        findings=_findings(run, cohort, bank, labels, evaluation),
    )


def _findings(
    run: Run, cohort: Cohort, bank: PromptBank, labels: Sequence[str], evaluation: Evaluation
) -> dict[str, FindingCalibration]:
    protocol, config = evaluation.protocol, evaluation.config
    model = RunModel(run, evaluation.store, config.batch_size)
    if not model.joint.method.reads_reports:
        raise CheckpointError(f"{run.method} reads no reports: it has no zero-shot scores.", file=run.path)

    def scores_of(part: Part) -> FloatArray:
        films = unit(model.pooled(part))

        def score(sentences: Sequence[str]) -> tuple[FloatArray, None]:
            cosines = films @ unit(model.joint.embed_texts(sentences).report.numpy()).T
            return cosines.astype(np.float64), None

        return zero_shot_scores(score, bank, labels, config.zero_shot)

    validation, test = cohort.validation, cohort.test
    fitted, measured = scores_of(validation), scores_of(test)
    weights = bootstrap_weights(test.patient_ids, draws=protocol.draws, seed=protocol.seed, stratum=cohort.fold)
    return {
        name: calibrate_finding(
            prompts_hash(bank.of(name).positive, bank.of(name).negated),
            Scored(fitted[:, k], validation.labels[:, k]),
            Scored(measured[:, k], test.labels[:, k]),
            weights,
            protocol.level,
        )
        for k, name in enumerate(labels)
    }


def calibrate_finding(
    prompts: str, validation: Scored, test: Scored, weights: FloatArray, level: float = 0.95
) -> FindingCalibration:
    """One finding's line, or why there is none: too few films, or scores that order them the wrong way.

    Args:
        prompts: hash of the sentences that the scores were made with.
        validation: what the line is fitted on.
        test: what it is measured on.
        weights: ``[draws, n]`` of the test films, of the bootstrap by patient.
        level: of the intervals.
    """
    films, positives = validation.films, validation.positives
    found = FindingCalibration(prompts=prompts, films=films, positives=positives)
    if min(positives, films - positives) < FEWEST:
        few = f"{positives} of {films} validation films have it, {FEWEST} with and {FEWEST} without it are needed"
        return found.model_copy(update={"refused": few})
    scaling = fit_platt(validation.scores, validation.labels)
    if scaling.slope <= 0:
        wrong = "validation films that have it score no higher than films that do not"
        return found.model_copy(update={"refused": wrong})
    measured = _held_out(scaling, found.prevalence, test, weights, level) if test.films else None
    return found.model_copy(update={"scaling": scaling, "test": measured})


def _held_out(scaling: Scaling, prevalence: float, test: Scored, weights: FloatArray, level: float) -> HeldOut:
    before, after = (line.probabilities(test.scores) for line in (_AS_LOG_ODDS, scaling))
    constant = np.full(len(test.scores), prevalence)

    def estimate(metric: Callable[[FloatArray | None], FloatArray]) -> Estimate:
        found = percentile_interval(metric(None).item(), metric(weights), level)
        return Estimate(value=found.estimate, low=found.low, high=found.high)

    def ece(probabilities: FloatArray) -> Estimate:
        return estimate(lambda drawn: equal_mass_error(probabilities, test.labels, drawn))

    def squares(probabilities: FloatArray) -> Estimate:
        return estimate(lambda drawn: brier(probabilities, test.labels, drawn))

    return HeldOut(
        films=test.films,
        positives=test.positives,
        ece_before=ece(before),
        ece_after=ece(after),
        brier_before=squares(before),
        brier_after=squares(after),
        brier_prevalence=squares(constant),
    )


def calibration_lines(calibration: Calibration) -> list[str]:
    """For people: a Markdown table of the findings, and what was not calibrated."""
    level = f"{calibration.level:.0%}"
    lines = [
        f"Protocol {calibration.protocol}, split {calibration.split_hash[:12]}, fold {calibration.fold}: fitted on "
        f"{calibration.of_films}, measured on the test side; {level} intervals by patient. ECE: in {BINS} bins of "
        "equal mass.",
        "",
        "| finding | validation films (have it) | test films (have it) | ECE before | ECE after | Brier after | "
        "Brier of the prevalence alone |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, one in calibration.findings.items():
        own = f"| {name} | {one.films} ({one.positives}) |"
        if one.test is None:
            lines.append(f"{own} – | | | | |")
            continue
        figures = (one.test.ece_before, one.test.ece_after, one.test.brier_after, one.test.brier_prevalence)
        shown = " | ".join(f"{each.value:.3f} [{each.low:.3f}, {each.high:.3f}]" for each in figures)
        lines.append(f"{own} {one.test.films} ({one.test.positives}) | {shown} |")
    refused = [f"Not calibrated: {name}: {one.refused}." for name, one in calibration.findings.items() if one.refused]
    return [*lines, "", *refused]
