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
        attention: ``[B, R]`` what the class token of a ViT's last block attends to, mean of its heads; a row sums to at
            most 1 (the rest falls on prefix tokens). ``None`` unless ``image_encoder.class_attention`` asks for it.
            No gradient.
    """

    pooled: Tensor
    regions: Tensor
    grid: tuple[int, int]
    attention: Tensor | None = None


@dataclass(frozen=True)
class FeatureStage:
    """One stage of a trunk: ``channels`` of its map, and the pixels along a side that one place of it stands for."""

    channels: int
    reduction: int


@dataclass(frozen=True)
class StageMaps:
    """Maps of several stages of a trunk for B films.

    Attributes:
        pixels: ``[B, in_channels, height, width]`` what the trunk was given, enlarged and replicated as it asks for.
        maps: ``[B, C, rows, columns]`` one a stage, in the order of the stages.
        pooled: ``[B, C]`` one vector a film.
    """

    pixels: Tensor
    maps: tuple[Tensor, ...]
    pooled: Tensor


@dataclass(frozen=True)
class ItemMasks:
    """Which items B reports have: ``words [B, W]``, ``special [B, W]``, ``sentences [B, S]``; see ``TextFeatures``."""

    words: Tensor
    special: Tensor
    sentences: Tensor


@dataclass(frozen=True)
class TextFeatures:
    """Features of B reports.

    Attributes:
        report: ``[B, C]`` one vector a report.
        words: ``[B, W, C]`` one vector a word (word-pieces merged, if the encoder merges), padded with zeros.
        word_mask: ``[B, W]`` True = a real item.
        sentences: ``[B, S, C]`` mean (or maximum) of the tokens of each sentence, padded with zeros.
        sentence_mask: ``[B, S]`` True = a real sentence.
        special_mask: ``[B, W]`` True = the item is [CLS] or [SEP] rather than a word (a subset of ``word_mask``).
        tokens: ``[B, L, C]`` one vector a token, before anything is merged; rows of padding hold anything.
        word_attention: ``[B, W]`` what [CLS] attends to in the last layer, mean of its heads, summed over the pieces of
            a word; ``None`` unless ``text_encoder.class_attention`` asks for it. No gradient.
    """

    report: Tensor
    words: Tensor
    word_mask: Tensor
    sentences: Tensor
    sentence_mask: Tensor
    special_mask: Tensor
    tokens: Tensor
    word_attention: Tensor | None = None
