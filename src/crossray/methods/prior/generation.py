"""From a film to a set of sentences, and what that set is held against (`prior` spec, 2.7 and 3.6 to 3.8)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crossray.alignment.sentence_terms import absolute_errors, query_divergence
from crossray.alignment.set_matching import in_target_order, match_sets, matching_costs, select_rows
from crossray.methods.prior.config import PriorConfig
from crossray.methods.prior.pooling import SentencePool
from crossray.methods.prior.prototype_bank import PrototypeBank
from crossray.methods.prior.slot_decoder import SlotDecoder
from crossray.methods.prior.terms import PairTerm, ReadReport, mean_over_pairs, mean_over_real


@dataclass(frozen=True)
class Generated:
    """The terms that have a weight, and ``pooled [B, D]``, the report vector of the generated sentences (3.8)."""

    terms: dict[str, PairTerm]
    pooled: Tensor | None


class Generation(nn.Module):
    """Slots, matched to a report's sentences.

    The bank and the sentence pool are the reports' own; they are handed in, so that each has one home.
    """

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self._config = config
        self.decoder = SlotDecoder(
            config.embed_dim,
            slots=config.slots,
            layers=config.slot_layers,
            heads=config.slot_heads,
            hidden=config.slot_hidden,
            dropout=config.slot_dropout,
            causal=config.causal,
            head=config.slot_head,
        )

    def forward(
        self,
        regions: Tensor,
        report: ReadReport,
        bank: PrototypeBank,
        pool: SentencePool,
        weights: dict[str, float],
    ) -> Generated:
        """``regions [B, R, D]``; ``report`` of at most ``slots`` sentences, read through the bank."""
        wanted = self._padded(report.sentences)
        mask = F.pad(report.mask, (0, self._config.slots - report.mask.shape[1]))
        if self._config.detach_targets:
            wanted = wanted.detach()
        matched = self.matched(self.decoder(regions), wanted, mask)
        terms: dict[str, PairTerm] = {}
        if "generation" in weights:
            terms["generation"] = self.set_error(matched, wanted, mask)
        if not {"query", "prediction"} & weights.keys():
            return Generated(terms, None)
        said = bank(matched)
        if "query" in weights and report.bank is not None:
            logits = report.bank.logits.detach() if self._config.detach_targets else report.bank.logits
            terms["query"] = mean_over_real(query_divergence(self._padded(logits), said.logits), mask)
        return Generated(terms, pool(said.vectors, mask) if "prediction" in weights else None)

    def matched(self, predictions: Tensor, wanted: Tensor, mask: Tensor) -> Tensor:
        """Predictions ``[B, slots, D]`` in the order of the wanted sentences they stand for."""
        costs = matching_costs(predictions.detach(), wanted.detach(), self._config.matching_cost)
        assignment = match_sets(costs * self._slot_weights(mask, costs.dtype).unsqueeze(1))
        if self._config.assignment == "columns":
            return select_rows(predictions, assignment)  # P4
        return in_target_order(predictions, assignment)

    def set_error(self, matched: Tensor, wanted: Tensor, mask: Tensor) -> PairTerm:
        """Mean absolute error over slots, those beyond the report's sentences weighted less; their target is zero."""
        errors = absolute_errors(matched, wanted)
        weights = self._slot_weights(mask, errors.dtype)
        total = weights.sum(dim=1)
        least = torch.finfo(total.dtype).tiny
        return mean_over_pairs((weights * errors).sum(dim=1) / total.clamp_min(least), total > 0)

    def _slot_weights(self, mask: Tensor, dtype: torch.dtype) -> Tensor:
        return torch.where(mask, 1.0, self._config.empty_slot_weight).to(dtype)

    def _padded(self, rows: Tensor) -> Tensor:
        return F.pad(rows, (0, 0, 0, self._config.slots - rows.shape[1]))
