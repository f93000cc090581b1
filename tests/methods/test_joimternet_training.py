"""A whole run: matching and language modelling in turn, stopped in the middle and taken up again."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from crossray.inference.joint_model import JointModel
from crossray.methods.joimternet.config import JoImTeRNetConfig
from crossray.methods.joimternet.method import JoImTeRNet
from crossray.tensor_file import read_tensors
from crossray.training.clipping import clip_gradients
from crossray.training.config import TrainingConfig
from crossray.training.distributed import start_fabric
from crossray.training.optimizers import build_optimizer
from crossray.training.pretrain import pretrain
from crossray.training.recipe import Recipe
from tests.small_model import small_method
from tests.training.fakes import QUIET
from tests.training.stores import phantom_store, small_recipe


def recipe(folder: Path) -> Recipe:
    content = small_recipe(
        folder,
        image_encoder={"name": "joimternet_reduced", "trunk_options": {"width": 1}, "batch_norm": "local"},
        text_encoder={"tokenizer": "word_level", "report_pooling": "cls", "dropout": 0.1},
    ).model_dump()
    return Recipe.model_validate({**content, "method": {"name": "joimternet", "embed_dim": 16, "phrases": True}})


def language_losses(run: Path) -> list[float]:
    """Of the steps whose turn it was."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [record["loss/masked_language"] for record in records if "loss/masked_language" in record]


def test_a_stopped_run_ends_with_the_weights_of_one_that_was_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phantom_store(tmp_path, studies=16)
    whole = pretrain(recipe(tmp_path), tmp_path / "whole")
    steps = []

    def stop_at_the_third(method: JoImTeRNet) -> None:
        steps.append(method)
        if len(steps) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(JoImTeRNet, "after_step", stop_at_the_third)
    assert pretrain(recipe(tmp_path), tmp_path / "stopped").outcome == "interrupted"
    again = pretrain(recipe(tmp_path), tmp_path / "stopped")
    assert (again.outcome, again.steps) == ("finished", whole.steps)
    left_alone, resumed = (
        read_tensors(tmp_path / name / "checkpoints" / "last.safetensors")[0] for name in ("whole", "stopped")
    )
    assert all(torch.equal(resumed[name], value) for name, value in left_alone.items())
    language = language_losses(tmp_path / "stopped")
    assert 0 < len(language) < whole.steps
    assert language == language_losses(tmp_path / "whole")


def test_the_run_says_how_its_reports_are_pooled(tmp_path: Path) -> None:
    """Section 6.1: a model that is loaded pools as it was trained."""
    phantom_store(tmp_path, studies=16)
    run = recipe(tmp_path)
    pretrain(run.model_copy(update={"training": run.training.model_copy(update={"epochs": 1})}), tmp_path / "run")
    model = JointModel.load(tmp_path / "run")
    assert isinstance(model.method, JoImTeRNet)
    assert model.method.text_encoder.config.report_pooling == "cls"
    assert model.tokenizer.special_ids[0] == 0
    assert model.tokenizer.mask_id == model.tokenizer.vocabulary_size - 1


def test_each_side_is_clipped_with_its_projections_as_the_published_encoders_hold_them() -> None:
    method = small_method(JoImTeRNetConfig(embed_dim=16, phrases=True))
    config = TrainingConfig(clip_norm=1.5, clip="by_encoder")
    for parameter in method.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer = build_optimizer(method, config.optimizer)
    clip_gradients(start_fabric(QUIET, config.precision), method, optimizer, config)
    films = ("image_encoder", "global_projection", "region_projection")
    norms = {True: 0.0, False: 0.0}
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None
        norms[name.split(".")[0] in films] += float(parameter.grad.square().sum())
    assert {side: square**0.5 for side, square in norms.items()} == pytest.approx({True: 1.5, False: 1.5}, rel=1e-4)
