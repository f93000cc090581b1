"""The local similarity of film i with report i alone, contexts formed: for scores that no all-pairs matrix holds."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from crossray.alignment.local_similarity import word_region_attention
from crossray.alignment.precision import full_precision, without_autocast


def paired_local_similarity(
    regions: Tensor, words: Tensor, word_mask: Tensor, *, gamma1: float, gamma2: float, average: bool = False
) -> Tensor:
    """``[B]`` scores of ``regions [B, R, D]`` and ``words [B, W, D]``: the diagonal of ``local_similarity``.

    ``average`` takes the mean over words (``aggregation: mean``) instead of the sum. A report without a word in
    ``word_mask [B, W]`` scores 0.
    """
    with without_autocast(regions):
        regions, words = full_precision(regions), full_precision(words)
        attention = word_region_attention(regions, words, word_mask, gamma1=gamma1)
        cosine = F.cosine_similarity(attention @ regions, words, dim=2, eps=1e-8)
        lowest = torch.finfo(cosine.dtype).min
        score = (gamma2 * cosine).masked_fill(~word_mask, lowest).logsumexp(dim=1)
        count = word_mask.sum(dim=1)
        if average:
            score = score - count.clamp_min(1).to(score.dtype).log()
        return score.masked_fill(count == 0, 0.0)
