"""Which items of a report a local term counts as words."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from crossray.alignment.masked import masked_mean
from crossray.methods.base import TextEmbedding

PromptLength = Literal["words", "characters"]


def counted_items(word_mask: Tensor, special_mask: Tensor, *, include_cls: bool, include_sep: bool) -> Tensor:
    """``[B, W]`` bool: the real words, and [CLS] (the first item) and [SEP] where they are included."""
    first = torch.arange(word_mask.shape[1], device=word_mask.device) == 0
    counted = word_mask & ~special_mask
    if include_cls:
        counted = counted | (special_mask & first)
    if include_sep:
        counted = counted | (special_mask & ~first)
    return counted


def character_slots(texts: TextEmbedding, slots: int) -> tuple[Tensor, Tensor]:
    """What GLoRIA's released code scores of a prompt: as many items after [CLS] as the prompt has characters.

    Behind the words stand [SEP] and zero vectors, up to the ``slots`` that every prompt is padded to; a longer count,
    on which that code breaks or scrambles its rows, ends there. Nothing depends on the other prompts.

    Returns:
        Items ``[M, slots, D]`` and which of them are scored, ``[M, slots]`` bool.

    Raises:
        ValueError: the embedding does not say how many characters its texts had.
    """
    if texts.characters is None:
        raise ValueError("prompts counted by characters need TextEmbedding.characters (JointModel gives it)")
    items = texts.words.masked_fill(~texts.word_mask.unsqueeze(2), 0.0)
    place = torch.arange(slots, device=items.device)
    scored = (place > 0) & (place <= texts.characters.unsqueeze(1))
    return F.pad(items, (0, 0, 0, slots - items.shape[1])), scored


def mean_attention(maps: Tensor, texts: TextEmbedding) -> Tensor:
    """``[B, R]``: the mean of the maps ``[B, W, R]`` of a phrase's words, without [CLS] and [SEP]."""
    return masked_mean(maps, texts.word_mask & ~texts.special_mask, dim=1)
