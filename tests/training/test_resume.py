"""A run that is killed and resumed ends with the weights of the run that was left alone."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from crossray.data.batch import PairBatch
from crossray.errors import CheckpointError
from crossray.methods.base import PairFeatures
from crossray.training import state
from crossray.training.config import (
    OptimizerConfig,
    PlateauScheduleConfig,
    RuntimeConfig,
    TrainingConfig,
)
from crossray.training.session import TrainingParts
from tests.training.fakes import QUIET, FakeMethod, fake_fit, fake_parts, figures_of
from tests.training.processes import run_in_process

STEPS = 12
CONFIG = TrainingConfig(
    epochs=3,
    batch_size=8,
    micro_batch=6,
    accumulation="cached",
    optimizer=OptimizerConfig(learning_rate=1e-2),
    schedule=PlateauScheduleConfig(patience=0),
    clip_norm=1.0,
    ema_decay=0.9,
)
EVERY_THIRD_STEP = QUIET.model_copy(update={"checkpoint_every_steps": 3})


class MortalMethod(FakeMethod):
    """Sends its own process a signal in the middle of one step."""

    def __init__(self, step: int, number: int) -> None:
        super().__init__(dropout=0.2, batch_norm=True)
        self.left = step
        self.number = number

    def encode(self, batch: PairBatch) -> PairFeatures:
        if self.training and torch.is_grad_enabled() and len(batch) == 2:  # the second piece of a batch of 8
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), self.number)
        return super().encode(batch)


def train(folder: Path, signal_at: int = 0, number: int = signal.SIGKILL) -> None:
    parts = fake_parts()
    torch.manual_seed(3)
    method = MortalMethod(signal_at, number)
    mortal = TrainingParts(method, parts.training, parts.validation, parts.image)
    summary = fake_fit(folder, CONFIG, mortal, runtime=EVERY_THIRD_STEP)
    if summary.outcome == "interrupted":
        raise SystemExit(128 + (summary.signal or 0))


def weights(folder: Path, name: str) -> dict[str, Tensor]:
    return load_file(folder / "checkpoints" / f"{name}.safetensors")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run_in_process(train, folder) == 0
    return folder


def assert_same_run(folder: Path, other: Path) -> None:
    for name in ("state", "best", "last"):
        one, two = weights(folder, name), weights(other, name)
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one), name
    for kind in ("train", "validation"):
        assert figures_of(folder, kind) == figures_of(other, kind)


def test_killed_at_three_random_steps_the_final_weights_are_bit_equal(undisturbed: Path, tmp_path: Path) -> None:
    steps = sorted(random.SystemRandom().sample(range(1, STEPS + 1), 3))
    for step in steps:
        folder = tmp_path / f"killed-{step}"
        assert run_in_process(train, folder, step) == -signal.SIGKILL
        assert run_in_process(train, folder) == 0
        assert_same_run(folder, undisturbed)


def test_sigterm_saves_the_step_and_resumes_bit_equal(undisturbed: Path, tmp_path: Path) -> None:
    assert run_in_process(train, tmp_path, 5, signal.SIGTERM) == 143
    assert len(figures_of(tmp_path, "train")) == 5
    assert run_in_process(train, tmp_path) == 0
    assert_same_run(tmp_path, undisturbed)


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    config = TrainingConfig(epochs=1, batch_size=8)
    first = fake_fit(tmp_path, config)
    before = (tmp_path / "checkpoints" / "state.safetensors").read_bytes()
    second = fake_fit(tmp_path, config)
    assert (second.outcome, second.steps, second.best) == (first.outcome, first.steps, first.best)
    assert (tmp_path / "checkpoints" / "state.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (torch.OutOfMemoryError("no memory"), torch.OutOfMemoryError),
        (RuntimeError("[gloo/transport/tcp/pair.cc] Connection closed by peer"), RuntimeError),
        (RuntimeError("the sizes do not match"), CheckpointError),
    ],
)
def test_a_state_is_not_called_unusable_for_want_of_memory_or_of_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, told: type[Exception]
) -> None:
    def fail(*arguments: object) -> None:
        raise raised

    config = TrainingConfig(epochs=1, batch_size=8)
    fake_fit(tmp_path, config)
    monkeypatch.setattr(state, "restore_state", fail)
    with pytest.raises(told) as caught:
        fake_fit(tmp_path, config)
    assert ("delete the whole folder" in str(caught.value)) == (told is CheckpointError)


@pytest.mark.parametrize("damage", ["cut", "bit"])
def test_a_damaged_state_is_refused_by_name(tmp_path: Path, damage: str) -> None:
    config = TrainingConfig(epochs=1, batch_size=8)
    fake_fit(tmp_path, config)
    path = tmp_path / "checkpoints" / "state.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "cut":
        del content[-100:]
    else:
        content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"state\.safetensors.*(cut short|altered)"):
        fake_fit(tmp_path, config)


def test_runtime_settings_do_not_change_the_result(tmp_path: Path) -> None:
    config = TrainingConfig(epochs=1, batch_size=8, caption="sentence")
    fake_fit(tmp_path / "one", config)
    fake_fit(tmp_path / "two", config, runtime=RuntimeConfig(accelerator="cpu", workers=1, tensorboard=False))
    one, two = weights(tmp_path / "one", "best"), weights(tmp_path / "two", "best")
    assert all(torch.equal(one[name], two[name]) for name in one)
