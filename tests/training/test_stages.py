"""A method that trains in stages: each with its own optimiser, moments, schedule and best weights; resumed exactly."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from crossray.data.batch import PairBatch
from crossray.errors import ConfigError
from crossray.methods.base import Gather, LossTerms, Method, PairFeatures
from crossray.settings import build_settings
from crossray.tensor_file import read_tensors
from crossray.training.config import TrainingConfig
from crossray.training.session import RunSummary
from crossray.training.state import TrainingState
from crossray.training.timeline import plan_run
from tests.training.fakes import QUIET, FakeMethod, fake_fit, fake_parts, figures_of
from tests.training.processes import run_in_process

STAGES: list[dict[str, Any]] = [
    {"name": "global", "epochs": 2},
    {"name": "both", "epochs": 2, "optimizer": {"learning_rate": 5e-3, "weight_decay": 0.1}},
]


def staged(*, stages: list[dict[str, Any]] | None = None, **changes: Any) -> TrainingConfig:
    content: dict[str, Any] = {
        "stages": STAGES if stages is None else stages,
        "batch_size": 8,
        "optimizer": {"learning_rate": 1e-2},
        "schedule": {"name": "cosine", "warmup_fraction": 0.0},
    }
    return build_settings(TrainingConfig, content | changes)


class Staged(FakeMethod):
    """The global term first, then both; the words' embedding is held still at first. Can kill its own process."""

    name: ClassVar[str] = "staged"
    stages: ClassVar[tuple[str, ...]] = ("global", "both")
    stage_number: Tensor

    def __init__(self, kill_at: int = 0, number: int = signal.SIGKILL) -> None:
        super().__init__(dropout=0.2)
        self.register_buffer("stage_number", torch.tensor(-1))
        self.entered: list[str] = []
        self.left, self.number = kill_at, number

    def enter_stage(self, stage: str) -> None:
        super().enter_stage(stage)
        self.entered.append(stage)
        self.stage_number.fill_(self.stages.index(stage))
        self.text_encoder.requires_grad_(stage == "both")

    def encode(self, batch: PairBatch) -> PairFeatures:
        if self.training:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), self.number)
        return super().encode(batch)

    def losses(self, features: PairFeatures, gather: Gather) -> LossTerms:
        losses = super().losses(features, gather)
        names = ["global"] if self.stage_number == 0 else ["global", "local"]
        return LossTerms({name: losses.terms[name] for name in names}, {name: losses.weights[name] for name in names})


def make(kill_at: int = 0, number: int = signal.SIGKILL) -> Staged:
    torch.manual_seed(3)
    return Staged(kill_at, number)


def fit_staged(folder: Path, config: TrainingConfig, method: Staged) -> RunSummary:
    runtime = QUIET.model_copy(update={"checkpoint_every_steps": 3})
    return fake_fit(folder, config, replace(fake_parts(), method=method), runtime=runtime)


def train(folder: Path, kill_at: int = 0, number: int = signal.SIGKILL) -> None:
    summary = fit_staged(folder, staged(ema_decay=0.9, clip_norm=1.0), make(kill_at, number))
    if summary.outcome == "interrupted":
        raise SystemExit(128 + (summary.signal or 0))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run_in_process(train, folder) == 0
    return folder


# Eight steps a stage, saved at every third: 8 is the last step of the first stage, 9 the first of the second.
@pytest.mark.parametrize(
    ("step", "number"),
    [(8, signal.SIGTERM), (9, signal.SIGKILL), (14, signal.SIGKILL)],
)
def test_a_run_stopped_in_or_between_stages_goes_on_bit_equal(
    undisturbed: Path, tmp_path: Path, step: int, number: signal.Signals
) -> None:
    assert run_in_process(train, tmp_path, step, int(number)) == (143 if number == signal.SIGTERM else -number)
    assert run_in_process(train, tmp_path) == 0
    for name in ("state", "best", "last", "stage-global"):
        one, two = (load_file(folder / "checkpoints" / f"{name}.safetensors") for folder in (tmp_path, undisturbed))
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one), name
    assert figures_of(tmp_path, "train") == figures_of(undisturbed, "train")
    assert figures_of(tmp_path, "validation") == figures_of(undisturbed, "validation")


def test_every_stage_begins_with_its_own_optimiser_moments_and_schedule(tmp_path: Path) -> None:
    method = make()
    summary = fit_staged(tmp_path, staged(), method)
    assert (summary.outcome, summary.epochs, summary.steps) == ("finished", 4, 16)
    assert method.entered == ["global", "both"]
    rates = figures_of(tmp_path, "train", "learning_rate")
    assert (rates[0], rates[8]) == (1e-2, 5e-3)
    assert [rate / 1e-2 for rate in rates[:8]] == pytest.approx([rate / 5e-3 for rate in rates[8:]])
    state, _ = read_tensors(tmp_path / "checkpoints" / "state.safetensors")
    assert {value.item() for name, value in state.items() if name.endswith("/step")} == {8.0}
    second = TrainingState.start(method, staged(), plan_run(method, staged(), [4] * 4).stages[1])
    assert {group["weight_decay"] for group in second.optimizer.param_groups} == {0.0, 0.1}
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in lines if line["kind"] == "validation"] == ["global"] * 2 + ["both"] * 2


def test_the_best_weights_are_of_the_last_stage_and_each_boundary_is_kept(tmp_path: Path) -> None:
    summary = fit_staged(tmp_path, staged(), make())
    losses = figures_of(tmp_path, "validation")
    assert min(losses[:2]) < min(losses[2:])  # one term against two: a comparison would keep the first stage's
    assert summary.best == min(losses[2:])
    best, facts = read_tensors(tmp_path / "checkpoints" / "best.safetensors")
    assert (best["stage_number"].item(), facts["step"] > 8) == (1, True)
    snapshot, facts = read_tensors(tmp_path / "checkpoints" / "stage-global.safetensors")
    assert (snapshot["stage_number"].item(), facts["step"]) == (0, 8)
    assert torch.equal(snapshot["text_encoder.weight"], make().text_encoder.weight)


class Unimpressed:
    """A validator that sees no improvement, ever."""

    names = ("quality",)

    def __call__(self, method: Method, batches: Callable[[], Iterator[PairBatch]]) -> Mapping[str, float]:
        return {"quality": 0.0}


def test_patience_ends_a_stage_and_not_the_run(tmp_path: Path) -> None:
    stages = [{**STAGES[0], "epochs": 30}, {**STAGES[1], "epochs": 30}]
    config = staged(stages=stages, selection={"metric": "quality", "patience": 2})
    summary = fake_fit(tmp_path, config, replace(fake_parts(), method=make()), validator=Unimpressed())
    assert (summary.outcome, summary.epochs, summary.steps) == ("stopped early", 33, 24)
    last, facts = read_tensors(tmp_path / "checkpoints" / "last.safetensors")
    assert (last["stage_number"].item(), facts["epoch"]) == (1, 33)


def test_a_later_stage_alone_may_be_trained(tmp_path: Path) -> None:
    method = make()
    fit_staged(tmp_path, staged(stages=STAGES[1:]), method)
    assert method.entered == ["both"]
    assert not (tmp_path / "checkpoints" / "stage-global.safetensors").exists()


@pytest.mark.parametrize(
    ("method", "stages", "message"),
    [
        (Staged, [], r"staged trains in stages.*\[\{name: global, epochs: 10\}, \{name: both, epochs: 10\}\]"),
        (Staged, STAGES[::-1], "both, global are not stages of staged in their order.*They are global, both"),
        (Staged, [{"name": "fourth", "epochs": 1}], "fourth are not stages"),
        (FakeMethod, STAGES, "the objective of fake has no stages"),
    ],
)
def test_stages_that_are_not_the_methods_are_refused(
    method: type[FakeMethod], stages: list[dict[str, Any]], message: str
) -> None:
    config = staged(stages=stages)
    with pytest.raises(ConfigError, match=message):
        plan_run(method(), config, [4] * config.epochs)


def test_the_stages_make_the_epochs() -> None:
    assert staged().epochs == 4
    assert build_settings(TrainingConfig, staged().model_dump()) == staged()
    assert TrainingConfig().epochs == 50
    with pytest.raises(ConfigError, match="the stages have 4 epochs together, not 5"):
        staged(epochs=5)
    with pytest.raises(ConfigError, match=r"stages\.epochs"):
        staged(stages=[{"name": "global", "epochs": 0}])
