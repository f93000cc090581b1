"""``crossray calibrate``: the line that is fitted, when there is none, and who uses it."""

from __future__ import annotations

import json
import shutil
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from scipy.special import expit
from typer.testing import CliRunner

import crossray
from crossray.cli.main import app
from crossray.data.split_files import read_split, write_split
from crossray.data.store import Store
from crossray.errors import CheckpointError, ConfigError
from crossray.evaluation import calibrate
from crossray.evaluation.calibrate import Scored, calibrate_finding, calibrate_runs
from crossray.evaluation.intervals import bootstrap_weights
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.prompts import load_prompts
from crossray.evaluation.protocol import EvaluationConfig
from crossray.evaluation.scaling import fit_platt
from crossray.files import write_sealed_json
from crossray.inference.calibration import (
    CALIBRATION_FILE,
    Calibration,
    Calibrator,
    FindingCalibration,
    prompts_hash,
    read_calibration,
)
from crossray.inference.joint_model import JointModel
from crossray.inference.model import ClassScores, PromptPair
from crossray.methods.base import ImageEmbedding
from crossray.methods.global_local import GlobalLocal
from tests.damage import flip_bit

FINDING = "Pleural Effusion"


def films(seed: int, positives: int = 60, negatives: int = 240, gap: float = 0.1) -> Scored:
    """Scores like differences of cosines: small, and those of films with the finding higher by a little."""
    generator = np.random.default_rng(seed)
    labels = np.repeat([1.0, 0.0], [positives, negatives])
    scores = generator.normal(-0.2 + gap * labels, 0.05)
    return Scored(scores, labels)


def draws(side: Scored) -> FloatArray:
    return bootstrap_weights([None] * len(side.labels), draws=50, seed=0)


def calibrated_by(validation: Scored, test: Scored, weights: FloatArray | None = None) -> FindingCalibration:
    return calibrate_finding("hash", validation, test, draws(test) if weights is None else weights)


def test_probabilities_rise_with_the_score_and_are_worth_more_than_the_prevalence() -> None:
    found = calibrated_by(films(0), films(1))
    assert found.scaling is not None
    assert found.test is not None
    assert (found.prevalence, found.test.films, found.test.positives) == (0.2, 300, 60)
    scores = np.sort(films(1).scores)
    assert (np.diff(found.scaling.probabilities(scores)) > 0).all()
    test = found.test
    assert test.ece_after.high < test.ece_before.low
    assert test.brier_after.high < test.brier_prevalence.low < test.brier_before.low
    assert test.brier_prevalence.value == pytest.approx(0.2 * 0.8)
    assert test.ece_after.low <= test.ece_after.value <= test.ece_after.high


@pytest.mark.parametrize(("positives", "negatives"), [(9, 200), (200, 9), (0, 200)])
def test_too_few_films_on_either_side_are_refused_with_their_number(positives: int, negatives: int) -> None:
    found = calibrated_by(films(0, positives, negatives), films(1))
    assert (found.scaling, found.test) == (None, None)
    assert f"{positives} of {positives + negatives} validation films have it" in str(found.refused)
    assert calibrated_by(films(0, 10, 10), films(1)).scaling is not None


def test_a_score_that_orders_validation_the_wrong_way_is_not_turned_round() -> None:
    found = calibrated_by(films(0, gap=-0.1), films(1))
    assert found.scaling is None
    assert "no higher than films that do not" in str(found.refused)


def test_films_of_unknown_label_are_not_counted() -> None:
    known, more = films(0), films(2)
    unknown = Scored(
        np.concatenate([known.scores, more.scores]),
        np.concatenate([known.labels, np.full(len(more.labels), np.nan)]),
    )
    weights = np.concatenate([draws(known), draws(more)], axis=1)
    assert calibrated_by(unknown, unknown, weights) == calibrated_by(known, known)


@dataclass(frozen=True)
class Calibrated:
    """A calibrated run, the sentences that order its validation side, and the calibration with their opposite."""

    run: Path
    prompts: PromptPair
    opposite: Calibration


@pytest.fixture(scope="module")
def calibrated(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Calibrated:
    """The first fold's run on the few films that there are; it has hardly learned which sentence states the finding."""
    folder = tmp_path_factory.mktemp("calibrated")
    run, own = shutil.copytree(trained / "runs" / "fold0", folder / "run"), load_prompts().of(FINDING)
    found: list[tuple[bool, PromptPair, Calibration]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrate, "FEWEST", 2)
        for positive, negated in ((own.positive, own.negated), (own.negated, own.positive)):
            bank = folder / f"bank{len(found)}.yaml"
            content = {"id": "own", "classes": {FINDING: {"positive": list(positive), "negated": list(negated)}}}
            bank.write_text(yaml.safe_dump(content))
            made = calibrate_runs([run], bank=str(bank))[run]
            found.append((made.findings[FINDING].scaling is None, PromptPair(positive, negated), made))
    (_, prompts, used), (_, _, opposite) = sorted(found, key=lambda one: one[0])
    write_sealed_json(run / CALIBRATION_FILE, used.model_dump(mode="json"))
    return Calibrated(run, prompts, opposite)


def classified(run: Path, trained: Path, side: str, prompts: PromptPair) -> tuple[ClassScores, FloatArray]:
    """What ``Model.classify`` says of the films of a side, and whether they have the finding."""
    store, fold = Store.open(trained / "store"), read_split(trained / "split.json").fold("0")
    rows = [store.index_of(study) for study in getattr(fold, side)]
    shown = crossray.load(run).classify(list(store.pixels(rows)), {FINDING: prompts, "Edema": ["There is edema."]})
    return shown, store.labels[rows, store.label_names.index(FINDING)].astype(np.float64)


def test_the_line_is_the_one_of_the_scores_that_a_user_gets(calibrated: Calibrated, trained: Path) -> None:
    found = read_calibration(calibrated.run)
    assert found is not None
    assert (found.fold, found.films, found.protocol, found.views) == ("0", 8, "drawn", ("frontal",))
    assert found.split_hash == read_split(trained / "split.json").hash
    scores, labels = classified(calibrated.run, trained, "validation", calibrated.prompts)
    one, line = found.findings[FINDING], fit_platt(scores[FINDING].astype(np.float64), labels)
    assert (one.films, one.positives) == (8, int(labels.sum()))
    assert one.scaling is not None
    assert (one.scaling.slope, one.scaling.offset) == pytest.approx((line.slope, line.offset), rel=1e-2)
    wanted = expit(line.slope * scores[FINDING] + line.offset)
    np.testing.assert_allclose(scores.probabilities[FINDING], wanted, atol=1e-3)
    assert (
        "a probability, calibrated on 8 frontal validation films of drawn (5 of 8 have it)" in scores.meaning[FINDING]
    )
    assert "Edema" not in scores.probabilities
    assert "have no label of it" in scores.meaning["Edema"]


def test_sentences_that_say_the_opposite_get_no_line(calibrated: Calibrated) -> None:
    assert calibrated.opposite.findings[FINDING].scaling is None
    assert "no higher than films that do not" in str(calibrated.opposite.findings[FINDING].refused)


def test_other_weights_and_other_sentences_have_no_probability(
    calibrated: Calibrated, trained: Path, tmp_path: Path
) -> None:
    run, own = shutil.copytree(calibrated.run, tmp_path / "run"), calibrated.prompts
    shortened = Calibrator.of_run(run).scale(FINDING, own.positive[1:], own.negated)
    assert shortened.fitted is None
    assert "other sentences (bank own)" in shortened.meaning
    found = read_calibration(run)
    assert found is not None
    content = found.model_copy(update={"weights": "0" * 64}).model_dump(mode="json")
    write_sealed_json(run / CALIBRATION_FILE, content)
    scores, _ = classified(run, trained, "test", own)
    assert scores.probabilities == {}
    assert "is of other weights; call crossray calibrate again" in scores.meaning[FINDING]
    (run / CALIBRATION_FILE).unlink()
    assert "crossray calibrate was not called" in classified(run, trained, "test", own)[0].meaning[FINDING]


def _says_the_same(file: Path, whole: bytes) -> bool:
    try:
        return bool(json.loads(file.read_bytes()) == json.loads(whole))
    except ValueError:
        return False


def test_an_altered_calibration_is_refused(calibrated: Calibrated, tmp_path: Path) -> None:
    whole = (calibrated.run / CALIBRATION_FILE).read_bytes()
    for seed in range(25):
        (tmp_path / CALIBRATION_FILE).write_bytes(whole)
        flip_bit(tmp_path / CALIBRATION_FILE, seed)
        if _says_the_same(tmp_path / CALIBRATION_FILE, whole):  # such as the last digit of a float, or the e of 1e-05
            continue
        with pytest.raises(CheckpointError, match=r"calibration\.json.*crossray calibrate"):
            read_calibration(tmp_path)
    write_sealed_json(tmp_path / CALIBRATION_FILE, {"format_version": 99})
    with pytest.raises(CheckpointError, match="format version 99"):
        read_calibration(tmp_path)


def test_neither_regions_nor_draws_of_validation_are_kept(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(trained / "runs" / "fold0", tmp_path / "run")
    embed, held, most = JointModel.embed_images, list[weakref.ref[torch.Tensor]](), 0
    drawn: list[int] = []

    def embedded(self: JointModel, pixels: NDArray[np.uint8], *given: Any) -> ImageEmbedding:
        nonlocal most
        found = embed(self, pixels, *given)
        held.append(weakref.ref(found.regions))
        most = max(most, sum(one() is not None for one in held))
        return found

    def weights(patients: Sequence[str | None], **options: Any) -> FloatArray:
        drawn.append(len(patients))
        return bootstrap_weights(patients, **options)

    monkeypatch.setattr(JointModel, "embed_images", embedded)
    monkeypatch.setattr(calibrate, "bootstrap_weights", weights)
    monkeypatch.setattr(calibrate, "EvaluationConfig", partial(EvaluationConfig, batch_size=2))
    calibrate_runs([run])
    fold = read_split(trained / "split.json").fold("0")
    assert len(held) == (len(fold.validation) + len(fold.test)) / 2
    assert most == 1
    assert drawn == [len(fold.test)]


def test_the_command_calibrates_every_fold_and_says_what_it_could_not(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "runs", tmp_path / "runs")
    said = CliRunner().invoke(app, ["calibrate", str(tmp_path / "runs")])
    assert said.exit_code == 0, said.output
    for fold in ("0", "1"):
        assert (tmp_path / "runs" / f"fold{fold}" / CALIBRATION_FILE).is_file()
        assert f"fold {fold}: fitted on 8 frontal validation films of drawn" in said.output
    few = "of 8 validation films have it, 10 with and 10 without it are needed."
    for finding in (FINDING, "No Finding", "Fracture"):
        refused = [line for line in said.output.splitlines() if line.startswith(f"Not calibrated: {finding}: ")]
        assert [line.endswith(few) for line in refused] == [True, True]


def test_a_bank_without_the_stores_labels_and_another_split_are_refused(trained: Path, tmp_path: Path) -> None:
    bank = tmp_path / "bank.yaml"
    bank.write_text('id: own\nclasses: {Scoliosis: {positive: ["The spine is curved."]}}\n')
    with pytest.raises(ConfigError, match="'own' has no class that the store labels: No Finding, Pleural"):
        calibrate_runs([trained / "runs"], bank=str(bank))
    write_split(replace(read_split(trained / "split.json"), protocol="other"), tmp_path / "split.json")
    with pytest.raises(CheckpointError, match="another split"):
        calibrate_runs([trained / "runs"], split=str(tmp_path / "split.json"))


def test_a_run_that_reads_no_reports_has_no_scores_to_calibrate(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(trained / "runs" / "fold0", tmp_path / "run")
    monkeypatch.setattr(GlobalLocal, "reads_reports", False)
    with pytest.raises(CheckpointError, match="global_local reads no reports: it has no zero-shot scores"):
        calibrate_runs([run])
    assert not (run / CALIBRATION_FILE).exists()


def test_the_hash_of_prompts_knows_on_which_side_a_sentence_stands() -> None:
    assert prompts_hash(["a"], ["b"]) == prompts_hash(("a",), ("b",))
    assert len({prompts_hash(["a"], ["b"]), prompts_hash(["b"], ["a"]), prompts_hash(["a", "b"], [])}) == 3
