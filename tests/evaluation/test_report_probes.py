"""Classification from reports and from film and report: probes, their floors and JoImTeRNet's heads as tasks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from crossray.evaluation.evaluate import EvaluationRequest, evaluate_runs
from crossray.evaluation.floors import RidgeConfig, word_features
from crossray.evaluation.fold_probes import FILM_ALONE, REPORT_ALONE, WORDS, WORDS_AND_TRUNK
from crossray.evaluation.joimternet_heads import HeadPart, JoImTeRNetHeadConfig, train_head
from crossray.evaluation.protocol import EvaluationConfig
from crossray.evaluation.report_probes import HEADS, beside
from crossray.evaluation.results import Results
from crossray.evaluation.suite import ensemble_folds, open_evaluation
from crossray.evaluation.tables import CAVEATS
from crossray.inference.joint_model import JointModel
from crossray.methods.joimternet.heads import Inputs, JoImTeRNetClassifier, image_parts, text_parts
from crossray.methods.joimternet.method import JoImTeRNet
from crossray.settings import build_settings
from crossray.training.pretrain import pretrain
from crossray.training.recipe import load_recipe

SETTINGS = ("protocol.draws=20", "probe.c_grid=[0.01]", "joimternet_head.epochs=2")
TASKS = "text_probe,joint_probe,floors"


def _evaluate(runs: Path, out: Path) -> Results:
    return evaluate_runs(EvaluationRequest((runs,), out, tasks=TASKS, settings=SETTINGS))


@pytest.fixture(scope="module")
def asked(trained: Path) -> Path:
    out = trained / "reports"
    _evaluate(trained / "runs", out)
    return out


@pytest.fixture(scope="module")
def joimternet(trained: Path) -> Path:
    """A run of JoImTeRNet on fold 0."""
    changes = ["method={name: joimternet, embed_dim: 16}", "training.epochs=1"]
    pretrain(load_recipe(trained / "runs" / "fold0" / "config.yaml", changes), trained / "joimternet" / "fold0")
    return trained / "joimternet"


def _models(results: Results, task: str) -> list[tuple[str, str]]:
    rows = results.select(task=task, metric="AUROC", target="Pleural Effusion")
    return [(row.model, row.kind) for row in rows]


def test_both_tasks_have_floors_chance_and_paired_differences(asked: Path) -> None:
    from crossray.evaluation.results import read_results

    results, ours = read_results(asked), "pretrained (global_local)"
    assert _models(results, "text_probe") == [
        ("chance", "chance"),
        (ours, "model"),
        (WORDS.model, "floor"),
        (f"{ours} − {WORDS.model}", "difference"),
    ]
    floors = [FILM_ALONE.model, REPORT_ALONE.model, WORDS_AND_TRUNK.model]
    assert _models(results, "joint_probe") == [
        ("chance", "chance"),
        (ours, "model"),
        *((floor, "floor") for floor in floors),
        *((f"{ours} − {floor}", "difference") for floor in floors),
    ]
    conditions = {"metric": "AUROC", "target": "Pleural Effusion"}
    alone = results.one(task="joint_probe", model=REPORT_ALONE.model, **conditions).value
    assert alone == results.one(task="text_probe", model=ours, **conditions).value
    # "There is no pleural effusion" and "small left pleural effusion" are told apart by any bag of words.
    assert results.one(task="text_probe", model=WORDS.model, **conditions).value == 1.0


def test_the_mean_by_positives_leaves_no_finding_out(asked: Path) -> None:
    from crossray.evaluation.results import read_results

    results = read_results(asked)
    for metric in ("AUROC", "AP"):
        conditions = {"task": "text_probe", "metric": metric, "model": "pretrained (global_local)"}
        mean = results.one(target="mean by positives", **conditions)
        # Of the two labels No Finding is the other.
        effusion = results.one(target="Pleural Effusion", **conditions)
        assert (mean.value, mean.low, mean.high) == (effusion.value, effusion.low, effusion.high)


def test_the_caveat_is_printed_beside_every_table_of_them(asked: Path) -> None:
    written = (asked / "results.md").read_text(encoding="utf-8")
    page = (asked / "report.html").read_text(encoding="utf-8")
    for title in ("Linear probe on the report alone", "Linear probe on film and report"):
        tables = written.count(f"## {title}: ")
        assert tables == 5, "AUROC, ECE, Brier, AP and pooled AUROC"
        for part in written.split(f"## {title}: ")[1:]:
            assert part.splitlines()[2] == f"*{CAVEATS['text_probe']}*"
        assert f"<h3>{title}: area under the ROC curve</h3>" in page
    assert page.count("Read with care.") == 2
    assert page.count("a bag of words does almost as well") == 10


def test_words_know_the_vocabulary_of_training_only() -> None:
    train, test = word_features(
        ["small left effusion", "small right effusion", "no effusion"], [["small tube"]], RidgeConfig()
    )
    assert train.shape == (3, 2)
    assert test.shape == (1, 2)
    assert (test > 0).sum() == 1, "only 'small' is known: 'effusion' is not in it, 'tube' was seen never"
    assert word_features(["a b", "a c"], [], RidgeConfig(min_document_frequency=1), most=1)[0].shape == (2, 1)


def test_film_and_report_stand_side_by_side() -> None:
    films, reports = ([np.full((2, width), value, np.float32)] for width, value in ((3, 1), (2, 5)))
    np.testing.assert_array_equal(beside(films, reports)[0], [[1, 1, 1, 5, 5]] * 2)


def test_members_of_an_ensemble_are_averaged_and_so_are_their_parts(trained: Path, tmp_path: Path) -> None:
    changes = {"probe": {"c_grid": [0.01]}, "tasks": ["text_probe", "joint_probe", "floors"]}
    member = open_evaluation([trained / "runs"], build_settings(EvaluationConfig, changes))
    fold = ensemble_folds([member, member], tmp_path)[0]
    alone = member.folds(tmp_path)[0]
    for task in ("text_probe", "joint_probe"):
        ours, theirs = getattr(fold, task)(), getattr(alone, task)()
        np.testing.assert_allclose(ours[fold.pretrained]["scores"], theirs[alone.pretrained]["scores"])
        for who in (key for key in theirs if key.kind == "floor"):
            np.testing.assert_allclose(ours[who]["scores"], theirs[who]["scores"])


@pytest.mark.parametrize("inputs", ["image", "text", "both"])
def test_a_head_on_kept_parts_is_the_frozen_classifier(joimternet: Path, trained: Path, inputs: Inputs) -> None:
    from crossray.data.augment import evaluation_view
    from crossray.data.store import Store

    joint, store = JointModel.load(joimternet / "fold0"), Store.open(trained / "store")
    assert isinstance(joint.method, JoImTeRNet)
    classifier = JoImTeRNetClassifier(joint.method, 2, inputs, freeze=True).eval()
    pixels = store.pixels([0, 1, 2])
    tokens = next(joint.tokens([store.report(row).text for row in range(3)]))
    with torch.no_grad():
        whole = classifier(evaluation_view(torch.from_numpy(pixels), joint.image_config), tokens)
        parts = [*image_parts(joint.embed_images(pixels)), *text_parts(joint.method, tokens)]
        kept = classifier.head(parts[{"image": slice(0, 2), "text": slice(2, 4), "both": slice(0, 4)}[inputs]])
    torch.testing.assert_close(kept, whole, atol=1e-5, rtol=1e-5)


def test_a_run_of_joimternet_shows_its_own_heads_beside_the_probes(joimternet: Path, tmp_path: Path) -> None:
    results = _evaluate(joimternet, tmp_path)
    tasks: dict[str, list[Inputs]] = {"text_probe": ["text"], "joint_probe": ["both", "image"]}
    for task, reads in tasks.items():
        rows = results.select(task=task, metric="AUROC", target="Pleural Effusion", kind="variant")
        assert [row.variant for row in rows] == [HEADS[read] for read in reads]
        assert all(row.value is not None and row.low is not None for row in rows)
    assert not [row for row in results.rows if row.kind == "difference" and row.variant]


def _toy(seed: int, studies: int = 60) -> HeadPart:
    """Studies whose report vector tells the first label, and whose film vector tells the second."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, (studies, 2)).astype(np.float64)
    parts = 0.1 * generator.normal(size=(studies, 4, 6))
    parts[:, 2, 0] += 2 * labels[:, 0] - 1
    parts[:, 0, 0] += 2 * labels[:, 1] - 1
    return HeadPart(torch.from_numpy(parts).float(), labels)


def test_a_head_learns_from_what_it_reads_alone_and_the_same_seed_gives_the_same_scores() -> None:
    train, validation, test = _toy(0), _toy(1), _toy(2)
    config = JoImTeRNetHeadConfig(epochs=12, learning_rate=3e-3)
    apart: dict[Inputs, list[float]] = {}
    inputs: tuple[Inputs, ...] = ("image", "text", "both")
    for read in inputs:
        found = train_head(train, validation, test, read, config)
        right = (found.test_scores > np.median(found.test_scores, axis=0)) == (test.labels > 0.5)
        apart[read] = right.mean(axis=0).tolist()
        assert len(found.validation_auc) == 12
        assert found.validation_auc[found.best_epoch - 1] == max(found.validation_auc)
    assert apart["text"][0] > 0.9 > apart["text"][1]
    assert apart["image"][1] > 0.9 > apart["image"][0]
    assert min(apart["both"]) > 0.9
    state = torch.random.get_rng_state()
    again = train_head(train, validation, test, "both", config)
    np.testing.assert_array_equal(again.test_scores, found.test_scores)
    assert torch.equal(state, torch.random.get_rng_state()), "the caller's random state is left alone"
