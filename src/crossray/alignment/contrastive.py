"""Symmetric InfoNCE, with its positives named.

Which pairs count as positives is one of three things:

- ``identity``: a film's own report only;
- ``same_text``: also the reports whose normalised text is identical to its own;
- ``same_label``: also the studies whose labels are all known and all equal to its own.

What happens to the positives besides the own pair is another:

- ``target``: the target is spread evenly over all positives,
  ``-mean_{p in P(i)} log softmax_j(l_ij)[p]``;
- ``masked``: the own pair is the only target, and the others leave the denominator (neither pulled nor pushed).

With ``identity`` both are plain InfoNCE (`baselines` spec, building block; `global_local` spec, section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from crossray.alignment.precision import full_precision, without_autocast

OtherPositives = Literal["target", "masked"]

_SMALLEST_NORM_PRODUCT = 1e-8


@dataclass(frozen=True)
class DirectionalLosses:
    """One scalar each way: films choosing among reports, and reports choosing among films."""

    image_to_text: Tensor
    text_to_image: Tensor


def cosine_matrix(first: Tensor, second: Tensor) -> Tensor:
    """Cosines ``[N, M]`` of ``first [N, D]`` and ``second [M, D]``, in full precision.

    The product of the norms is clamped at 1e-8: a zero vector has cosine 0 with everything.
    """
    with without_autocast(first):
        first, second = full_precision(first), full_precision(second)
        norms: Tensor = torch.linalg.vector_norm(first, dim=1).outer(torch.linalg.vector_norm(second, dim=1))
        return (first @ second.T) / norms.clamp_min(_SMALLEST_NORM_PRODUCT)


def identity_positives(count: int, device: torch.device | str = "cpu") -> Tensor:
    """``[B, B]`` bool: each pair is positive with itself only."""
    return torch.eye(count, dtype=torch.bool, device=device)


def same_text_positives(text_group: Tensor) -> Tensor:
    """``[B, B]`` bool: pairs whose normalised report text is identical (``text_group [B]`` is equal)."""
    return text_group.unsqueeze(0) == text_group.unsqueeze(1)


def same_label_positives(label_codes: Tensor) -> Tensor:
    """``[B, B]`` bool: pairs whose labels are all known and all equal, and each pair with itself.

    ``label_codes [B, K]`` integer: 1 present, 0 absent, -1 unknown. A row with an unknown label has no other positive.
    """
    equal = (label_codes.unsqueeze(0) == label_codes.unsqueeze(1)).all(dim=2)
    known = (label_codes >= 0).all(dim=1)
    return (equal & known) | identity_positives(len(label_codes), label_codes.device)


def info_nce(logits: Tensor, positives: Tensor, other_positives: OtherPositives = "target") -> Tensor:
    """Mean over rows of the cross-entropy of each row's choice among the columns; scalar.

    Args:
        logits: ``[B, B]``, row i's own column is i, already scaled.
        positives: ``[B, B]`` bool, the diagonal included.
        other_positives: what happens to positives off the diagonal (see the module).
    """
    with without_autocast(logits):
        logits = full_precision(logits)
        if other_positives == "masked":
            own = identity_positives(len(logits), logits.device)
            logits = logits.masked_fill(positives & ~own, -torch.inf)
            return (logits.logsumexp(dim=1) - logits.diagonal()).mean()
        target = positives / positives.sum(dim=1, keepdim=True)
        return (logits.logsumexp(dim=1) - (target.to(logits.dtype) * logits).sum(dim=1)).mean()


def symmetric_info_nce(
    scores: Tensor,
    positives: Tensor,
    *,
    scale: float | Tensor,
    other_positives: OtherPositives = "target",
    excluded: Tensor | None = None,
) -> DirectionalLosses:
    """InfoNCE in both directions on ``scores [B, B]`` (rows films, columns reports), multiplied by ``scale``.

    ``scale`` is one over the temperature. ``excluded [B, B]`` bool, never on the diagonal, leave the denominator and
    are no targets (two films of one study). The two directions are returned apart: how they are weighted
    (summed, averaged, 0.75 to 0.25) is each method's own, and stands in its loss weights.
    """
    with without_autocast(scores):
        logits = scale * full_precision(scores)
        if excluded is not None:
            positives = positives & ~excluded
            # Not -inf: a target of zero there would give NaN.
            logits = logits.masked_fill(excluded, torch.finfo(logits.dtype).min)
        return DirectionalLosses(
            image_to_text=info_nce(logits, positives, other_positives),
            text_to_image=info_nce(logits.T, positives.T, other_positives),
        )
