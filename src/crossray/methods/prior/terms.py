"""What the parts of PRIOR hand to each other."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from crossray.methods.prior.prototype_bank import Prototypes


@dataclass(frozen=True)
class ReadReport:
    """Reports as a stage reads them.

    Attributes:
        raw: ``[B, S, D]`` u, sentence vectors; zeros on padding.
        sentences: ``[B, S, D]`` what is aligned: ``raw`` in stage ``align``, the bank's q afterwards; zeros on padding.
        mask: ``[B, S]`` True = a real sentence.
        counted: ``[B]`` int64, with the host: the report's sentences, those that were left out included.
        bank: what the bank made of ``raw``; ``None`` in stage ``align``.
        pooled: ``[B, D]`` g^t, one vector a report.
    """

    raw: Tensor
    sentences: Tensor
    mask: Tensor
    counted: Tensor
    bank: Prototypes | None
    pooled: Tensor


@dataclass(frozen=True)
class PairTerm:
    """A loss term before it is averaged: each pair's ``total [B]`` of ``count [B]`` items.

    The term is the sum of totals over the sum of counts of the whole batch, whichever process or piece they are on.
    """

    total: Tensor
    count: Tensor


def mean_over_real(values: Tensor, mask: Tensor) -> PairTerm:
    """Of ``values [B, S]``, those of the ``mask [B, S]``."""
    return PairTerm(values.masked_fill(~mask, 0.0).sum(dim=1), mask.sum(dim=1))


def mean_over_pairs(values: Tensor, counted: Tensor) -> PairTerm:
    """Of one value a pair, ``[B]``, those that are ``counted [B]``."""
    return PairTerm(values.masked_fill(~counted, 0.0), counted.long())
