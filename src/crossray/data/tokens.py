"""Tokenised captions of a data set, kept flat: a few long arrays instead of a small object for each report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossray.data.batch import TokenBatch
from crossray.data.text import SelectedText


class TokenisedText(Protocol):
    """One tokenised report: int32 arrays of one length; ids are -1 for [CLS] and [SEP]."""

    @property
    def input_ids(self) -> NDArray[np.int32]:
        """Vocabulary indices, [CLS] first and [SEP] last."""
        ...

    @property
    def word_ids(self) -> NDArray[np.int32]:
        """The word that each piece belongs to."""
        ...

    @property
    def sentence_ids(self) -> NDArray[np.int32]:
        """The sentence that each piece belongs to."""
        ...


class PairTokenizer(Protocol):
    """What the data needs of a tokenizer (``encoders.tokenizer.ReportTokenizer`` is one)."""

    @property
    def pad_id(self) -> int:
        """The index that padding is filled with."""
        ...

    def encode(self, texts: Sequence[SelectedText]) -> Sequence[TokenisedText]:
        """Tokenise each text."""
        ...


@dataclass(frozen=True)
class TokenTable:
    """T tokenised texts end to end; text ``t`` is ``[offsets[t], offsets[t + 1])`` of the three flat arrays."""

    input_ids: NDArray[np.int32]
    word_ids: NDArray[np.int32]
    sentence_ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    pad_id: int

    @classmethod
    def of(cls, texts: Sequence[SelectedText], tokenizer: PairTokenizer) -> TokenTable:
        """Tokenise once."""
        tokenised = tokenizer.encode(texts)
        lengths = np.array([len(text.input_ids) for text in tokenised], dtype=np.int64)

        def flat(arrays: list[NDArray[np.int32]]) -> NDArray[np.int32]:
            return np.concatenate(arrays).astype(np.int32) if arrays else np.zeros(0, dtype=np.int32)

        return cls(
            input_ids=flat([text.input_ids for text in tokenised]),
            word_ids=flat([text.word_ids for text in tokenised]),
            sentence_ids=flat([text.sentence_ids for text in tokenised]),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            pad_id=tokenizer.pad_id,
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def lengths(self, texts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of each text, [CLS] and [SEP] included."""
        return self.offsets[texts + 1] - self.offsets[texts]

    def batch(self, texts: NDArray[np.int64], length: int) -> TokenBatch:
        """The texts as rows of ``length`` tokens; none of them may be longer."""
        place = np.arange(length)
        real = place < self.lengths(texts)[:, None]
        source = np.where(real, self.offsets[texts][:, None] + place, 0)

        def rows(flat: NDArray[np.int32], filling: int) -> Tensor:
            return torch.from_numpy(np.where(real, flat[source], filling).astype(np.int64))

        return TokenBatch(
            input_ids=rows(self.input_ids, self.pad_id),
            attention_mask=torch.from_numpy(real),
            word_ids=rows(self.word_ids, -1),
            sentence_ids=rows(self.sentence_ids, -1),
        )
