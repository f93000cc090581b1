"""What encoders return: named outputs, the same for every trunk and every language model."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ImageFeatures:
    """Features of B films.

    Attributes:
        pooled: ``[B, C]`` one vector a film, before any projection.
        regions: ``[B, R, C_local]`` row-major over the grid (row 0 is the top of the film), ``R = rows * columns``.
        grid: ``(rows, columns)`` of the region grid.
    """

    pooled: Tensor
    regions: Tensor
    grid: tuple[int, int]


@dataclass(frozen=True)
class TextFeatures:
    """Features of B reports.

    Attributes:
        report: ``[B, C]`` one vector a report.
        words: ``[B, W, C]`` one vector a word (word-pieces merged, if the encoder merges), padded with zeros.
        word_mask: ``[B, W]`` True = a real item.
        sentences: ``[B, S, C]`` mean of the tokens of each sentence, padded with zeros.
        sentence_mask: ``[B, S]`` True = a real sentence.
        special_mask: ``[B, W]`` True = the item is [CLS] or [SEP] rather than a word (a subset of ``word_mask``).
    """

    report: Tensor
    words: Tensor
    word_mask: Tensor
    sentences: Tensor
    sentence_mask: Tensor
    special_mask: Tensor
