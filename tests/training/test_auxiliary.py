"""Auxiliary tasks take turns with the main objective, the same turns in a resumed run and on every process."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from crossray.data.batch import PairBatch
from crossray.data.tasks import AuxiliaryTask, plan_epoch
from crossray.methods.base import Gather, LossTerms, PairFeatures
from crossray.training.config import ConstantScheduleConfig, OptimizerConfig, TrainingConfig
from tests.training.fakes import QUIET, FakeMethod, fake_fit, fake_parts, figures_of
from tests.training.processes import run_in_process, run_together

CONFIG = TrainingConfig(
    epochs=3,
    batch_size=8,
    micro_batch=3,
    accumulation="cached",
    precision="64-true",
    optimizer=OptimizerConfig(learning_rate=1e-2),
)
TASK = AuxiliaryTask("words", 0.6, needs_films=False)
STEPS = [len(plan_epoch((TASK,), 4, seed=0, epoch=epoch)) for epoch in range(3)]


class Busy(FakeMethod):
    """Also learns words from the text alone; can kill its own process."""

    def __init__(self, kill_at: int = 0) -> None:
        super().__init__(dropout=0.1)
        self.left = kill_at
        self.validated: list[str | None] = []

    @property
    def auxiliary_tasks(self) -> tuple[AuxiliaryTask, ...]:
        return (TASK,)

    def encode(self, batch: PairBatch) -> PairFeatures:
        if not self.training:
            self.validated.append(batch.task)
        elif torch.is_grad_enabled() and len(batch) == 2:  # the last piece of a batch of 8
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        if batch.task is None:
            return super().encode(batch)
        assert batch.pixels.numel() == 0
        words = self.dropout(self.text_encoder(batch.tokens.input_ids)).mean(dim=1)
        return {"words_loss": self.unused(words).square().sum(dim=1)}

    def losses(self, features: PairFeatures, gather: Gather) -> LossTerms:
        if "words_loss" in features:
            return LossTerms({"words": gather(features["words_loss"]).mean()}, {"words": 2.0})
        return super().losses(features, gather)


def train(folder: Path, kill_at: int = 0) -> None:
    torch.manual_seed(3)
    runtime = QUIET.model_copy(update={"checkpoint_every_steps": 2})
    fake_fit(folder, CONFIG, replace(fake_parts(), method=Busy(kill_at)), runtime=runtime)


def train_together(folder: Path, processes: int) -> None:
    torch.manual_seed(3)
    method = Busy()
    method.dropout.p = 0.0
    sgd = {"optimizer": OptimizerConfig(name="sgd", learning_rate=1e-2), "schedule": ConstantScheduleConfig()}
    config = CONFIG.model_copy(update=sgd)
    fake_fit(
        folder,
        config,
        replace(fake_parts(), method=method),
        runtime=QUIET.model_copy(update={"devices": processes}),
    )


def lines_of(folder: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    volatile = {"pairs_per_second"}
    return [{key: value for key, value in line.items() if key not in volatile} for line in lines]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run_in_process(train, folder) == 0
    return folder


def test_steps_follow_the_plan_and_validation_sees_the_main_objective_alone(tmp_path: Path) -> None:
    torch.manual_seed(3)
    method = Busy()
    summary = fake_fit(tmp_path, CONFIG, replace(fake_parts(), method=method))
    assert (summary.epochs, summary.steps) == (3, sum(STEPS))
    lines = [line for line in lines_of(tmp_path) if line["kind"] == "train"]
    for epoch in range(3):
        turns = plan_epoch((TASK,), 4, seed=0, epoch=epoch).turns
        assert ["loss/words" in line for line in lines if line["epoch"] == epoch + 1] == (turns == 1).tolist()
    assert ["loss" in line for line in lines] == ["loss/global" in line for line in lines]
    assert set(method.validated) == {None}
    assert sum("loss/words" in line for line in lines) > 3


def test_the_schedule_runs_over_the_steps_of_all_tasks(undisturbed: Path) -> None:
    rates = figures_of(undisturbed, "train", "learning_rate")
    assert len(rates) == sum(STEPS)
    assert 0.0 < rates[-1] < 0.05 * max(rates)


@pytest.mark.parametrize("step", [2, STEPS[0] + 3])
def test_a_run_killed_inside_an_epoch_takes_up_the_plan_where_it_was(
    undisturbed: Path, tmp_path: Path, step: int
) -> None:
    assert run_in_process(train, tmp_path, step) == -signal.SIGKILL
    assert run_in_process(train, tmp_path) == 0
    for name in ("state", "best", "last"):
        one, two = (load_file(folder / "checkpoints" / f"{name}.safetensors") for folder in (tmp_path, undisturbed))
        assert all(torch.equal(one[key], two[key]) for key in one), name
    assert lines_of(tmp_path) == lines_of(undisturbed)


def test_two_processes_take_the_same_turns_and_learn_the_same(tmp_path: Path) -> None:
    assert run_in_process(train_together, tmp_path / "one", 1) == 0
    run_together(2, train_together, tmp_path / "two", 2)
    one, two = (load_file(tmp_path / name / "checkpoints" / "last.safetensors") for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-8, atol=1e-10)
    assert [line.keys() for line in lines_of(tmp_path / "one")] == [line.keys() for line in lines_of(tmp_path / "two")]
