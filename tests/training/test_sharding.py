"""Weights shared out among two processes: what each has, and that a run ends as one process with all of them ends."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.version import Version
from pydantic import TypeAdapter
from torch import Tensor

from crossray.encoders.image import ImageEncoderConfig
from crossray.encoders.text import TextEncoderConfig
from crossray.errors import ConfigError
from crossray.methods.base import Gather, LossTerms, Method, PairFeatures
from crossray.methods.build import MethodConfig
from crossray.settings import build_settings
from crossray.tensor_file import read_tensors
from crossray.training.config import TrainingConfig
from crossray.training.distributed import start_fabric
from crossray.training.optimizers import build_optimizer, parameter_groups
from crossray.training.session import RunSummary, TrainingParts
from crossray.training.sharding import is_shared_out, own_part
from crossray.training.validation import Batches
from tests.small_model import IMAGE, TEXT, VIT, small_method
from tests.training.fakes import QUIET, fake_fit, fake_parts, figures_of
from tests.training.processes import run_together

STOP_AT = 5  # of eight steps
QUIET_TEXT = TEXT.model_copy(update={"dropout": 0.0, "class_attention": False})
PLAIN: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 8,
    "precision": "64-true",
    "optimizer": {"learning_rate": 1e-2, "text_encoder_learning_rate": 5e-3, "weight_decay": 0.1},
    "clip_norm": 0.5,
    "clip": "by_encoder",
    "ema_decay": 0.9,
    "selection": {"metric": "cosine", "goal": "max"},
}


@dataclass(frozen=True)
class Case:
    """What is trained, and how."""

    method: str
    image: ImageEncoderConfig
    text: TextEncoderConfig
    training: dict[str, Any]


CASES = {
    "vit": Case("clip", VIT.model_copy(update={"resize_to": 32}), QUIET_TEXT, {}),
    "resnet, cached, frozen layer": Case(
        "convirt",
        IMAGE.model_copy(update={"batch_norm": "frozen"}),
        QUIET_TEXT.model_copy(update={"freeze_embeddings": True, "frozen_layers": 1, "remember_frozen": True}),
        {"accumulation": "cached", "micro_batch": 3, "clip": "joint"},
    ),
    "attention read from outside": Case(
        "siglip",
        VIT.model_copy(update={"resize_to": 32, "class_attention": True}),
        QUIET_TEXT.model_copy(update={"class_attention": True}),
        {"optimizer": {"name": "sgd", "learning_rate": 1e-2, "momentum": 0.9}},
    ),
}


#: Which weights are to be shared out; the last block is not where its attention is read, nor what is remembered.
BLOCKS = {
    "vit": ("image_encoder.trunk.blocks.", "text_encoder.bert.encoder.layer."),
    "resnet, cached, frozen layer": ("image_encoder.trunk.layer", "text_encoder.bert.encoder.layer.1."),
    "attention read from outside": (
        *(f"image_encoder.trunk.blocks.{block}." for block in range(5)),
        "text_encoder.bert.encoder.layer.0.",
    ),
}


class MeanCosine:
    """A validator that runs both encoders over all pairs."""

    names = ("cosine",)

    def __call__(self, method: Method, batches: Batches) -> Mapping[str, float]:
        cosines = [
            torch.cosine_similarity(method.embed_images(batch.pixels).pooled, method.embed_texts(batch.tokens).report)
            for batch in batches()
        ]
        return {"cosine": float(torch.cat(cosines).mean())}


def method_of(case: Case) -> Method:
    config: MethodConfig = TypeAdapter(MethodConfig).validate_python({"name": case.method})
    return small_method(config, image=case.image, text=case.text)


def train(folder: Path, case: Case, strategy: str, *, stop: bool = False) -> tuple[RunSummary, Method]:
    """Train, or go on with what is there; ``stop`` ends the session early, as a signal to one process does."""
    fake, method = fake_parts(), method_of(case)
    left = STOP_AT

    def before_step(epoch: int) -> None:
        nonlocal left
        left -= 1
        if stop and left == 0 and os.environ.get("RANK", "0") == "0":
            os.kill(os.getpid(), signal.SIGTERM)

    method.before_step = before_step  # type: ignore[method-assign]
    parts = TrainingParts(method, fake.training, fake.validation, fake.image)
    config = build_settings(TrainingConfig, PLAIN | case.training)
    runtime = QUIET.model_copy(update={"strategy": strategy})
    return fake_fit(folder, config, parts, runtime=runtime, validator=MeanCosine()), method


def train_shared_out(folder: Path) -> None:
    """Each case whole; stopped; and gone on with where one process stopped. Notes what each process has."""
    notes = {}
    for name, case in CASES.items():
        _, method = train(folder / name / "whole", case, "fsdp")
        notes[name] = {
            parameter: [own_part(value).numel(), value.numel()]
            for parameter, value in method.named_parameters()
            if is_shared_out(value)
        }
        assert not any(is_shared_out(buffer) for buffer in method.buffers())
        assert_optimiser_knows_its_places(method)
        summary, _ = train(folder / name / "stopped", case, "fsdp", stop=True)
        assert summary.outcome == "interrupted"
        train(folder / name / "begun by one", case, "fsdp")
    live = IMAGE.model_copy(update={"resize_to": 64})
    train(folder / "live batch norm", replace(CASES["resnet, cached, frozen layer"], image=live), "fsdp")
    (folder / f"has-{os.environ['RANK']}.json").write_text(json.dumps(notes))


def train_apart(folder: Path) -> None:
    """Two processes that see the time and the validation losses differently, as those of two hosts do."""
    first = os.environ["RANK"] == "0"
    case, fake = CASES["vit"], fake_parts()
    method = method_of(case)
    losses = method.losses

    def seen_otherwise(features: PairFeatures, gather: Gather) -> LossTerms:
        found = losses(features, gather)
        if first or method.training:
            return found
        return replace(found, terms={name: -term for name, term in found.terms.items()})

    method.losses = seen_otherwise  # type: ignore[method-assign]
    config = build_settings(TrainingConfig, PLAIN | {"selection": {"metric": "loss", "goal": "min"}})
    own = {"strategy": "fsdp", "timeout_seconds": 30.0, "checkpoint_every_seconds": 1e-9 if first else None}
    fake_fit(
        folder,
        config,
        TrainingParts(method, fake.training, fake.validation, fake.image),
        runtime=QUIET.model_copy(update=own),
    )


def assert_optimiser_knows_its_places(method: Method) -> None:
    config = build_settings(TrainingConfig, PLAIN).optimizer
    groups = build_optimizer(method, config).param_groups
    asked = [parameter for group in parameter_groups(method, config) for parameter in group["params"]]
    by_place = {place: p for group in groups for place, p in zip(group["places"], group["params"], strict=True)}
    assert [by_place[place] is parameter for place, parameter in enumerate(asked)] == [True] * len(asked)
    assert all(len({is_shared_out(parameter) for parameter in group["params"]}) == 1 for group in groups)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``CASE/alone`` by one process that has all weights, and ``whole``, ``stopped`` and ``begun by one`` beside it."""
    if Version(torch.__version__) < Version("2.7"):
        pytest.skip("fsdp needs torch 2.7")
    folder = tmp_path_factory.mktemp("runs")
    for name, case in CASES.items():
        (folder / name).mkdir()
        train(folder / name / "alone", case, "ddp")
        train(folder / name / "begun by one", case, "ddp", stop=True)
        assert len(figures_of(folder / name / "begun by one", "train")) == STOP_AT
    run_together(2, train_shared_out, folder)
    for name, case in CASES.items():
        assert len(figures_of(folder / name / "stopped", "train")) == STOP_AT
        train(folder / name / "stopped", case, "ddp")
    return folder


def checkpoint(run: Path, name: str) -> dict[str, Tensor]:
    return read_tensors(run / "checkpoints" / f"{name}.safetensors")[0]


@pytest.mark.parametrize("name", list(CASES))
@pytest.mark.parametrize("run", ["whole", "stopped", "begun by one"])
def test_a_run_ends_as_one_process_with_all_weights_ends(runs: Path, name: str, run: str) -> None:
    """The same losses, norms, figures and checkpoints; also where another strategy went on."""
    alone, other = runs / name / "alone", runs / name / run
    for figure in ("loss", "gradient_norm"):
        expected = figures_of(alone, "train", figure)
        assert len(expected) == 8
        assert figures_of(other, "train", figure) == pytest.approx(expected, rel=1e-9)
    for figure in ("loss", "cosine"):
        assert figures_of(other, "validation", figure) == pytest.approx(figures_of(alone, "validation", figure), 1e-9)
    for file in ("state", "best", "last"):
        one, two = checkpoint(alone, file), checkpoint(other, file)
        assert one.keys() == two.keys()
        for key, value in one.items():
            torch.testing.assert_close(two[key], value, rtol=1e-7, atol=1e-9)


def test_processes_save_together_whatever_their_clocks_and_figures_say(runs: Path, tmp_path: Path) -> None:
    run_together(2, train_apart, tmp_path)
    assert figures_of(tmp_path, "train") == pytest.approx(figures_of(runs / "vit" / "alone", "train"), rel=1e-9)
    one, two = checkpoint(runs / "vit" / "alone", "last"), checkpoint(tmp_path, "last")
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-7, atol=1e-9)


def test_each_process_has_half_of_the_blocks_and_all_of_the_rest(runs: Path) -> None:
    both: list[dict[str, dict[str, list[int]]]] = [
        json.loads((runs / f"has-{rank}.json").read_text()) for rank in range(2)
    ]
    for name, case in CASES.items():
        sizes = {name: parameter.numel() for name, parameter in method_of(case).named_parameters()}
        first, second = (has[name] for has in both)
        assert first.keys() == second.keys() == {key for key in sizes if key.startswith(BLOCKS[name])}
        assert {key: own + second[key][0] for key, (own, _) in first.items()} == {key: sizes[key] for key in first}
        assert sum(own for own, _ in first.values()) <= 0.6 * sum(whole for _, whole in first.values())


def test_what_caching_costs_with_live_batch_norm_is_measured_on_what_a_process_has(runs: Path) -> None:
    assert len(figures_of(runs / "live batch norm", "train")) == 8


@pytest.mark.parametrize(
    ("devices", "precision", "torch_version", "said"),
    [
        (1, "32-true", "2.7", "there is one.*runtime.devices"),
        (2, "16-mixed", "2.7", "scaled loss.*bf16-mixed"),
        (2, "bf16-mixed", "2.6.0+cpu", "needs torch 2.7; this is 2.6.0"),
    ],
)
def test_what_cannot_be_shared_out_is_refused_before_anything_starts(
    devices: int, precision: Any, torch_version: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "__version__", torch_version)
    with pytest.raises(ConfigError, match=f"(?s){said}"):
        start_fabric(QUIET.model_copy(update={"strategy": "fsdp", "devices": devices}), precision)
