"""A batch of pairs: the only thing that crosses from data to methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenBatch:
    """Tokenised reports, padded to the longest in the batch.

    Attributes:
        input_ids: ``[B, L]`` int64; [CLS] first, [SEP] last among the real tokens.
        attention_mask: ``[B, L]`` bool, True = real token ([CLS] and [SEP] included).
        word_ids: ``[B, L]`` int64, the index of the word a piece belongs to (0, 1, ... in reading order);
            -1 for [CLS], [SEP] and padding.
        sentence_ids: ``[B, L]`` int64, the index of the sentence a piece belongs to; -1 likewise.
        source: the batch that this one was moved from, if it was: what can be read without waiting for the device.
    """

    input_ids: Tensor
    attention_mask: Tensor
    word_ids: Tensor
    sentence_ids: Tensor
    source: TokenBatch | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> TokenBatch:
        """The same with every tensor changed alike, the source's too."""
        return TokenBatch(
            input_ids=change(self.input_ids),
            attention_mask=change(self.attention_mask),
            word_ids=change(self.word_ids),
            sentence_ids=change(self.sentence_ids),
            source=None if self.source is None else self.source.each(change),
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> TokenBatch:
        """The same batch on another device."""
        here = replace(self, source=None)
        moved = here.each(lambda tensor: tensor.to(device, non_blocking=non_blocking))
        return moved if moved.input_ids is self.input_ids else replace(moved, source=self.readable)

    @property
    def readable(self) -> TokenBatch:
        """The batch as the host can read it: where this one was moved from; itself, if it was not moved."""
        return self if self.source is None else self.source

    def __len__(self) -> int:
        return self.input_ids.shape[0]

    def rows(self, index: slice | tuple[Tensor, slice]) -> TokenBatch:
        """The reports ``index`` of the batch (padding stays); or some of them, and of these some of the tokens."""
        return self.each(lambda tensor: tensor[index])


@dataclass(frozen=True)
class PairBatch:
    """B films with their reports.

    Attributes:
        pixels: ``[B, 1, height, width]`` float32, normalised as the image encoder asks.
        tokens: the reports.
        study_index: ``[B]`` int64, the study's row in its store.
        text_group: ``[B]`` int64, equal for studies whose normalised report text is identical.
        labels: ``[B, K]`` float32, 1 present, 0 absent, NaN unknown; K may be 0.
        second_view: another augmentation of the same films, of the same shape; for methods that ask for two.
        task: name of the auxiliary task whose turn it is; ``None`` is the method's main objective.
    """

    pixels: Tensor
    tokens: TokenBatch
    study_index: Tensor
    text_group: Tensor
    labels: Tensor
    second_view: Tensor | None = None
    task: str | None = None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PairBatch:
        """The same batch on another device."""
        second = self.second_view
        return PairBatch(
            pixels=self.pixels.to(device, non_blocking=non_blocking),
            tokens=self.tokens.to(device, non_blocking=non_blocking),
            study_index=self.study_index.to(device, non_blocking=non_blocking),
            text_group=self.text_group.to(device, non_blocking=non_blocking),
            labels=self.labels.to(device, non_blocking=non_blocking),
            second_view=None if second is None else second.to(device, non_blocking=non_blocking),
            task=self.task,
        )

    def __len__(self) -> int:
        return self.pixels.shape[0]

    def rows(self, index: slice) -> PairBatch:
        """The pairs ``index`` of the batch (token padding stays)."""
        return PairBatch(
            pixels=self.pixels[index],
            tokens=self.tokens.rows(index),
            study_index=self.study_index[index],
            text_group=self.text_group[index],
            labels=self.labels[index],
            second_view=None if self.second_view is None else self.second_view[index],
            task=self.task,
        )

    def micro_batches(self, size: int) -> list[PairBatch]:
        """The batch cut into pieces of at most ``size`` pairs, in order; token padding stays as it is."""
        return [self.rows(slice(start, start + size)) for start in range(0, len(self), size)]
