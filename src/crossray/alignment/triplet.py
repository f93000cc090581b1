"""Triplet matching: each pair scores higher than a randomly drawn negative, by a margin.

Spec: `joimternet`, section 3.4. One negative ``n(i)`` serves both directions (and every level that is compared):

    T_i2t = mean_i [S(i, n(i)) - S(i, i) + margin]_+,    T_t2i = mean_i [S(n(i), i) - S(i, i) + margin]_+
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from crossray.alignment.contrastive import DirectionalLosses
from crossray.alignment.precision import full_precision, without_autocast


@dataclass(frozen=True)
class Negatives:
    """One other pair for each: ``index [B]`` int64; where ``exists [B]`` is false a pair has none."""

    index: Tensor
    exists: Tensor


def drawn_negatives(draws: Tensor, allowed: Tensor) -> Negatives:
    """A negative for each pair, every allowed one as likely as the others.

    Args:
        draws: ``[B]`` int64, uniform over a range much larger than B. Whoever draws them makes them the same on every
            process.
        allowed: ``[B, B]`` bool: whether pair j may be the negative of pair i.
    """
    places = allowed.cumsum(dim=1)
    count = places[:, -1]
    chosen = draws % count.clamp_min(1) + 1
    is_chosen = allowed & (places == chosen.unsqueeze(1))
    return Negatives(index=is_chosen.to(torch.int64).argmax(dim=1), exists=count > 0)


def triplet_matching(
    scores: Tensor, negatives: Negatives, *, margin: float, negative_report_scores: Tensor | None = None
) -> DirectionalLosses:
    """The two directions on ``scores [B, B]`` (rows films, columns reports); a pair without negative costs nothing.

    Args:
        scores: not scaled by a temperature.
        negatives: one for each pair.
        margin: by which the own pair should win.
        negative_report_scores: ``[B]`` scores of film i and its negative report, where they are not
            ``scores[i, n(i)]`` (``legacy_triplet_length``).
    """
    with without_autocast(scores):
        scores = full_precision(scores)
        own = scores.diagonal()
        if negative_report_scores is None:
            negative_report_scores = scores.gather(1, negatives.index.unsqueeze(1)).squeeze(1)
        negative_film_scores = scores.gather(0, negatives.index.unsqueeze(0)).squeeze(0)
        return DirectionalLosses(
            image_to_text=_mean_hinge(full_precision(negative_report_scores), own, negatives, margin),
            text_to_image=_mean_hinge(negative_film_scores, own, negatives, margin),
        )


def _mean_hinge(negative: Tensor, own: Tensor, negatives: Negatives, margin: float) -> Tensor:
    hinge = (negative - own + margin).clamp_min(0)
    return hinge.masked_fill(~negatives.exists, 0.0).mean()
