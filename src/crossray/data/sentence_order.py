"""Sentences of a report in another order, looked up from (seed, epoch, study), moved as whole runs of tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossray.data.batch import TokenBatch
from crossray.data.randomness import Purpose, derived_generator

SentenceOrder = Literal["original", "swaps", "shuffle"]

_NO_FURTHER_SWAP = 0.4


def drawn_order(kind: SentenceOrder, sentences: int, *, seed: int, epoch: int, study: int) -> NDArray[np.int64]:
    """``[sentences]``: which sentence stands at each place.

    ``shuffle`` is any order (PRIOR); ``swaps`` exchanges two sentences as often as :func:`drawn_swaps` says, each of
    the two drawn from all (LoVT).
    """
    order = np.arange(sentences, dtype=np.int64)
    if kind == "original":
        return order
    generator = derived_generator(seed, epoch, Purpose.SENTENCE_ORDER, study)
    if kind == "shuffle":
        return generator.permutation(order)
    for one, other in generator.integers(sentences, size=(drawn_swaps(generator), 2)).tolist():
        order[[one, other]] = order[[other, one]]
    return order


def drawn_swaps(generator: np.random.Generator) -> int:
    """How often sentences are exchanged: n times with probability ``0.6^n 0.4``."""
    return int(generator.geometric(_NO_FURTHER_SWAP)) - 1


def reorder_sentences(tokens: TokenBatch, places: Tensor) -> TokenBatch:
    """Each report with its sentences moved; words and sentences are numbered anew in reading order.

    Args:
        tokens: the reports; what stands between two sentences stays behind the first of them.
        places: ``[B, S]`` the place that each sentence goes to; S is at least the batch's largest sentence number + 1.
    """
    position = torch.arange(tokens.input_ids.shape[1])
    closing = tokens.attention_mask.sum(dim=1, keepdim=True) - 1
    belongs = tokens.sentence_ids.cummax(dim=1).values
    key = places.gather(1, belongs.clamp_min(0)).masked_fill(belongs < 0, -1)
    key = key.masked_fill(position >= closing, places.shape[1])
    order = key.argsort(dim=1, stable=True)
    return replace(
        tokens,
        input_ids=tokens.input_ids.gather(1, order),
        word_ids=_numbered_anew(tokens.word_ids.gather(1, order)),
        sentence_ids=_numbered_anew(tokens.sentence_ids.gather(1, order)),
    )


def _numbered_anew(numbers: Tensor) -> Tensor:
    """Runs of equal numbers counted from 0; -1 stays."""
    before = torch.nn.functional.pad(numbers[:, :-1], (1, 0), value=-1)
    begins = (numbers >= 0) & (numbers != before)
    return (begins.cumsum(dim=1) - 1).masked_fill(numbers < 0, -1)
