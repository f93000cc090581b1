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
from crossray.devices import to_device
from crossray.encoders.tokenizer import ReportTokenizer

_MASKED, _REPLACED = 0.8, 0.1  # of the chosen tokens; the rest stays as it is
_LAYER_NORM_EPSILON = 1e-12


@dataclass(frozen=True)
class CorruptedTokens:
    """What the encoder reads instead, and the places ``chosen [B, L]``, with the host, whose tokens it must name."""

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

    def __init__(self, channels: int, tokenizer: ReportTokenizer, probability: float) -> None:
        super().__init__()
        self.probability = probability
        self.mask_id = tokenizer.mask_id
        is_regular = torch.ones(tokenizer.vocabulary_size, dtype=torch.bool)
        is_regular[list(tokenizer.special_ids)] = False
        self._is_regular, self._regular_ids = is_regular, is_regular.nonzero().squeeze(1)  # no buffers: for the host
        self.head = nn.Sequential(
            nn.Linear(channels, channels),
            nn.GELU(),
            nn.LayerNorm(channels, eps=_LAYER_NORM_EPSILON),
            nn.Linear(channels, tokenizer.vocabulary_size - 1),
        )

    def corrupt(self, tokens: TokenBatch) -> CorruptedTokens:
        """Choose tokens; 80 % become [MASK], 10 % any regular word, 10 % stay. Draws from the default generator.

        The host chooses, so that it knows without waiting how many tokens are to be named.
        """
        ids = tokens.readable.input_ids
        chance, action = (torch.rand(ids.shape) for _ in range(2))
        chosen = (chance < self.probability) & self._is_regular[ids] & tokens.readable.attention_mask
        others = self._regular_ids[torch.randint(len(self._regular_ids), ids.shape)]
        shown = torch.where(action < _MASKED, self.mask_id, torch.where(action < _MASKED + _REPLACED, others, ids))
        shown = torch.where(chosen, shown, ids)
        source = None if tokens.source is None else replace(tokens.source, input_ids=shown)
        moved = to_device(shown, tokens.input_ids.device)
        return CorruptedTokens(replace(tokens, input_ids=moved, source=source), chosen)

    def forward(self, states: Tensor, original_ids: Tensor, chosen: Tensor) -> LanguageLoss:
        """The loss of each report.

        Args:
            states: ``[B, L, C]`` what the encoder makes of the corrupted tokens.
            original_ids: ``[B, L]``, with the host.
            chosen: ``[B, L]`` bool, with the host.
        """
        wanted = original_ids[chosen]
        # The answers are the vocabulary without [MASK]: ids above it move down by one.
        answers = wanted - (wanted > self.mask_id).to(wanted.dtype)
        report, place, answers, count = (
            to_device(numbers, states.device)
            for numbers in (*chosen.nonzero(as_tuple=True), answers, chosen.sum(dim=1))
        )
        losses = F.cross_entropy(self.head(states[report, place]), answers, reduction="none")
        total = losses.new_zeros(len(states)).index_add(0, report, losses)
        return LanguageLoss(total, count)
