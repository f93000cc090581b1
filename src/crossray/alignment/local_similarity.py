"""Similarity of films and reports through regions and words, and the attention maps behind it.

Equations: `global_local` spec, section 3.2 (also `joimternet`, section 3.2).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from crossray.alignment.attended_cosine import CHUNK_ELEMENTS, attended_cosine, pack_words
from crossray.alignment.masked import masked_softmax
from crossray.alignment.precision import full_precision, without_autocast
from crossray.alignment.segments import segment_logsumexp, segment_max

Aggregation = Literal["sum", "mean", "max"]


def local_similarity(
    regions: Tensor,
    words: Tensor,
    word_mask: Tensor,
    *,
    gamma1: float,
    gamma2: float,
    aggregation: Aggregation = "sum",
    chunk_elements: int = CHUNK_ELEMENTS,
) -> Tensor:
    """Scores ``[N, M]`` of films ``regions [N, R, D]`` against reports ``words [M, W, D]``, in full precision.

    Args:
        regions: not normalised, unless the method says so.
        words: padded anyhow; only those of the mask are read.
        word_mask: ``[M, W]`` bool, the items that count: both in the softmax over words and in the aggregation.
            Whether [CLS] and [SEP] are among them is the caller's choice. It may have stayed with the host: then the
            host need not wait for the device to read it.
        gamma1: sharpness of the attention over regions.
        gamma2: scale of the word cosines.
        aggregation: over a report's words: ``sum`` log sum exp(gamma2 cos), ``mean`` log mean exp(gamma2 cos),
            ``max`` gamma2 max cos.
        chunk_elements: bound on words x films x regions worked on at once (see ``attended_cosine``).

    A report without a word in the mask scores 0 with every film, as one word of cosine 0 would.
    """
    with without_autocast(regions):
        packed = pack_words(full_precision(words), word_mask)
        cosine = attended_cosine(full_precision(regions), packed, gamma1=gamma1, chunk_elements=chunk_elements)
        reports = len(packed.lengths)
        if aggregation == "max":
            return segment_max(gamma2 * cosine, packed.report, reports).T
        score = segment_logsumexp(gamma2 * cosine, packed.report, reports).T
        if aggregation == "mean":
            score = score - packed.count.clamp_min(1).to(score.dtype).log()
        return score


def region_scores(regions: Tensor, words: Tensor, word_mask: Tensor, *, gamma2: float) -> Tensor:
    """What each region would score if it were the whole film: ``[B, R]`` from ``[B, R, D]``, ``[B, W, D]``, ``[B, W]``.

    The ``sum`` of :func:`local_similarity` with one region, to which all attention then goes:
    log sum exp(gamma2 cos) over the words. Where a text points, this says more than its attention, which the first
    softmax divides among the words: a word that fits a region hardly better than its neighbours looks everywhere.
    A text without a word in the mask scores 0 everywhere.
    """
    with without_autocast(regions):
        directions = F.normalize(full_precision(regions), dim=2), F.normalize(full_precision(words), dim=2)
        cosine = torch.einsum("brd,bwd->brw", *directions)
        scores = (gamma2 * cosine).masked_fill(~word_mask.unsqueeze(1), torch.finfo(cosine.dtype).min)
        return scores.logsumexp(dim=2).masked_fill(~word_mask.any(dim=1, keepdim=True), 0.0)


def word_region_attention(regions: Tensor, words: Tensor, word_mask: Tensor, *, gamma1: float) -> Tensor:
    """Attention maps of pairs, for display: ``[B, W, R]`` from ``[B, R, D]``, ``[B, W, D]`` and ``[B, W]``.

    Each real word's row sums to 1; rows of padding are zero.
    """
    with without_autocast(regions):
        scores = torch.einsum("bwd,brd->bwr", full_precision(words), full_precision(regions))
        real = word_mask.unsqueeze(2)
        over_words = masked_softmax(scores, real, dim=1)
        return (gamma1 * over_words).softmax(dim=2).masked_fill(~real, 0.0)
