"""Gradient caching: the gradient of a large contrastive batch with the memory of a small one.

The batch is encoded piece by piece without gradient; the losses compare all pairs once and yield the gradient of the
features; then each piece is encoded again, with the same dropout, and that gradient is sent through it. The first piece
is encoded once, with gradient: it is the first to be sent back, so that no two pieces' activations exist at a time.
Exact, unless the encoders' output for a pair depends on its neighbours: batch norm with live statistics does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from crossray.data.batch import PairBatch
from crossray.methods.base import PairFeatures
from crossray.training.profiling import span
from crossray.training.sharding import own_part

Encode = Callable[[PairBatch], PairFeatures]


def cached_backward(
    model: nn.Module,
    pieces: Sequence[PairBatch],
    encode: Encode,
    compare_and_backward: Callable[[PairFeatures], object],
) -> None:
    """Leave the gradient of the whole batch in the parameters.

    Args:
        model: the encoders, whose running statistics must not count a piece twice.
        pieces: the batch in micro-batches.
        encode: a piece's features, drawing dropout from torch's generators.
        compare_and_backward: computes the loss of the joined features and runs its backward pass.
    """
    device = pieces[0].pixels.device
    kept = encode(pieces[0])
    states, encoded = [], [{name: feature.detach() for name, feature in kept.items()}]
    with torch.no_grad(), paused_running_statistics(model):
        for piece in pieces[1:]:
            states.append(_generator_state(device))
            encoded.append(encode(piece))
    joined = {name: torch.cat([features[name] for features in encoded]) for name in encoded[0]}
    for features in joined.values():
        features.requires_grad_(features.is_floating_point())
    compare_and_backward(joined)
    sizes = [len(piece) for piece in pieces]
    gradients = {
        name: torch.split(features.grad, sizes) for name, features in joined.items() if features.grad is not None
    }
    _send_back(kept, {name: parts[0] for name, parts in gradients.items()})
    del kept
    for number, (piece, state) in enumerate(zip(pieces[1:], states, strict=True), start=1):
        _set_generator_state(device, state)
        _send_back(encode(piece), {name: parts[number] for name, parts in gradients.items()})


def _send_back(features: PairFeatures, gradients: PairFeatures) -> None:
    """The backward pass of one piece; features that nothing trainable made are left out."""
    reached = [name for name in gradients if features[name].requires_grad]
    if reached:
        with span("backward"):
            torch.autograd.backward([features[name] for name in reached], [gradients[name] for name in reached])


@contextmanager
def paused_running_statistics(model: nn.Module) -> Iterator[None]:
    """Batch norm normalises as it would, but its running statistics stay as they are."""
    tracking = [module for module in batch_norms(model) if module.track_running_stats]
    for module in tracking:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """The batch norms of a model (timm's and SyncBatchNorm included)."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def has_live_batch_norm(model: nn.Module) -> bool:
    """Whether a batch norm of a model in training mode uses the statistics of its batch."""
    return any(module.training for module in batch_norms(model))


def caching_deviation(
    model: nn.Module, batch: PairBatch, encode: Encode, compare_and_backward: Callable[[PairFeatures], Tensor]
) -> tuple[float, float]:
    """How far caching in two halves is from the batch at once: relative difference of loss and of the gradient.

    The model is left as it was (gradients cleared, running statistics untouched).
    """
    device = batch.pixels.device
    state = _generator_state(device)
    losses: list[float] = []

    def compare(features: PairFeatures) -> None:
        losses.append(compare_and_backward(features).item())

    def gradient_through(pieces: Sequence[PairBatch]) -> Tensor:
        _set_generator_state(device, state)
        model.zero_grad(set_to_none=True)
        cached_backward(model, pieces, encode, compare)
        parts = [own_part(parameter.grad).reshape(-1) for parameter in model.parameters() if parameter.grad is not None]
        return torch.cat([part.double() for part in parts])

    with paused_running_statistics(model):
        whole = gradient_through([batch])
        halves = gradient_through(batch.micro_batches(-(-len(batch) // 2)))
    model.zero_grad(set_to_none=True)
    _set_generator_state(device, state)
    of_gradient = (halves - whole).norm() / whole.norm().clamp_min(torch.finfo(torch.float64).tiny)
    return abs(losses[1] - losses[0]) / max(abs(losses[0]), 1e-300), float(of_gradient)


def _generator_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def _set_generator_state(device: torch.device, state: tuple[Tensor, Tensor | None]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1], device)
