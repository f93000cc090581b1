"""Validation: the loss over every validation pair, and whatever a validator that was passed in makes of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from lightning_fabric import Fabric

from crossray.data.augment import ImageInputConfig
from crossray.data.batch import PairBatch
from crossray.data.pairs import PairDataset, pair_loader, to_pair_batch
from crossray.data.sampling import GlobalBatchSampler
from crossray.errors import ConfigError
from crossray.methods.base import Method, SingleProcess
from crossray.training.config import SelectionConfig, TrainingConfig
from crossray.training.distributed import share_state, sum_over_processes
from crossray.training.sharding import has_shared_out_weights
from crossray.training.step import encode_in_pieces

LOSS_METRIC = "loss"

Batches = Callable[[], Iterator[PairBatch]]


class Validator(Protocol):
    """Further figures of a model on the validation pairs; training does not know what they mean.

    The model is in evaluation mode and no gradient is kept. ``batches()`` goes through all pairs, in order, each time
    it is called. A validator scores films against reports, so it is left out for a method that reads none.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """The figures it will return."""
        ...

    def __call__(self, method: Method, batches: Batches) -> Mapping[str, float]:
        """Figures by name, for example ``{"recall_mean": 0.31}``."""
        ...


@dataclass(frozen=True)
class ValidationSet:
    """The pairs to validate on and how they are shown."""

    pairs: PairDataset
    image: ImageInputConfig
    batch_size: int
    workers: int = 0
    views: int = 1

    def batches(self, fabric: Fabric, dtype: torch.dtype, *, rank: int = 0, world: int = 1) -> Iterator[PairBatch]:
        """The evaluation view of every pair (of this process's share of the batches)."""
        sampler = GlobalBatchSampler(len(self.pairs), self.batch_size, training=False, rank=rank, world=world)
        on_gpu = fabric.device.type == "cuda"
        for raw in pair_loader(self.pairs, sampler, workers=self.workers, pin_memory=on_gpu):
            yield to_pair_batch(raw, self.image, fabric.device, seed=None, dtype=dtype, views=self.views)


def validator_for(method: Method, config: TrainingConfig, validator: Validator | None) -> Validator | None:
    """The validator, unless the recipe leaves it out or the method reads no reports.

    Raises:
        ConfigError: no one computes the metric to select by.
    """
    metric = config.selection.metric
    if not method.reads_reports and validator is not None and metric in validator.names:
        raise ConfigError(
            f"'{metric}' scores films against reports, and {method.name} reads none.",
            field="training.selection.metric",
            remedy=f"Choose {LOSS_METRIC}, with training.selection.goal: min.",
        )
    used = validator if config.use_validator and method.reads_reports else None
    require_metric(config.selection, used)
    return used


def require_metric(selection: SelectionConfig, validator: Validator | None) -> None:
    """Refuse a selection metric that no one computes.

    Raises:
        ConfigError: naming the metrics there are.
    """
    known = (LOSS_METRIC, *(validator.names if validator is not None else ()))
    if selection.metric not in known:
        raise ConfigError(
            f"'{selection.metric}' is not computed in validation.",
            field="training.selection.metric",
            remedy=f"Choose one of: {', '.join(known)}.",
        )


@torch.no_grad()
def validate(
    fabric: Fabric, method: Method, data: ValidationSet, validator: Validator | None, config: TrainingConfig
) -> dict[str, float]:
    """``loss``, each unweighted term as ``loss/<term>``, and the validator's figures; the same on every process.

    A loss is the mean over pairs of the losses of batches of the training size, the smaller last batch included.
    Processes share the batches, unless the weights are shared out: then each needs the others for every batch.
    """
    share_state(method, fabric.world_size, buffers_only=True)
    dtype = torch.float64 if config.precision == "64-true" else torch.float32
    method.eval()
    try:
        together = has_shared_out_weights(method)
        rank, world = (0, 1) if together else (fabric.global_rank, fabric.world_size)
        batches = data.batches(fabric, dtype, rank=rank, world=world)
        figures = _losses(fabric, method, batches, len(data.pairs), config.micro_batch, world)
        if validator is not None:
            asked = together or fabric.is_global_zero
            figures |= validator(method, lambda: data.batches(fabric, dtype)) if asked else {}
        # The last digit may differ between hosts that compute the same; all have to decide by the same figures.
        figures = fabric.broadcast(figures)
    finally:
        method.train()
    return figures


def _losses(
    fabric: Fabric, method: Method, batches: Iterator[PairBatch], pairs: int, pieces: int | None, world: int
) -> dict[str, float]:
    """Means over so many pairs, whose batches ``world`` processes share."""
    sums: dict[str, torch.Tensor] = {}
    for batch in batches:
        losses = method.losses(encode_in_pieces(fabric, method, batch, pieces), SingleProcess())
        values = {LOSS_METRIC: losses.total} | {f"{LOSS_METRIC}/{name}": term for name, term in losses.terms.items()}
        for name, value in values.items():
            sums[name] = sums.get(name, torch.zeros((), dtype=torch.float64)) + value.double().cpu() * len(batch)
    names = fabric.broadcast(list(sums))
    table = torch.stack([sums.get(name, torch.zeros((), dtype=torch.float64)) for name in names]).to(fabric.device)
    means = sum_over_processes(table, world) / pairs
    return dict(zip(names, means.tolist(), strict=True))
