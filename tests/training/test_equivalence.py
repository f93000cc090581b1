"""Gradient caching, and several processes, against the one big batch: float64, SGD, no dropout."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors.torch import load_file, save_file

from crossray.data.batch import PairBatch
from crossray.data.pairs import to_pair_batch
from crossray.data.sampling import GlobalBatchSampler
from crossray.methods.base import SingleProcess
from crossray.training.config import ConstantScheduleConfig, OptimizerConfig, RuntimeConfig, TrainingConfig
from crossray.training.distributed import average_gradients, gather_of, start_fabric
from crossray.training.gradient_cache import cached_backward, caching_deviation, has_live_batch_norm
from crossray.training.step import backward_step, encode
from tests.training.fakes import QUIET, FakeMethod, fake_fit, fake_parts, figures_of
from tests.training.processes import run_in_process, run_together

TWENTY_STEPS = TrainingConfig(
    epochs=5,
    batch_size=8,
    precision="64-true",
    optimizer=OptimizerConfig(name="sgd", learning_rate=0.05),
    schedule=ConstantScheduleConfig(),
)
CACHED = TWENTY_STEPS.model_copy(update={"accumulation": "cached", "micro_batch": 3})


def train_and_keep_first_gradient(folder: Path, config: TrainingConfig, processes: int) -> None:
    runtime = QUIET.model_copy(update={"devices": processes})
    fabric = start_fabric(runtime, config.precision)
    method = FakeMethodInDouble.make()
    batch = first_batch(fabric.global_rank, fabric.world_size)
    backward_step(fabric, method, batch, gather_of(fabric), config)
    average_gradients(method.parameters(), fabric.world_size)
    if fabric.is_global_zero:
        folder.mkdir(parents=True)
        gradients = {name: p.grad for name, p in method.named_parameters() if p.grad is not None}
        save_file(gradients, folder / "gradient.safetensors")
    fabric.barrier()
    fake_fit(folder, config, runtime=runtime)


class FakeMethodInDouble:
    """The fake method in float64, always from the same weights."""

    @staticmethod
    def make(*, batch_norm: bool = False) -> FakeMethod:
        torch.manual_seed(3)
        return FakeMethod(batch_norm=batch_norm).double()


def first_batch(rank: int = 0, world: int = 1) -> PairBatch:
    parts = fake_parts()
    sampler = GlobalBatchSampler(len(parts.training), 8, training=True, rank=rank, world=world)
    raw = parts.training[next(iter(sampler))]
    return to_pair_batch(raw, parts.image, torch.device("cpu"), seed=0, dtype=torch.float64)


@pytest.fixture(scope="module")
def one_big_batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one") / "run"
    assert run_in_process(train_and_keep_first_gradient, folder, TWENTY_STEPS, 1) == 0
    return folder


def assert_same_training(folder: Path, other: Path) -> None:
    losses, expected = figures_of(folder, "train"), figures_of(other, "train")
    assert len(losses) == len(expected) == 20
    assert losses == pytest.approx(expected, rel=1e-5)
    assert figures_of(folder, "validation") == pytest.approx(figures_of(other, "validation"), rel=1e-5)
    one, two = load_file(folder / "gradient.safetensors"), load_file(other / "gradient.safetensors")
    assert one.keys() == two.keys()
    assert "log_scale" in one
    for name in one:
        assert (one[name] - two[name]).norm() <= 1e-5 * two[name].norm(), name


def test_gradient_caching_equals_the_one_big_batch(one_big_batch: Path, tmp_path: Path) -> None:
    assert run_in_process(train_and_keep_first_gradient, tmp_path / "run", CACHED, 1) == 0
    assert_same_training(tmp_path / "run", one_big_batch)


@pytest.mark.parametrize("accumulation", ["plain", "cached"])
def test_two_processes_equal_one_at_the_same_global_batch(
    one_big_batch: Path, tmp_path: Path, accumulation: Literal["plain", "cached"]
) -> None:
    config = TWENTY_STEPS if accumulation == "plain" else CACHED
    run_together(2, train_and_keep_first_gradient, tmp_path / "run", config, 2)
    assert_same_training(tmp_path / "run", one_big_batch)


def gradient(method: FakeMethod, batch: PairBatch, config: TrainingConfig) -> dict[str, torch.Tensor]:
    method.zero_grad(set_to_none=True)
    fabric = start_fabric(RuntimeConfig(accelerator="cpu"), config.precision)
    torch.manual_seed(9)
    backward_step(fabric, method, batch, SingleProcess(), config)
    return {name: p.grad for name, p in method.named_parameters() if p.grad is not None}


def test_caching_replays_dropout() -> None:
    torch.manual_seed(3)
    method = FakeMethod(dropout=0.5).double()
    pieces = CACHED.model_copy(update={"micro_batch": 4})
    one = gradient(method, first_batch(), pieces)
    two = gradient(method, first_batch(), pieces)
    # A step whose second pass drew other masks than its first would send gradients through units that were off.
    batch = first_batch()
    torch.manual_seed(9)
    features = [method.encode(piece) for piece in batch.micro_batches(4)]
    joined = {name: torch.cat([part[name] for part in features]) for name in features[0]}
    method.zero_grad(set_to_none=True)
    method.losses(joined, SingleProcess()).total.backward()  # type: ignore[no-untyped-call]
    for name, parameter in method.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(one[name], parameter.grad, rtol=1e-9, atol=1e-12)
            assert torch.equal(one[name], two[name])


def test_the_uneven_last_piece_and_a_piece_of_one_change_nothing() -> None:
    method = FakeMethodInDouble.make()
    whole = gradient(method, first_batch(), TWENTY_STEPS)
    for size in (1, 3, 5, 7, 8):
        cached = gradient(method, first_batch(), CACHED.model_copy(update={"micro_batch": size}))
        for name, value in whole.items():
            torch.testing.assert_close(cached[name], value, rtol=1e-9, atol=1e-12)


def test_caching_encodes_the_first_piece_once_and_holds_one_piece_at_a_time() -> None:
    fabric, method = start_fabric(QUIET, "64-true"), FakeMethodInDouble.make()
    pieces = first_batch().micro_batches(2)
    sizes: list[tuple[int, bool]] = []
    held: list[weakref.ref[torch.Tensor]] = []

    def encode_and_count(piece: PairBatch) -> dict[str, torch.Tensor]:
        if torch.is_grad_enabled():
            assert all(earlier() is None for earlier in held)
        features = encode(fabric, method, piece)
        sizes.append((len(piece), torch.is_grad_enabled()))
        held.extend(weakref.ref(value) for value in features.values() if value.requires_grad)
        return features

    def compare(features: dict[str, torch.Tensor]) -> None:
        method.losses(features, SingleProcess()).total.backward()  # type: ignore[no-untyped-call]

    cached_backward(method, pieces, encode_and_count, compare)
    others = len(pieces) - 1
    assert len(pieces) > 2
    assert [with_gradient for _, with_gradient in sizes] == [True] + [False] * others + [True] * others


def test_running_statistics_count_each_pair_once() -> None:
    method = FakeMethodInDouble.make(batch_norm=True)
    gradient(method, first_batch(), CACHED.model_copy(update={"micro_batch": 4}))
    norm = method.image_encoder[1]
    assert isinstance(norm, torch.nn.BatchNorm2d)
    assert norm.num_batches_tracked is not None
    assert norm.num_batches_tracked.item() == 2


def test_live_batch_norm_deviates_and_frozen_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    fabric = start_fabric(RuntimeConfig(accelerator="cpu"), "64-true")
    method = FakeMethodInDouble.make(batch_norm=True)

    def compare(features: dict[str, torch.Tensor]) -> torch.Tensor:
        total = method.losses(features, SingleProcess()).total
        total.backward()  # type: ignore[no-untyped-call]
        return total.detach()

    assert has_live_batch_norm(method)
    live = caching_deviation(method, first_batch(), lambda piece: encode(fabric, method, piece), compare)
    method.image_encoder.eval()
    assert not has_live_batch_norm(method)
    frozen = caching_deviation(method, first_batch(), lambda piece: encode(fabric, method, piece), compare)
    with capsys.disabled():
        print(f"\n  cached, live batch norm: loss off by {live[0]:.2e}, gradient by {live[1]:.2e} (frozen: {frozen})")
    assert min(live) > 1e-4
    assert max(frozen) < 1e-12
