"""Regions against sentences of one pair: the two local losses (`prior` spec, 3.2 and 3.3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from crossray.alignment.sentence_terms import within_report_contrast, without_negatives
from crossray.methods.prior.config import PriorConfig
from crossray.methods.prior.local_align import LocalAlign, LocalContexts
from crossray.methods.prior.terms import PairTerm, ReadReport, mean_over_pairs
from crossray.products import Linear


class LocalTerms(nn.Module):
    """The alignment module, the predictor of the loss without negatives, and the learned scale of the other."""

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        width = config.embed_dim
        self.align = LocalAlign(width, config.sentence_attention, config.region_attention)
        first = Linear(width, width // 2)
        nn.init.normal_(first.weight, std=width**-0.5)  # as the release begins it
        self.predictor = nn.Sequential(first, nn.ReLU(), Linear(width // 2, width))
        self.log_scale = nn.Parameter(torch.tensor(-math.log(config.temperature)))

    def forward(
        self, regions: Tensor, report: ReadReport, contexts: LocalContexts, weights: dict[str, float]
    ) -> dict[str, PairTerm]:
        """The terms that have a weight; a report without a sentence is not counted."""
        terms: dict[str, PairTerm] = {}
        has_sentence = report.mask.any(dim=1)
        if "local_text" in weights:
            losses = within_report_contrast(contexts.of_sentences, report.sentences, report.mask, self.log_scale.exp())
            terms["local_text"] = mean_over_pairs(losses, has_sentence)
        if "local_image" in weights:
            losses = without_negatives(self.predictor(regions), contexts.of_regions)
            losses = (losses + without_negatives(self.predictor(contexts.of_regions), regions)) / 2
            terms["local_image"] = mean_over_pairs(losses, has_sentence)
        return terms
