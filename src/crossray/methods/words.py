"""Which items of a report a local term counts as words."""

from __future__ import annotations

import torch
from torch import Tensor

from crossray.alignment.masked import masked_mean
from crossray.methods.base import TextEmbedding


def counted_items(word_mask: Tensor, special_mask: Tensor, *, include_cls: bool, include_sep: bool) -> Tensor:
    """``[B, W]`` bool: the real words, and [CLS] (the first item) and [SEP] where they are included."""
    first = torch.arange(word_mask.shape[1], device=word_mask.device) == 0
    counted = word_mask & ~special_mask
    if include_cls:
        counted = counted | (special_mask & first)
    if include_sep:
        counted = counted | (special_mask & ~first)
    return counted


def mean_attention(maps: Tensor, texts: TextEmbedding) -> Tensor:
    """``[B, R]``: the mean of the maps ``[B, W, R]`` of a phrase's words, without [CLS] and [SEP]."""
    return masked_mean(maps, texts.word_mask & ~texts.special_mask, dim=1)
