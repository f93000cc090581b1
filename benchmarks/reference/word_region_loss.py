"""The all-pairs word-region loss in the structure of the published code (`global_local` spec, section 3.2).

One report after another is set against all films: its words are repeated for every film, both softmaxes are taken,
the contexts are formed, and their cosines with the words are aggregated. The score matrix is joined at the end.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

GAMMA1, GAMMA2, GAMMA3 = 4.0, 5.0, 10.0


def loop_scores(regions: Tensor, words: Tensor, word_mask: Tensor, *, padded: bool = False) -> Tensor:
    """Scores ``[B, M]`` of films ``[B, R, D]`` and reports ``[M, W, D]``.

    The published code cuts each report to its own words (`joimternet` spec, section 3.1). With ``padded`` all are as
    long as the longest, and the padding is masked: the same scores at more cost.
    """
    lengths: list[int] = word_mask.sum(dim=1).tolist()
    columns = []
    for report, length in enumerate(lengths):
        kept = max(lengths) if padded else length
        columns.append(_scores_of_report(regions, words[report, :kept], word_mask[report, :kept]))
    return torch.stack(columns, dim=1)


def _scores_of_report(regions: Tensor, words: Tensor, mask: Tensor) -> Tensor:
    films, hidden = len(regions), not bool(mask.all())
    word = words.unsqueeze(0).repeat(films, 1, 1)
    scores = torch.bmm(regions, word.transpose(1, 2))
    if hidden:
        scores = scores.masked_fill(~mask, -torch.inf)
    over_words = scores.softmax(dim=2)
    attention = (GAMMA1 * over_words).transpose(1, 2).softmax(dim=2)
    context = torch.bmm(attention, regions)
    cosine = F.cosine_similarity(word, context, dim=2, eps=1e-8)
    if hidden:
        cosine = cosine.masked_fill(~mask, -torch.inf)
    return (GAMMA2 * cosine).exp().sum(dim=1).log()


def loop_loss(regions: Tensor, words: Tensor, word_mask: Tensor, *, padded: bool = False) -> Tensor:
    """Both directions of the local contrast, each pair its own positive; scalar."""
    logits = GAMMA3 * loop_scores(regions, words, word_mask, padded=padded)
    own = torch.arange(len(logits), device=logits.device)
    return F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)
