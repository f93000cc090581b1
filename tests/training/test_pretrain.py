"""Runs of real methods on a small store, from recipe to run folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from typer.testing import CliRunner

import crossray
from crossray.cli.main import app
from crossray.data.pairs import PairDataset, to_pair_batch
from crossray.data.sampling import BatchRequest, GlobalBatchSampler
from crossray.data.store import Store
from crossray.encoders.bert import resolve_text_encoder
from crossray.encoders.tokenizer import ReportTokenizer
from crossray.errors import CheckpointError, ConfigError, DataError, FolderInUseError, FolderTakenError
from crossray.evaluation.validator import RetrievalValidator
from crossray.files import sha256_of
from crossray.inference.joint_model import JointModel
from crossray.methods.base import Method, SingleProcess
from crossray.methods.build import build_method
from crossray.tensor_file import read_tensors, write_tensors
from crossray.training.config import RuntimeConfig, TrainingConfig
from crossray.training.distributed import start_fabric
from crossray.training.logs import METRICS_FILE
from crossray.training.pretrain import _build_parts, _open_data, pretrain
from crossray.training.recipe import Recipe, load_recipe, recipe_text
from crossray.training.run_folder import config_differences
from crossray.training.session import TrainingParts
from crossray.training.step import backward_step
from crossray.training.validation import Batches
from tests.ownership import another_owner, take_over
from tests.training.fakes import fake_fit, figures_of
from tests.training.stores import phantom_store, small_recipe

VIT = {"name": "test_vit", "trunk_options": {"img_size": 48}, "local_stage": -1}
FROZEN_CNN = {"name": "test_efficientnet", "batch_norm": "frozen"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    phantom_store(folder)
    return folder


@pytest.fixture(scope="module")
def finished(prepared: Path) -> Path:
    run = prepared / "run"
    pretrain(small_recipe(prepared), run, validator=RetrievalValidator())
    return run


def test_a_run_folder_is_complete_and_sealed(finished: Path, prepared: Path) -> None:
    manifest = json.loads((finished / "manifest.json").read_text())
    assert (manifest["kind"], manifest["outcome"]) == ("run", "finished")
    assert manifest["made_from"]["store"] == Store.open(prepared / "store").hash
    assert {"config.yaml", "metrics.jsonl", "checkpoints/best.safetensors"} <= manifest["files"].keys()
    assert all(sha256_of(finished / name) == entry["sha256"] for name, entry in manifest["files"].items())
    (sitting,) = manifest["sittings"]
    assert sitting["code"].startswith(f"{crossray.__version__}+")
    assert sitting["versions"]["torch"] == version("torch")
    assert (sitting["threads"], sitting["processes"]) == (torch.get_num_threads(), 1)
    assert load_recipe(finished / "config.yaml").text_encoder.intermediate is not None
    assert len(figures_of(finished, "validation", "recall_mean")) == 2


def test_inference_loads_the_run(finished: Path, prepared: Path) -> None:
    model = JointModel.load(finished)
    best = read_tensors(finished / "checkpoints" / "best.safetensors")[0]
    assert all(torch.equal(value, best[name]) for name, value in model.method.state_dict().items())
    assert model.embed_images(Store.open(prepared / "store").pixels([0, 1])).pooled.shape[0] == 2


def test_the_same_recipe_again_does_nothing_and_another_one_is_refused(finished: Path, prepared: Path) -> None:
    before = sha256_of(finished / "checkpoints" / "state.safetensors")
    summary = pretrain(small_recipe(prepared, runtime={"log_every_steps": 7}), finished, validator=RetrievalValidator())
    assert summary.outcome == "finished"
    assert sha256_of(finished / "checkpoints" / "state.safetensors") == before
    other = small_recipe(prepared, training={"epochs": 3, "seed": 5})
    with pytest.raises(ConfigError, match=r"training\.epochs \(2 before, 3 now\); training\.seed \(0 before, 5 now\)"):
        pretrain(other, finished)


def test_a_key_that_a_run_is_too_old_for_changes_nothing_at_its_default(
    finished: Path, prepared: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    lines = config.read_text(encoding="utf-8").splitlines(keepends=True)
    config.write_text("".join(line for line in lines if "remember_frozen" not in line), encoding="utf-8")
    encoder = resolve_text_encoder(small_recipe(prepared).text_encoder)
    recipe = small_recipe(prepared).model_copy(update={"text_encoder": encoder})
    assert config_differences(tmp_path / "run", recipe) == []
    chosen = recipe.model_copy(update={"text_encoder": encoder.model_copy(update={"remember_frozen": True})})
    assert config_differences(tmp_path / "run", chosen) == ["text_encoder.remember_frozen (not set before, True now)"]


def test_a_run_does_not_go_on_with_other_data(finished: Path, prepared: Path, tmp_path: Path) -> None:
    phantom_store(tmp_path, studies=20)
    shutil.copytree(finished, tmp_path / "run")
    recipe = small_recipe(prepared)
    moved = recipe.model_copy(update={"data": recipe.data.model_copy(update={"store": str(tmp_path / "store")})})
    with pytest.raises(CheckpointError, match="another configuration, split or store"):
        pretrain(moved, tmp_path / "run", validator=RetrievalValidator())


def test_a_folder_that_is_no_run_is_not_written_into(prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(CheckpointError, match="not empty and holds no run"):
        pretrain(small_recipe(prepared), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_run_that_another_process_trains_is_left_to_it(prepared: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with another_owner(run) as other, pytest.raises(FolderInUseError, match=f"in use by process {other.pid} on host"):
        pretrain(small_recipe(prepared), run)
    assert [path.name for path in run.iterdir()] == ["theirs.txt"]


def test_who_wakes_when_the_run_was_taken_over_writes_neither_log_nor_checkpoint(
    prepared: Path, tmp_path: Path
) -> None:
    run, asleep = tmp_path / "run", []

    class Frozen(RetrievalValidator):
        def __call__(self, method: Method, batches: Batches) -> Mapping[str, float]:
            take_over(run)
            asleep.append({path: path.read_bytes() for path in run.rglob("*") if path.is_file()})
            return super().__call__(method, batches)

    with pytest.raises(FolderTakenError, match="This one has written nothing since"):
        pretrain(small_recipe(prepared), run, validator=Frozen())
    assert asleep == [{path: path.read_bytes() for path in run.rglob("*") if path.is_file()}]
    assert run / METRICS_FILE in asleep[0]


def test_a_run_starts_from_the_weights_and_tokenizer_of_another(finished: Path, prepared: Path, tmp_path: Path) -> None:
    recipe = small_recipe(prepared, training={"initial_weights": str(finished), "optimizer": {"learning_rate": 1e-12}})
    pretrain(recipe, tmp_path / "second")
    started = read_tensors(finished / "checkpoints" / "best.safetensors")[0]
    ended = read_tensors(tmp_path / "second" / "checkpoints" / "last.safetensors")[0]
    assert all(torch.allclose(ended[name].double(), value.double(), atol=1e-7) for name, value in started.items())
    assert sha256_of(tmp_path / "second" / "tokenizer" / "tokenizer.json") == sha256_of(
        finished / "tokenizer" / "tokenizer.json"
    )


def test_a_vit_begins_from_one_that_was_trained_on_smaller_films(prepared: Path, tmp_path: Path) -> None:
    def parts(size: int, source: Path | None) -> Any:
        recipe = small_recipe(
            prepared,
            image={"size": 48},
            image_encoder=VIT | {"trunk_options": {"img_size": size}},
            training={"initial_weights": None if source is None else str(source)},
        )
        data = _open_data(recipe, check=False)
        tokenizer = ReportTokenizer.learn([data.store.report(row).text for row in range(8)], 300, max_tokens=40)
        return _build_parts(recipe, data, tokenizer).method

    small = parts(32, None)
    write_tensors(tmp_path / "small.safetensors", small.state_dict(), {})
    large = parts(48, tmp_path / "small.safetensors")
    table = large.image_encoder.trunk.pos_embed
    assert torch.equal(table, resample_abs_pos_embed(small.image_encoder.trunk.pos_embed, [3, 3]))
    same = small.state_dict()
    assert all(torch.equal(value, same[name]) for name, value in large.state_dict().items() if "pos_embed" not in name)


def test_sentences_move_in_training_and_validation_and_inference_read_them_as_written(
    prepared: Path, tmp_path: Path
) -> None:
    moving = small_recipe(
        prepared, training={"epochs": 1, "sentence_order": "shuffle"}, text_encoder={"truncation": "sentences"}
    )
    seen: dict[str, list[torch.Tensor]] = {}
    for order in ("shuffle", "original"):
        recipe = moving.model_copy(update={"training": moving.training.model_copy(update={"sentence_order": order})})
        data = _open_data(recipe, check=True)
        tokenizer = ReportTokenizer.learn([data.store.report(row).text for row in range(8)], 300, max_tokens=40)
        parts = _build_parts(recipe, data, tokenizer)
        seen[order] = [
            pairs[BatchRequest(0, np.arange(len(pairs)), slice(None))].tokens.input_ids
            for pairs in (parts.training, parts.validation)
        ]
    assert not torch.equal(seen["shuffle"][0], seen["original"][0])
    assert torch.equal(seen["shuffle"][1], seen["original"][1])
    pretrain(moving, tmp_path / "run")
    assert JointModel.load(tmp_path / "run").tokenizer.truncation == "sentences"


def test_a_patient_on_two_sides_is_refused(prepared: Path, tmp_path: Path) -> None:
    store = Store.open(prepared / "store")
    several = next(p for p in store.patient_ids if store.patient_ids.count(p) > 1)
    own = [study for study, patient in zip(store.study_ids, store.patient_ids, strict=True) if patient == several]
    lines = [f"{study},{'validation' if study == own[0] else 'train'}" for study in store.study_ids]
    (tmp_path / "split.csv").write_text("study_id,split\n" + "\n".join(lines))
    recipe = small_recipe(prepared, data={"split": str(tmp_path / "split.csv"), "fold": "fixed"})
    with pytest.raises(DataError, match=f"patient '{several}'"):
        pretrain(recipe, tmp_path / "run")


def test_the_command_trains_and_explains_mistakes_without_a_trace(prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(recipe_text(small_recipe(prepared)))
    arguments = ["pretrain", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run"), "training.epochs=1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "finished after 1 epochs" in result.output
    wrong = CliRunner().invoke(app, [*arguments, "training.epoch=1"])
    assert isinstance(wrong.exception, ConfigError)
    assert "Did you mean 'training.epochs'?" in str(wrong.exception)


@pytest.mark.slow
def test_sigterm_ends_the_command_with_143_and_the_same_command_goes_on(prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(recipe_text(small_recipe(prepared, training={"epochs": 40})))
    command = [sys.executable, "-c", "from crossray.cli.main import main; main()"]
    command += ["pretrain", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    metrics = tmp_path / "run" / "metrics.jsonl"
    while process.poll() is None and not (metrics.is_file() and metrics.read_text().count("\n") > 3):
        time.sleep(0.05)
    process.terminate()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 143
    assert "The same command goes on from there" in output
    steps = len(figures_of(tmp_path / "run", "train"))
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    losses = figures_of(tmp_path / "run", "train")
    assert len(losses) > steps
    assert len(losses) == 40 * (len(losses) // 40)


# Gradient caching against the one big batch, for the real methods (the distributed half: test_equivalence.py).


def real_parts(recipe: Recipe, prepared: Path) -> TrainingParts:
    store = Store.open(prepared / "store")
    texts = [store.report(row).text for row in range(len(store))]
    tokenizer = ReportTokenizer.learn(texts, 300, max_tokens=40)
    torch.manual_seed(0)
    method = build_method(recipe.image_encoder, recipe.text_encoder, recipe.method, tokenizer)
    pairs = [PairDataset(store, ids, tokenizer, recipe.text) for ids in (store.study_ids[:16], store.study_ids[16:])]
    return TrainingParts(method.double().train(), pairs[0], pairs[1], recipe.image)


def gradients(method: Method, parts: TrainingParts, config: TrainingConfig) -> dict[str, torch.Tensor]:
    raw = parts.training[next(iter(GlobalBatchSampler(16, 8, training=True)))]
    batch = to_pair_batch(raw, parts.image, torch.device("cpu"), seed=0, dtype=torch.float64)
    method.zero_grad(set_to_none=True)
    fabric = start_fabric(RuntimeConfig(accelerator="cpu"), "64-true")
    backward_step(fabric, method, batch, SingleProcess(), config)
    return {name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("trunk", "method"),
    [
        pytest.param(VIT, "global_local", id="vit-global_local"),
        pytest.param(FROZEN_CNN, "convirt", id="frozen_batch_norm-convirt"),
        pytest.param(VIT, "convirt", id="vit-convirt", marks=pytest.mark.slow),
        pytest.param(FROZEN_CNN, "global_local", id="frozen_batch_norm-global_local", marks=pytest.mark.slow),
    ],
)
def test_caching_equals_one_batch_for_real_methods(
    prepared: Path, tmp_path: Path, trunk: dict[str, Any], method: str
) -> None:
    recipe = small_recipe(prepared, image_encoder=trunk, text_encoder={"dropout": 0.0})
    recipe = Recipe.model_validate({**recipe.model_dump(), "method": {"name": method}})
    whole = TrainingConfig.model_validate(
        {
            "epochs": 10,
            "validate_every_epochs": 10,
            "batch_size": 8,
            "precision": "64-true",
            "optimizer": {"name": "sgd", "learning_rate": 1e-3},
            "schedule": {"name": "constant"},
        }
    )
    cached = whole.model_copy(update={"accumulation": "cached", "micro_batch": 3})
    parts = real_parts(recipe, prepared)
    one, two = (gradients(parts.method, parts, config) for config in (whole, cached))
    assert one.keys() == two.keys()
    largest = max(value.norm() for value in one.values())
    for name, value in one.items():
        assert (two[name] - value).norm() <= 1e-5 * value.norm() + 1e-12 * largest, name
    fake_fit(tmp_path / "whole", whole, real_parts(recipe, prepared))
    fake_fit(tmp_path / "cached", cached, real_parts(recipe, prepared))
    losses = figures_of(tmp_path / "cached", "train")
    assert len(losses) == 20
    # Twenty steps let the gradients' last digits grow, more so in older releases of torch.
    assert losses == pytest.approx(figures_of(tmp_path / "whole", "train"), rel=1e-4)
