from __future__ import annotations

import numpy as np
import pytest
import torch

from crossray.data.batch import TokenBatch
from crossray.data.pairs import PairDataset
from crossray.data.sampling import BatchRequest
from crossray.data.sentence_order import SentenceOrder, drawn_order, drawn_swaps, reorder_sentences
from crossray.data.text import TextConfig
from crossray.encoders.tokenizer import ReportTokenizer
from tests.training.fakes import WORDS, FakeStore


def batch_of(rows: list[list[tuple[int, int, int]]]) -> TokenBatch:
    """Rows of (id, word, sentence); padded with zeros."""
    length = max(len(row) for row in rows)
    table = torch.tensor([row + [(0, -1, -1)] * (length - len(row)) for row in rows])
    real = torch.tensor([[k < len(row) for k in range(length)] for row in rows])
    return TokenBatch(table[..., 0], real, table[..., 1], table[..., 2])


CLS, SEP = (1, -1, -1), (2, -1, -1)


def test_sentences_move_whole_and_are_numbered_in_reading_order() -> None:
    # The second token belongs to the first one's word; 15 stands between two sentences and stays behind the first.
    report = [CLS, (10, 0, 0), (11, 0, 0), (12, 1, 0), (15, 2, -1), (13, 3, 1), (14, 4, 2), (16, 4, 2), SEP]
    short = [CLS, (20, 0, 0), SEP]
    moved = reorder_sentences(batch_of([report, short]), torch.tensor([[1, 2, 0], [0, 1, 2]]))
    assert moved.input_ids[0].tolist() == [1, 14, 16, 10, 11, 12, 15, 13, 2]
    assert moved.word_ids[0].tolist() == [-1, 0, 0, 1, 1, 2, 3, 4, -1]
    assert moved.sentence_ids[0].tolist() == [-1, 0, 0, 1, 1, 1, -1, 2, -1]
    untouched = batch_of([report, short])
    for name in ("input_ids", "attention_mask", "word_ids", "sentence_ids"):
        assert torch.equal(getattr(moved, name)[1], getattr(untouched, name)[1])


def test_the_written_order_is_left_as_it_is() -> None:
    report = [CLS, (10, 0, 0), (11, 0, 0), (13, 1, 1), (14, 2, 2), SEP]
    same = reorder_sentences(batch_of([report]), torch.arange(5).unsqueeze(0))
    for name in ("input_ids", "word_ids", "sentence_ids"):
        assert torch.equal(getattr(same, name), getattr(batch_of([report]), name))


def test_L14_swaps_follow_their_distribution() -> None:
    generator = np.random.default_rng(0)
    counts = np.array([drawn_swaps(generator) for _ in range(20_000)])
    assert (counts == 0).mean() == pytest.approx(0.4, abs=0.015)
    assert (counts == 3).mean() == pytest.approx(0.6**3 * 0.4, abs=0.01)
    assert counts.mean() == pytest.approx(1.5, abs=0.06)


def test_L14_a_swap_draws_two_sentences_with_replacement() -> None:
    orders = [drawn_order("swaps", 2, seed=0, epoch=0, study=study).tolist() for study in range(4000)]
    # n swaps of two sentences, each real with probability 1/2: an odd number of real ones in half of all n > 0.
    assert np.mean([order == [1, 0] for order in orders]) == pytest.approx(0.6 / 2, abs=0.03)
    assert all(sorted(order) == [0, 1] for order in orders)
    assert drawn_order("swaps", 1, seed=0, epoch=0, study=3).tolist() == [0]


def test_a_shuffle_reaches_every_order() -> None:
    orders = {tuple(drawn_order("shuffle", 3, seed=0, epoch=0, study=study).tolist()) for study in range(100)}
    assert len(orders) == 6


def dataset(order: SentenceOrder) -> PairDataset:
    store = FakeStore(12)
    tokenizer = ReportTokenizer.learn([" ".join(WORDS)] * 2, 200, max_tokens=30)
    return PairDataset(store, store.study_ids, tokenizer, TextConfig(), sentence_order=order)


@pytest.mark.parametrize("order", ["swaps", "shuffle"])
def test_an_order_is_looked_up_by_epoch_and_study_whatever_the_batch(order: SentenceOrder) -> None:
    pairs, written = dataset(order), dataset("original")
    whole = pairs[BatchRequest(3, np.arange(12), slice(None))].tokens
    plain = written[BatchRequest(3, np.arange(12), slice(None))].tokens
    halves = [pairs[BatchRequest(3, np.arange(12), rows)].tokens for rows in (slice(0, 5), slice(5, 12))]
    assert torch.equal(torch.cat([half.input_ids for half in halves]), whole.input_ids)
    assert not torch.equal(whole.input_ids, plain.input_ids)
    assert not torch.equal(pairs[BatchRequest(4, np.arange(12), slice(None))].tokens.input_ids, whole.input_ids)
    assert torch.equal(whole.input_ids.sort(dim=1).values, plain.input_ids.sort(dim=1).values)
    assert torch.equal(whole.attention_mask, plain.attention_mask)
    assert whole.word_ids.amax(dim=1).tolist() == plain.word_ids.amax(dim=1).tolist()
    assert whole.sentence_ids.amax(dim=1).tolist() == [1] * 12
