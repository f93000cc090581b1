"""One training step: encode, compare, backward. Three ways to go through a batch, one result."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
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
from crossray.training.profiling import span


class DivergedError(CrossRayError):
    """A loss term or a gradient is no longer a number."""


@dataclass(frozen=True)
class StepValues:
    """Values of one step: the weighted ``total``, each unweighted term, and what else was read with them."""

    total: float
    terms: dict[str, float]
    others: list[float]


@dataclass(frozen=True)
class StepLosses:
    """Losses of one step, still on the device.

    Attributes:
        names: of the terms.
        pieces: for each micro-batch ``[1 + terms]``, the weighted total first; a single one if all pairs met.
        shares: what each micro-batch counts.
    """

    names: tuple[str, ...]
    pieces: tuple[Tensor, ...]
    shares: tuple[float, ...] = (1.0,)

    def read(self, step: int, others: Sequence[Tensor] = ()) -> StepValues:
        """The losses as numbers, and ``others`` (scalars) with them: the one time in a step the host waits.

        Raises:
            DivergedError: one of the losses is not finite.
        """
        parts = [*self.pieces, *(other.detach().to(self.pieces[0].dtype).reshape(1) for other in others)]
        numbers: list[float] = torch.cat(parts).cpu().tolist()
        width = 1 + len(self.names)
        sums = [0.0] * width
        for place, share in enumerate(self.shares):
            sums = [a + share * b for a, b in zip(sums, numbers[place * width : (place + 1) * width], strict=True)]
        terms = dict(zip(self.names, sums[1:], strict=True))
        _require_finite({**terms, "total": sums[0]}, step)
        return StepValues(sums[0], terms, numbers[len(self.pieces) * width :])


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
    fabric: Fabric, method: Method, batch: PairBatch, gather: Gather, config: TrainingConfig
) -> StepLosses:
    """Leave the gradient of one step in the parameters (not yet averaged over processes); nothing is read back."""
    pieces = batch.micro_batches(config.micro_batch or len(batch))
    if config.accumulation == "cached" and len(pieces) > 1:

        def compare(features: PairFeatures) -> Tensor:
            with span("losses"):
                losses = method.losses(features, gather)
            found.append(losses)
            with span("backward"):
                fabric.backward(losses.total)
            return losses.total

        found: list[LossTerms] = []
        cached_backward(method, pieces, lambda piece: encode(fabric, method, piece), compare)
        return StepLosses(tuple(found[0].terms), (_stacked(found[0]),))
    return _plain_backward(fabric, method, pieces, gather)


def _plain_backward(fabric: Fabric, method: Method, pieces: Sequence[PairBatch], gather: Gather) -> StepLosses:
    """Each micro-batch contrasted by itself; the gradient is the mean over pairs."""
    pairs = sum(len(piece) for piece in pieces)
    shares = tuple(len(piece) / pairs for piece in pieces)
    values: list[Tensor] = []
    names: tuple[str, ...] = ()
    for piece, share in zip(pieces, shares, strict=True):
        features = encode(fabric, method, piece)
        with span("losses"):
            losses = method.losses(features, gather)
        with span("backward"):
            fabric.backward(losses.total * share)
        names = tuple(losses.terms)
        values.append(_stacked(losses))
    return StepLosses(names, tuple(values), shares)


def _stacked(losses: LossTerms) -> Tensor:
    return torch.stack([losses.total, *losses.terms.values()]).detach()


def _require_finite(values: Mapping[str, float], step: int) -> None:
    bad = [name for name, value in values.items() if not np.isfinite(value)]
    if bad:
        raise DivergedError(
            f"at step {step} the loss term '{bad[0]}' became {values[bad[0]]}; training stopped before the weights "
            "were touched.",
            remedy="Lower training.optimizer.learning_rate, set training.clip_norm, or use precision 32-true.",
        )
