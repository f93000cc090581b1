"""The published code's local triplet, whose negative report is read at the positive report's length.

Spec: `joimternet`, sections 3.4 and 6.2. A longer negative report is cut; behind a shorter one stand the encoder's
states of padding tokens, and they score as words do.
"""

from __future__ import annotations

import torch
from torch import Tensor

from crossray.alignment.paired_similarity import paired_local_similarity
from crossray.data.batch import TokenBatch
from crossray.devices import to_device
from crossray.encoders.features import TextFeatures
from crossray.methods.base import Gather
from crossray.methods.joimternet.config import JoImTeRNetConfig


def with_padding_states(texts: TextFeatures, tokens: TokenBatch) -> Tensor:
    """The items ``[B, W, C]`` with the states of padding tokens behind them, where the encoder leaves zeros.

    Where word-pieces were merged, a report has fewer items than tokens, and its last padding state is repeated.
    """
    merged = tokens.attention_mask.sum(dim=1) - texts.word_mask.sum(dim=1)
    place = torch.arange(texts.words.shape[1], device=merged.device) + merged.unsqueeze(1)
    place = place.clamp_max(texts.tokens.shape[1] - 1).unsqueeze(2).expand_as(texts.words)
    return torch.where(texts.word_mask.unsqueeze(2), texts.words, texts.tokens.gather(1, place))


def negative_report_scores(
    regions: Tensor, words: Tensor, word_mask: Tensor, negative: Tensor, config: JoImTeRNetConfig, gather: Gather
) -> Tensor:
    """``[B]`` local scores of film i and report n(i), read for as many items as report i has.

    Args:
        regions: ``[b, R, D]`` of this process's films.
        words: ``[B, W, D]`` of all processes' reports, padding states included; item 0 is [CLS].
        word_mask: ``[B, W]`` bool, the items that count; they begin with item 1.
        negative: ``[B]`` int64, n(i).
        config: attention, scale and aggregation.
        gather: joins the processes' scores.
    """
    own = slice(gather.rank * len(regions), (gather.rank + 1) * len(regions))
    place = torch.arange(words.shape[1], device=words.device)
    length = to_device(word_mask[own].sum(dim=1, keepdim=True), words.device)
    scores = paired_local_similarity(
        regions,
        words[negative[own]],
        (place > 0) & (place <= length),
        gamma1=config.gamma1,
        gamma2=config.gamma2,
        average=config.aggregation == "mean",
    )
    return gather(scores)
