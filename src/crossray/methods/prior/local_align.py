"""The local alignment module: regions and sentences of one pair look at each other (`prior` spec, 2.5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crossray.alignment.masked import masked_softmax
from crossray.alignment.precision import full_precision, without_autocast
from crossray.methods.prior.config import Attention
from crossray.products import Linear


@dataclass(frozen=True)
class LocalContexts:
    """What each side finds in the other.

    Attributes:
        of_sentences: ``[B, S, D]`` C^t, image evidence for each sentence; rows of padding hold anything.
        of_regions: ``[B, R, D]`` C^v, text evidence for each region; zero where a report has no sentence.
        sentence_to_region: ``[B, S, R]`` weights behind ``of_sentences``.
        region_to_sentence: ``[B, R, S]`` weights behind ``of_regions``; zero on padding.
    """

    of_sentences: Tensor
    of_regions: Tensor
    sentence_to_region: Tensor
    region_to_sentence: Tensor


class LocalAlign(nn.Module):
    """Single-head cross-attention both ways, without output projection, residual or norm.

    Args:
        width: D.
        sentence_attention: how a sentence weighs regions. With ``sigmoid`` several regions may match it in full.
        region_attention: how a region weighs sentences. With ``sigmoid`` it may match none.
    """

    def __init__(self, width: int, sentence_attention: Attention, region_attention: Attention) -> None:
        super().__init__()
        self.sentence_attention: Attention = sentence_attention
        self.region_attention: Attention = region_attention
        self.sentence_query, self.sentence_key, self.sentence_value = (Linear(width, width) for _ in range(3))
        self.region_query, self.region_key, self.region_value = (Linear(width, width) for _ in range(3))
        self._scale: float = width**-0.5

    def forward(self, regions: Tensor, sentences: Tensor, mask: Tensor) -> LocalContexts:
        """``regions [B, R, D]``, ``sentences [B, S, D]``, ``mask [B, S]``: True = a real sentence."""
        to_region = self._weigh(self.sentence_scores(regions, sentences), self.sentence_attention)
        to_sentence = self._weigh(self.region_scores(regions, sentences), self.region_attention, mask.unsqueeze(1))
        region_values, sentence_values = self.region_value(regions), self.sentence_value(sentences)
        with without_autocast(regions):
            return LocalContexts(
                of_sentences=to_region @ full_precision(region_values),
                of_regions=to_sentence @ full_precision(sentence_values),
                sentence_to_region=to_region,
                region_to_sentence=to_sentence,
            )

    def sentence_scores(self, regions: Tensor, sentences: Tensor) -> Tensor:
        """Raw scores ``[B, S, R]`` of sentences for regions."""
        return self._scores(self.sentence_query(sentences), self.region_key(regions))

    def region_scores(self, regions: Tensor, sentences: Tensor) -> Tensor:
        """Raw scores ``[B, R, S]`` of regions for sentences."""
        return self._scores(self.region_query(regions), self.sentence_key(sentences))

    def match(self, regions: Tensor, sentences: Tensor, mask: Tensor) -> Tensor | None:
        """How well every film fits every report: ``[N, M]`` of ``[N, R, D]``, ``[M, S, D]`` and ``[M, S]``.

        The mean sigmoid weight over regions and real sentences, mean of both directions (`downstream_protocols` spec,
        3.2); a report without a sentence scores 0. A direction with softmax is left out, since its rows sum to 1
        whatever they look at; ``None`` where both have it.
        """
        everywhere = regions.flatten(0, 1).unsqueeze(0), sentences.flatten(0, 1).unsqueeze(0)
        shape = (len(regions), -1, *mask.shape)
        means = []
        if self.sentence_attention == "sigmoid":
            means.append(_mean_weight(self.sentence_scores(*everywhere)[0].T.reshape(shape), mask))
        if self.region_attention == "sigmoid":
            means.append(_mean_weight(self.region_scores(*everywhere)[0].view(shape), mask))
        return torch.stack(means).mean(dim=0) if means else None

    def _scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        with without_autocast(queries):
            return self._scale * full_precision(queries) @ full_precision(keys).transpose(1, 2)

    @staticmethod
    def _weigh(scores: Tensor, kind: Attention, mask: Tensor | None = None) -> Tensor:
        real = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask
        if kind == "softmax":
            return masked_softmax(scores, real, dim=2)
        return scores.sigmoid().masked_fill(~real, 0.0)


def _mean_weight(scores: Tensor, mask: Tensor) -> Tensor:
    """Mean sigmoid of ``[N, R, M, S]`` over regions and the real sentences of ``mask [M, S]``: ``[N, M]``."""
    weights = scores.sigmoid().mean(dim=1).masked_fill(~mask, 0.0)
    return weights.sum(dim=2) / mask.sum(dim=1).clamp_min(1)
