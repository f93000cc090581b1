"""Masked language modelling on a text encoder: corrupt the tokens, name the original ones.

Spec: `joimternet`, section 3.5. [PAD], [CLS], [SEP], [UNK] and [MASK] are never chosen, never drawn as a replacement,
and [MASK] is no answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crossray.data.batch import TokenBatch
from crossray.encoders.tokenizer import ReportTokenizer

_MASKED, _REPLACED = 0.8, 0.1  # of the chosen tokens; the rest stays as it is
_LAYER_NORM_EPSILON = 1e-12


@dataclass(frozen=True)
class CorruptedTokens:
    """What the encoder reads instead, and the places ``chosen [B, L]`` whose tokens it must name."""

    tokens: TokenBatch
    chosen: Tensor


@dataclass(frozen=True)
class LanguageLoss:
    """Sum of the cross-entropies of each report's chosen places, ``total [B]``, and their number, ``count [B]``."""

    total: Tensor
    count: Tensor


class MaskedLanguageModel(nn.Module):
    """Corruption, and the head that names the tokens.

    Args:
        channels: of the text encoder.
        tokenizer: knows which tokens are special.
        probability: with which a regular token is chosen.
    """

    is_regular: Tensor
    regular_ids: Tensor

    def __init__(self, channels: int, tokenizer: ReportTokenizer, probability: float) -> None:
        super().__init__()
        self.probability = probability
        self.mask_id = tokenizer.mask_id
        is_regular = torch.ones(tokenizer.vocabulary_size, dtype=torch.bool)
        is_regular[list(tokenizer.special_ids)] = False
        self.register_buffer("is_regular", is_regular, persistent=False)
        self.register_buffer("regular_ids", is_regular.nonzero().squeeze(1), persistent=False)
        self.head = nn.Sequential(
            nn.Linear(channels, channels),
            nn.GELU(),
            nn.LayerNorm(channels, eps=_LAYER_NORM_EPSILON),
            nn.Linear(channels, tokenizer.vocabulary_size - 1),
        )

    def corrupt(self, tokens: TokenBatch) -> CorruptedTokens:
        """Choose tokens; 80 % become [MASK], 10 % any regular word, 10 % stay. Draws from the default generator."""
        ids = tokens.input_ids
        chance, action = (torch.rand(ids.shape, device=ids.device) for _ in range(2))
        chosen = (chance < self.probability) & self.is_regular[ids] & tokens.attention_mask
        others = self.regular_ids[torch.randint(len(self.regular_ids), ids.shape, device=ids.device)]
        shown = torch.where(action < _MASKED, self.mask_id, torch.where(action < _MASKED + _REPLACED, others, ids))
        return CorruptedTokens(replace(tokens, input_ids=torch.where(chosen, shown, ids)), chosen)

    def forward(self, states: Tensor, original_ids: Tensor, chosen: Tensor) -> LanguageLoss:
        """The loss of each report.

        Args:
            states: ``[B, L, C]`` what the encoder makes of the corrupted tokens.
            original_ids: ``[B, L]``.
            chosen: ``[B, L]`` bool.
        """
        report, place = chosen.nonzero(as_tuple=True)
        wanted = original_ids[report, place]
        # The answers are the vocabulary without [MASK]: ids above it move down by one.
        losses = F.cross_entropy(
            self.head(states[report, place]), wanted - (wanted > self.mask_id).to(wanted.dtype), reduction="none"
        )
        total = losses.new_zeros(len(states)).index_add(0, report, losses)
        return LanguageLoss(total, chosen.sum(dim=1))
