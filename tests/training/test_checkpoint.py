from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from crossray.errors import CheckpointError
from crossray.tensor_file import load_weights, read_tensors, write_tensors
from crossray.training.checkpoint import restore_state, state_tensors, weights_file
from crossray.training.config import OptimizerConfig
from crossray.training.optimizers import build_optimizer
from tests.training.fakes import FakeMethod
from tests.training.processes import run_in_process

TENSORS = {
    "a": torch.randn(3, 4, dtype=torch.float64),
    "scalar": torch.tensor(7),
    "half": torch.randn(5).to(torch.bfloat16),
    "mask": torch.tensor([True, False]),
    "empty": torch.zeros(0, 3),
}


def test_what_is_written_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    write_tensors(tmp_path / "x.safetensors", TENSORS, {"step": 3, "best": float("inf"), "lr": 0.1 + 0.2})
    tensors, facts = read_tensors(tmp_path / "x.safetensors")
    assert tensors.keys() == TENSORS.keys()
    assert all(
        torch.equal(tensors[name], TENSORS[name]) and tensors[name].dtype == TENSORS[name].dtype for name in TENSORS
    )
    assert facts == {"version": 1, "step": 3, "best": float("inf"), "lr": 0.1 + 0.2}


def test_equal_tensors_and_facts_give_equal_bytes(tmp_path: Path) -> None:
    tensors, facts = {"b": torch.arange(3.0), "a": torch.ones(2, 2)}, {"name": "Müller", "step": 3}
    for number in range(12):  # safetensors orders its metadata anew at each call
        write_tensors(tmp_path / f"{number}.safetensors", tensors, facts)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    assert read_tensors(tmp_path / "0.safetensors")[1]["name"] == "Müller"


def test_shared_tensors_and_views_are_written_each_by_itself(tmp_path: Path) -> None:
    table = torch.randn(4, 4)
    write_tensors(tmp_path / "x.safetensors", {"tied": table, "also": table, "turned": table.T}, {})
    tensors, _ = read_tensors(tmp_path / "x.safetensors")
    assert torch.equal(tensors["tied"], tensors["also"])
    assert torch.equal(tensors["turned"], table.T)


def damage_byte(content: bytearray, place: int) -> bytearray:
    content[place] ^= 4
    return content


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-1], "cut short"),
        (lambda content: content[:5], "cut short"),
        (lambda content: bytearray(), "cut short"),
        (lambda content: bytearray(b"no tensors at all"), "cut short"),
        (lambda content: damage_byte(content, -3), "altered"),
        (lambda content: content.replace(b'\\"step\\": 3', b'\\"step\\": 4'), "altered"),
    ],
)
def test_damage_is_noticed(tmp_path: Path, damage: Callable[[bytearray], bytearray], message: str) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS, {"step": 3})
    path.write_bytes(damage(bytearray(path.read_bytes())))
    with pytest.raises(CheckpointError, match=message):
        read_tensors(path)


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone\.safetensors"):
        read_tensors(tmp_path / "gone.safetensors")


def write_onto_a_small_disk(path: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    with pytest.raises(CheckpointError, match=r"x\.safetensors.*cannot be written.*Free space"):
        write_tensors(path, {"large": torch.zeros(10_000)}, {"step": 2})


def test_on_a_full_disk_the_previous_checkpoint_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS, {"step": 1})
    assert run_in_process(write_onto_a_small_disk, path) == 0
    assert read_tensors(path)[1]["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["x.safetensors"]


def test_on_a_read_only_disk_the_previous_checkpoint_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS, {"step": 1})

    def refuse(*_: object) -> None:  # root may write to folders without permission, so the refusal is played
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(CheckpointError, match=r"Read-only.*may write to"):
        write_tensors(path, {"a": torch.zeros(2)}, {"step": 2})
    assert read_tensors(path)[1]["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["x.safetensors"]


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_an_optimiser_goes_on_as_if_never_saved(tmp_path: Path, name: str, momentum: float) -> None:
    config = OptimizerConfig.model_validate({"name": name, "momentum": momentum, "learning_rate": 0.01})
    torch.manual_seed(0)
    first, second = FakeMethod(), FakeMethod()
    one, two = build_optimizer(first, config), build_optimizer(second, config)

    def step(model: FakeMethod, optimizer: torch.optim.Optimizer) -> None:
        for k, parameter in enumerate(model.parameters()):
            parameter.grad = torch.cos(parameter.detach() * (k + 1))
        optimizer.step()

    step(first, one)
    tensors, facts = state_tensors(first, one, None)
    write_tensors(tmp_path / "s.safetensors", tensors, facts)
    restore_state(*read_tensors(tmp_path / "s.safetensors"), second, two)
    for _ in range(2):
        step(first, one)
        step(second, two)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_moments_of_channels_last_weights_stay_with_their_weights(tmp_path: Path) -> None:
    """A file keeps no memory layout, and a fused optimiser walks through memory."""
    torch.manual_seed(0)
    first, second = (torch.nn.Conv2d(4, 3, 3).to(memory_format=torch.channels_last) for _ in range(2))
    one, two = (build_optimizer(model, OptimizerConfig(learning_rate=0.1)) for model in (first, second))

    def train(model: torch.nn.Conv2d, optimizer: torch.optim.Optimizer, steps: int) -> None:
        for step in range(steps):
            optimizer.zero_grad()
            films = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(step))
            torch.autograd.backward(model(films).square().sum())
            optimizer.step()

    train(first, one, 3)
    tensors, facts = state_tensors(first, one, None)
    write_tensors(tmp_path / "s.safetensors", tensors, facts)
    restore_state(*read_tensors(tmp_path / "s.safetensors"), second, two)
    train(first, one, 2)
    train(second, two, 2)
    assert torch.equal(first.weight, second.weight)


def test_weights_that_do_not_fit_are_refused_by_name() -> None:
    weights = FakeMethod(width=4).state_dict()
    with pytest.raises(CheckpointError, match=r"'head\.bias' has shape \[4\], the model \[8\]"):
        load_weights(FakeMethod(width=8), weights)
    del weights["head.bias"]
    with pytest.raises(CheckpointError, match=r"'head\.bias' is missing in the checkpoint"):
        load_weights(FakeMethod(width=4), weights)


def test_initial_weights_are_a_file_or_the_best_of_a_run(tmp_path: Path) -> None:
    assert weights_file(str(tmp_path)) == tmp_path / "checkpoints" / "best.safetensors"
    assert weights_file("some/last.safetensors") == Path("some/last.safetensors")
