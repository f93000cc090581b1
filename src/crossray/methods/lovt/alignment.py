"""LoVT's alignment attention: each region sees the report, each sentence sees the film (`lovt` spec, section 2.4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crossray.alignment.bidirectional_attention import cross_attention, sentence_cosines
from crossray.methods.masked_norm import MaskedBatchNorm
from crossray.products import Linear


@dataclass(frozen=True)
class Contexts:
    """``of_regions [B, R, D]`` what each region sees in the report, ``of_sentences [B, S, D]`` the other way."""

    of_regions: Tensor
    of_sentences: Tensor


class AlignmentAttention(nn.Module):
    """Attention both ways with one query (and key), value and output map for both modalities, and one batch norm.

    The norm's scale and shift are shared by the two directions. Its running statistics are each direction's own
    unless ``shared_statistics``: the published module mixes both, so that its evaluation mode normalises neither
    (section 5.5).
    """

    def __init__(self, width: int, *, shared_statistics: bool) -> None:
        super().__init__()
        self.query = Linear(width, width)
        self.value = Linear(width, width)
        self.output = Linear(width, width)
        for layer in (self.query, self.value, self.output):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="linear")
            nn.init.zeros_(layer.bias)
        self.scale = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width))
        norms = 1 if shared_statistics else 2
        self.norms = nn.ModuleList(MaskedBatchNorm(width, affine=False) for _ in range(norms))

    def forward(
        self, regions: Tensor, sentences: Tensor, sentence_mask: Tensor, *, norm_over_padding: bool = False
    ) -> Contexts:
        """The contexts of pairs: ``regions [B, R, D]``, ``sentences [B, S, D]``, ``sentence_mask [B, S]``.

        Only what is real counts in the batch norm: the real sentences, and the regions of films whose report has one.
        ``norm_over_padding`` counts everything, with padded sentences as rows of the output's bias, as the published
        code does (section 5.4).
        """
        maps = cross_attention(self.query(regions), self.query(sentences), sentence_mask)
        seen_by_regions = self.output(maps.regions_to_sentences @ self.value(sentences))
        seen_by_sentences = self.output(maps.sentences_to_regions @ self.value(regions))
        has_text = sentence_mask.any(dim=1, keepdim=True).expand(regions.shape[:2])
        if norm_over_padding:
            has_text, sentence_mask = torch.ones_like(has_text), torch.ones_like(sentence_mask)
        return Contexts(  # regions first: where running statistics are shared, sentences have the last word
            of_regions=self._normalised(seen_by_regions, has_text, direction=0),
            of_sentences=self._normalised(seen_by_sentences, sentence_mask, direction=-1),
        )

    def sentence_maps(self, regions: Tensor, sentences: Tensor, sentence_mask: Tensor) -> Tensor:
        """Where each sentence of text i looks in film i: ``[B, S, R]``."""
        return cross_attention(self.query(regions), self.query(sentences), sentence_mask).sentences_to_regions

    def scores(self, regions: Tensor, sentences: Tensor, sentence_mask: Tensor) -> Tensor:
        """``[N, M]``: mean cosine of a report's sentences with what they see in a film, in evaluation mode.

        Attention sums to 1, and the norm is then a fixed affine map: both commute, so each region is normalised once.
        """
        everywhere = regions.new_ones(regions.shape[:2], dtype=torch.bool)
        contents = self._normalised(self.output(self.value(regions)), everywhere, direction=-1)
        return sentence_cosines(self.query(regions), contents, self.query(sentences), sentences, sentence_mask)

    def _normalised(self, values: Tensor, mask: Tensor, *, direction: int) -> Tensor:
        """By the statistics of a direction: 0 what regions see, -1 what sentences see (the same one where shared)."""
        normalised: Tensor = self.norms[direction](values, mask)
        return normalised * self.scale + self.shift
