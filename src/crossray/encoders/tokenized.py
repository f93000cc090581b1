"""One tokenised report: its pieces with their words and sentences, and how a long one is cut between sentences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from crossray.data.study import Span


@dataclass(frozen=True, slots=True)
class TokenizedReport:
    """One report: int32 arrays of one length.

    Attributes:
        input_ids: [CLS], the pieces, [SEP].
        word_ids: index of the word (a run of letters and digits, or a mark of punctuation where it is kept) that a
            piece belongs to, from 0; an unknown word counts; -1 for [CLS] and [SEP].
        sentence_ids: index of the sentence, from 0; -1 for [CLS], [SEP] and what stands outside every sentence.
    """

    input_ids: NDArray[np.int32]
    word_ids: NDArray[np.int32]
    sentence_ids: NDArray[np.int32]


def tokenized(encoding: Encoding, sentences: tuple[Span, ...]) -> TokenizedReport:
    """What a tokenizer made of a text whose sentences are these."""
    word_ids = np.array([-1 if word is None else word for word in encoding.word_ids], dtype=np.int32)
    return TokenizedReport(
        input_ids=np.array(encoding.ids, dtype=np.int32),
        word_ids=word_ids,
        sentence_ids=_sentence_ids(encoding, word_ids, sentences),
    )


def _sentence_ids(encoding: Encoding, word_ids: NDArray[np.int32], sentences: tuple[Span, ...]) -> NDArray[np.int32]:
    if not sentences:
        return np.full_like(word_ids, -1)
    begin = np.array([start for start, _ in encoding.offsets])
    starts, ends = (np.array([getattr(span, edge) for span in sentences]) for edge in ("start", "end"))
    sentence = np.searchsorted(starts, begin, side="right") - 1
    inside = (word_ids >= 0) & (sentence >= 0) & (begin < ends[sentence])
    return np.where(inside, sentence, -1).astype(np.int32)


def whole_sentences(report: TokenizedReport, max_tokens: int) -> TokenizedReport:
    """The sentences before the first that does not fit into ``max_tokens``; a first one too long for it is cut.

    Later, shorter sentences are not taken in its place (LoVT spec, section 2.2).
    """
    room, inner = max_tokens - 2, len(report.input_ids) - 2
    if inner <= room:
        return report
    sentence = np.maximum.accumulate(report.sentence_ids[1:-1])
    ends = np.append(np.flatnonzero(np.diff(sentence)) + 1, inner)
    fitting = ends[ends <= room]
    kept = int(fitting[-1]) if len(fitting) else room
    rows = np.append(np.arange(kept + 1), inner + 1)
    return TokenizedReport(report.input_ids[rows], report.word_ids[rows], report.sentence_ids[rows])
