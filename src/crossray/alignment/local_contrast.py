"""The contrast of items with what they see in the other modality, inside one pair (`lovt` spec, 3.3 and 3.4).

With anchors a_k (regions or sentences) and contexts c_l (what item l looks like through the other modality),
S_kl = cos(a_k, c_l) / temperature, and the positives' shares p_kl:

    to_context_k   = - sum_l p_kl log softmax over l of S_kl
    from_context_k = - sum_l p_kl log softmax over l of S_lk

Denominators hold the items of the same pair only. For regions p is :func:`crossray.alignment.grid_positives`, for
sentences the identity.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from crossray.alignment.precision import full_precision, without_autocast

_SMALLEST_NORM_PRODUCT = 1e-8


@dataclass(frozen=True)
class ItemLosses:
    """``[B, N]`` each: items choosing among contexts, contexts choosing among items; padding holds anything finite."""

    to_context: Tensor
    from_context: Tensor


def local_contrast(
    anchors: Tensor, contexts: Tensor, positives: Tensor, mask: Tensor, *, temperature: float, cosine: bool = True
) -> ItemLosses:
    """The losses of every item, in full precision.

    Args:
        anchors: ``[B, N, D]``.
        contexts: ``[B, N, D]``, of the same items.
        positives: ``[N, N]`` shares; each row sums to 1, and a real item has no positive among padding.
        mask: ``[B, N]`` bool, True = a real item; padding is in no denominator.
        temperature: tau'.
        cosine: whether lengths are divided out; otherwise scores are inner products (MGCA's films, under a ViT).
    """
    with without_autocast(anchors):
        anchors, contexts = full_precision(anchors), full_precision(contexts)
        scores = (_cosines(anchors, contexts) if cosine else anchors @ contexts.mT) / temperature
        return ItemLosses(_cross_entropy(scores, positives, mask), _cross_entropy(scores.mT, positives, mask))


def weighted_pair_loss(losses: ItemLosses, weights: Tensor, mask: Tensor) -> Tensor:
    """``[B]``: the mean of the two directions, summed over items by detached ``weights [B, N]`` made to sum to 1.

    The weights say how much an item matters; letting gradient through them would have the easy items weigh most
    (section 5.8). A pair whose weights are all 0 (no real item) has loss 0.
    """
    weights = full_precision(weights.detach()).masked_fill(~mask, 0.0)
    total = weights.sum(dim=1, keepdim=True)
    share = weights / total.masked_fill(total == 0, 1.0)
    both = (losses.to_context + losses.from_context) / 2
    return (share * both.masked_fill(~mask, 0.0)).sum(dim=1)


def _cosines(first: Tensor, second: Tensor) -> Tensor:
    """``[B, N, N]``; the product of the norms is clamped at 1e-8."""
    norms: Tensor = torch.linalg.vector_norm(first, dim=2).unsqueeze(2)
    lengths = norms * torch.linalg.vector_norm(second, dim=2).unsqueeze(1)
    cosines: Tensor = first @ second.mT / lengths.clamp_min(_SMALLEST_NORM_PRODUCT)
    return cosines


def _cross_entropy(scores: Tensor, positives: Tensor, mask: Tensor) -> Tensor:
    """``[B, N]``; since shares sum to 1, the cross-entropy is log sum exp S minus the mean positive score."""
    lowest = torch.finfo(scores.dtype).min
    total = scores.masked_fill(~mask.unsqueeze(1), lowest).logsumexp(dim=2)
    return total - (positives.to(scores.dtype) * scores).sum(dim=2)
