"""Every method, on a CNN and on a ViT: a run that is stopped and taken up again ends as one that was left alone."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from crossray.inference.joint_model import JointModel
from crossray.methods.base import Method
from crossray.tensor_file import read_tensors
from crossray.training.pretrain import pretrain
from crossray.training.recipe import Recipe

from ..training.stores import phantom_store, small_recipe
from .prior_model import SMALL

TRUNKS: dict[str, dict[str, Any]] = {
    "cnn": {"name": "test_efficientnet", "batch_norm": "local"},
    "vit": {"name": "test_vit", "trunk_options": {"img_size": 48}},
}
PRIOR_STAGES = [{"name": name, "epochs": 1} for name in ("align", "prototypes", "reconstruct")]
METHODS: dict[str, dict[str, Any]] = {
    "convirt": {"method": {"embed_dim": 16}},
    "global_local": {"method": {}},
    "clip": {"method": {"embed_dim": 16}},
    "siglip": {"method": {"embed_dim": 16}},
    "mgca": {"method": {"hidden_dim": 16, "embed_dim": 16, "prototypes": 8}, "text_encoder": {"class_attention": True}},
    "simclr": {"method": {}},
    "supervised": {"method": {}},
    "joimternet": {"method": {"embed_dim": 16}},
    "lovt": {"method": {"hidden_dim": 32, "embed_dim": 16}, "text_encoder": {"sentence_pooling": "max"}},
    "prior": {"method": SMALL, "training": {"stages": PRIOR_STAGES}},
}


def recipe(folder: Path, name: str, trunk: str) -> Recipe:
    """Two epochs of two steps (PRIOR: three stages of one epoch), with dropout and moments to be restored."""
    changes = METHODS[name]
    content = small_recipe(
        folder, image_encoder=TRUNKS[trunk], text_encoder=changes.get("text_encoder", {})
    ).model_dump(mode="json", exclude_unset=True)
    training = {**content["training"], **changes.get("training", {})}
    if "stages" in training:
        del training["epochs"]
    return Recipe.model_validate({**content, "training": training, "method": {"name": name, **changes["method"]}})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    phantom_store(folder, studies=12)
    return folder


@pytest.mark.parametrize("trunk", list(TRUNKS))
@pytest.mark.parametrize("name", list(METHODS))
def test_a_stopped_run_ends_bit_equal_and_can_be_loaded(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, trunk: str
) -> None:
    run = recipe(store, name, trunk)
    whole = pretrain(run, tmp_path / "whole")
    kind = type(JointModel.load(tmp_path / "whole").method)
    own_hook, seen = kind.before_step, []

    def stop_at_the_third(method: Method, epoch: int) -> None:
        own_hook(method, epoch)
        seen.append(epoch)
        if len(seen) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(kind, "before_step", stop_at_the_third)
    assert pretrain(run, tmp_path / "stopped").outcome == "interrupted"
    monkeypatch.undo()
    again = pretrain(run, tmp_path / "stopped")
    assert (again.outcome, again.steps) == ("finished", whole.steps)
    for weights in ("best", "last"):
        left_alone, resumed = (
            read_tensors(tmp_path / folder / "checkpoints" / f"{weights}.safetensors")[0]
            for folder in ("whole", "stopped")
        )
        assert left_alone.keys() == resumed.keys()
        assert all(torch.equal(resumed[key], value) for key, value in left_alone.items())
