"""Regions look at sentences and sentences at regions, through one matrix of scores (`lovt` spec, section 2.4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from crossray.alignment.masked import masked_softmax
from crossray.alignment.precision import full_precision, without_autocast
from crossray.alignment.segments import segment_sum

CHUNK_ELEMENTS = 1 << 22

_SMALLEST_NORM_PRODUCT = 1e-8


@dataclass(frozen=True)
class CrossAttention:
    """``regions_to_sentences [B, R, S]`` sums to 1 over sentences, ``sentences_to_regions [B, S, R]`` over regions.

    Sentences of padding get nothing and look nowhere: their columns and rows are 0.
    """

    regions_to_sentences: Tensor
    sentences_to_regions: Tensor


def cross_attention(regions: Tensor, sentences: Tensor, sentence_mask: Tensor) -> CrossAttention:
    """Attention of pairs both ways, from projected ``regions [B, R, D]`` and ``sentences [B, S, D]``, full precision.

    The scores ``r . s / sqrt(D)`` are computed once; one direction is their transpose.
    """
    with without_autocast(regions):
        regions, sentences = full_precision(regions), full_precision(sentences)
        scores = regions @ sentences.mT / regions.shape[2] ** 0.5
        real = sentence_mask.unsqueeze(1)
        return CrossAttention(
            regions_to_sentences=masked_softmax(scores, real, dim=2),
            sentences_to_regions=scores.softmax(dim=1).masked_fill(~real, 0.0).mT,
        )


def sentence_cosines(
    keys: Tensor,
    contents: Tensor,
    queries: Tensor,
    sentences: Tensor,
    sentence_mask: Tensor,
    *,
    chunk_elements: int = CHUNK_ELEMENTS,
) -> Tensor:
    """``[N, M]``: the mean, over a report's sentences, of the cosine between a sentence and what it sees in a film.

    What a sentence sees is its attention over ``keys`` applied to ``contents``. Every film is compared with every
    report, in chunks of sentences; the contexts themselves (films x sentences x D) are never formed, since
    c . s = sum_r a_r (t_r . s) and |c|^2 = a^T (T T^T) a. A report without sentences scores 0 with every film.

    Args:
        keys: ``[N, R, D]`` projected regions.
        contents: ``[N, R, D]`` what each region gives to whoever looks at it.
        queries: ``[M, S, D]`` projected sentences.
        sentences: ``[M, S, D]`` what is compared with the context.
        sentence_mask: ``[M, S]`` bool.
        chunk_elements: bound on films x sentences x regions worked on at once.
    """
    with without_autocast(keys):
        keys, contents = full_precision(keys), full_precision(contents)
        report, position = sentence_mask.nonzero(as_tuple=True)
        packed_queries = full_precision(queries[report, position])
        packed_sentences = full_precision(sentences[report, position])
        gram = contents @ contents.mT
        at_once = max(1, chunk_elements // max(1, keys.shape[0] * keys.shape[1]))
        pieces = [
            _cosines_with_contexts(keys, contents, gram, some_queries, some_sentences)
            for some_queries, some_sentences in zip(
                torch.split(packed_queries, at_once), torch.split(packed_sentences, at_once), strict=True
            )
        ]
        total = segment_sum(torch.cat(pieces), report, len(sentence_mask))
        return (total / sentence_mask.sum(dim=1, keepdim=True).clamp_min(1)).T


def _cosines_with_contexts(keys: Tensor, contents: Tensor, gram: Tensor, queries: Tensor, sentences: Tensor) -> Tensor:
    """``[p, N]`` of ``p`` sentences with every film."""
    attention = (queries @ keys.mT / keys.shape[2] ** 0.5).softmax(dim=2)  # [N, p, R]
    dot = (attention * (sentences @ contents.mT)).sum(dim=2)
    context_square = (attention @ gram * attention).sum(dim=2).clamp_min(0)
    lengths = context_square.sqrt() * torch.linalg.vector_norm(sentences, dim=1)
    cosines: Tensor = (dot / lengths.clamp_min(_SMALLEST_NORM_PRODUCT)).T
    return cosines
