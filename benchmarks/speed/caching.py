"""Gradient caching against plain accumulation of the same micro-batches, an eighth of the batch each."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from benchmarks.speed.harness import Measured, Options, interleaved, ratio_row, seconds_of
from benchmarks.speed.models import batch, method
from lightning_fabric import Fabric

from crossray.data.batch import PairBatch
from crossray.freed_memory import keep_freed_memory
from crossray.methods.base import Method, SingleProcess
from crossray.training.config import TrainingConfig
from crossray.training.step import backward_step

_PIECES = 8
WAYS: tuple[Literal["cached", "plain"], ...] = ("cached", "plain")


def measure(options: Options) -> list[Measured]:
    keep_freed_memory()
    micro = options.pick(16, 2)
    pairs = batch(_PIECES * micro, options.pick(128, 64))
    rows = []
    for row, trunk in (("caching_resnet18", "resnet18"), ("caching_lite0", "tf_efficientnet_lite0")):
        model = method("convirt", options, trunk=trunk)
        sides = {
            way: partial(
                one_step,
                model,
                pairs,
                TrainingConfig(batch_size=len(pairs), micro_batch=micro, accumulation=way),
            )
            for way in WAYS
        }
        seconds = interleaved(
            {**sides, "the second encoding alone": partial(encode_again, model, pairs, micro)}, options.rounds
        )
        rows.append(ratio_row(row, seconds["cached"], seconds["plain"], detail=seconds_of(seconds)))
    return rows


@torch.no_grad()
def encode_again(model: Method, pairs: PairBatch, micro: int) -> None:
    """What caching cannot do without: every piece but the first is encoded once more."""
    for piece in pairs.micro_batches(micro)[1:]:
        model.encode(piece)


def one_step(model: Method, pairs: PairBatch, config: TrainingConfig) -> None:
    model.zero_grad(set_to_none=True)
    torch.manual_seed(0)
    backward_step(Fabric(accelerator="cpu", devices=1), model, pairs, SingleProcess(), config)
