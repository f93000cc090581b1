"""Losses of a pair's sentences and regions that look at no other pair: one number for each pair
or each sentence.

Equations: `prior` spec, sections 3.2 to 3.7. Means over the whole batch are taken later, once it is gathered.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from crossray.alignment.precision import full_precision, without_autocast


def within_report_contrast(contexts: Tensor, sentences: Tensor, mask: Tensor, scale: Tensor) -> Tensor:
    """``[B]``: each sentence chooses its own context among those of its report, and the other way round (3.2).

    ``contexts [B, S, D]``, ``sentences [B, S, D]``, ``mask [B, S]``; ``scale`` is one over the temperature. A report of
    one sentence gives 0, and so does one of none.
    """
    with without_autocast(contexts):
        contexts = F.normalize(full_precision(contexts), dim=2)
        logits = scale * contexts @ F.normalize(full_precision(sentences), dim=2).transpose(1, 2)
        lowest = torch.finfo(logits.dtype).min
        own = logits.diagonal(dim1=1, dim2=2)
        by_row = logits.masked_fill(~mask.unsqueeze(1), lowest).logsumexp(dim=2) - own
        by_column = logits.masked_fill(~mask.unsqueeze(2), lowest).logsumexp(dim=1) - own
        losses = ((by_row + by_column) / 2).masked_fill(~mask, 0.0)
        return losses.sum(dim=1) / mask.sum(dim=1).clamp_min(1)


def without_negatives(predicted: Tensor, wanted: Tensor) -> Tensor:
    """``[B]``: minus the mean cosine of ``predicted [B, R, D]`` and ``wanted [B, R, D]``, which is held still (3.3)."""
    with without_autocast(predicted):
        cosines = F.cosine_similarity(full_precision(predicted), full_precision(wanted).detach(), dim=2)
        return -cosines.mean(dim=1)


def absolute_errors(first: Tensor, second: Tensor) -> Tensor:
    """Mean absolute difference of vectors: ``[..., D]`` twice to ``[...]`` (3.4, 3.6)."""
    with without_autocast(first):
        return (full_precision(first) - full_precision(second)).abs().mean(dim=-1)


def query_divergence(wanted_logits: Tensor, logits: Tensor) -> Tensor:
    """KL(softmax(wanted) ‖ softmax(logits)) over the last dimension: ``[..., K]`` twice to ``[...]`` (3.7)."""
    with without_autocast(logits):
        wanted = full_precision(wanted_logits).log_softmax(dim=-1)
        return (wanted.exp() * (wanted - full_precision(logits).log_softmax(dim=-1))).sum(dim=-1)
