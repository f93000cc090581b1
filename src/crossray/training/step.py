"""One training step: encode, compare, backward. Three ways to go through a batch, one result."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from crossray.data.batch import PairBatch
from crossray.data.randomness import derived_seed
from crossray.errors import CrossRayError
from crossray.methods.base import Gather, LossTerms, Method, PairFeatures
from crossray.training.config import TrainingConfig
from crossray.training.gradient_cache import cached_backward


class DivergedError(CrossRayError):
    """A loss term or a gradient is no longer a number."""


@dataclass(frozen=True)
class StepLosses:
    """Values of one step: the weighted ``total`` and each unweighted term."""

    total: float
    terms: dict[str, float]


def seed_step(seed: int, step: int, rank: int) -> None:
    """Set the global generators (dropout and the like) for one step of one process.

    Because every step begins from its own number, a resumed run needs no saved generator states.
    """
    number = derived_seed(seed, step, rank)
    torch.manual_seed(number)
    random.seed(number)
    np.random.seed(number)


def encode(fabric: Fabric, method: Method, batch: PairBatch) -> PairFeatures:
    """The encoders under the run's precision; half-precision features come back as float32 for the losses."""
    with fabric.autocast():
        features = method.encode(batch)
    halves = (torch.float16, torch.bfloat16)
    return {name: value.float() if value.dtype in halves else value for name, value in features.items()}


def encode_in_pieces(fabric: Fabric, method: Method, batch: PairBatch, size: int | None) -> PairFeatures:
    """The features of a batch, encoded ``size`` pairs at a time (for use without gradient)."""
    pieces = [encode(fabric, method, piece) for piece in batch.micro_batches(size or len(batch))]
    return {name: torch.cat([features[name] for features in pieces]) for name in pieces[0]}


def backward_step(
    fabric: Fabric, method: Method, batch: PairBatch, gather: Gather, config: TrainingConfig, *, step: int
) -> StepLosses:
    """Leave the gradient of one step in the parameters (not yet averaged over processes).

    Raises:
        DivergedError: a loss term is not finite; the message names step and term.
    """
    pieces = batch.micro_batches(config.micro_batch or len(batch))
    if config.accumulation == "cached" and len(pieces) > 1:

        def compare(features: PairFeatures) -> Tensor:
            losses = method.losses(features, gather)
            values.append(finite_values(losses, step))
            fabric.backward(losses.total)
            return losses.total

        values: list[StepLosses] = []
        cached_backward(method, pieces, lambda piece: encode(fabric, method, piece), compare)
        return values[0]
    return _plain_backward(fabric, method, pieces, gather, step)


def _plain_backward(
    fabric: Fabric, method: Method, pieces: Sequence[PairBatch], gather: Gather, step: int
) -> StepLosses:
    """Each micro-batch contrasted by itself; the gradient is the mean over pairs."""
    pairs = sum(len(piece) for piece in pieces)
    total, terms = 0.0, dict[str, float]()
    for piece in pieces:
        losses = method.losses(encode(fabric, method, piece), gather)
        values = finite_values(losses, step)
        share = len(piece) / pairs
        fabric.backward(losses.total * share)
        total += share * values.total
        terms = {name: terms.get(name, 0.0) + share * value for name, value in values.terms.items()}
    return StepLosses(total, terms)


def finite_values(losses: LossTerms, step: int) -> StepLosses:
    """The losses as numbers, in one transfer from the device.

    Raises:
        DivergedError: one of them is not finite.
    """
    names = list(losses.terms)
    numbers = torch.stack([losses.total, *losses.terms.values()]).detach().double().cpu().tolist()
    terms = dict(zip(names, numbers[1:], strict=True))
    bad = [name for name, value in {**terms, "total": numbers[0]}.items() if not np.isfinite(value)]
    if bad:
        raise DivergedError(
            f"at step {step} the loss term '{bad[0]}' became {terms.get(bad[0], numbers[0])}; training stopped before "
            "the weights were touched.",
            remedy="Lower training.optimizer.learning_rate, set training.clip_norm, or use precision 32-true.",
        )
    return StepLosses(numbers[0], terms)
