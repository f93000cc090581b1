from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from crossray.data.batch import PairBatch
from crossray.data.pairs import (
    PairDataset,
    RawBatch,
    pair_loader,
    text_groups,
    to_pair_batch,
)
from crossray.data.sampling import BatchRequest, GlobalBatchSampler
from crossray.data.study import Span
from crossray.data.tasks import AuxiliaryTask, plan_epoch
from crossray.data.text import SelectedText, TextConfig
from crossray.data.tokens import TokenTable
from crossray.errors import ConfigError, DataError
from tests.training.fakes import IMAGE, FakeStore, FakeTokenizer, fake_dataset


def all_of(dataset: PairDataset, epoch: int = 0) -> RawBatch:
    return dataset[BatchRequest(epoch, np.arange(len(dataset)), slice(None))]


def test_padding_stands_behind_each_text_and_only_there() -> None:
    texts = [SelectedText(text, (Span(0, len(text)),)) for text in ("heart", "lungs clear left", "normal edema")]
    table = TokenTable.of(texts, FakeTokenizer())
    batch = table.batch(np.array([2, 0, 1]), length=7)
    assert batch.input_ids.shape == (3, 7)
    for row, text in enumerate((2, 0, 1)):
        tokens = FakeTokenizer().encode([texts[text]])[0]
        real = len(tokens.input_ids)
        assert batch.attention_mask[row].tolist() == [True] * real + [False] * (7 - real)
        assert batch.input_ids[row].tolist() == tokens.input_ids.tolist() + [0] * (7 - real)
        assert batch.word_ids[row].tolist() == tokens.word_ids.tolist() + [-1] * (7 - real)
        assert batch.sentence_ids[row].tolist() == tokens.sentence_ids.tolist() + [-1] * (7 - real)


@settings(max_examples=60, deadline=None)
@given(
    pairs=st.integers(1, 50),
    own=st.integers(1, 6),
    world=st.integers(1, 4),
    epoch=st.integers(0, 3),
    start=st.integers(0, 6),
)
def test_processes_share_the_batches_of_one_process(pairs: int, own: int, world: int, epoch: int, start: int) -> None:
    size = own * world

    def batches(rank: int, world: int, start: int = start) -> list[list[int]]:
        sampler = GlobalBatchSampler(
            pairs, size, training=True, seed=1, epoch=epoch, start=start, rank=rank, world=world
        )
        requests = list(sampler)
        assert len(requests) == len(sampler)
        return [request.places[request.rows].tolist() for request in requests]

    alone = batches(0, 1)
    shares = [batches(rank, world) for rank in range(world)]
    assert [[place for part in parts for place in part] for parts in zip(*shares, strict=True)] == alone
    assert alone == batches(0, 1, start=0)[start:]
    seen = [place for batch in batches(0, 1, start=0) for place in batch]
    assert len(seen) == len(set(seen)) == pairs // size * size


def test_epochs_differ_and_seeds_differ() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        request = next(iter(GlobalBatchSampler(30, 30, training=True, seed=seed, epoch=epoch)))
        return [int(place) for place in request.places]

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_goes_through_every_pair_once(world: int) -> None:
    seen = []
    for rank in range(world):
        for request in GlobalBatchSampler(11, 4, training=False, rank=rank, world=world):
            seen += request.places[request.rows].tolist()
    assert sorted(seen) == list(range(11))


def test_all_processes_pad_to_the_longest_text_of_the_global_batch() -> None:
    dataset = fake_dataset(0, 16)
    longest = all_of(dataset).tokens.input_ids.shape[1]
    lengths = {dataset[BatchRequest(0, np.arange(16), slice(k, k + 1))].tokens.input_ids.shape[1] for k in range(16)}
    assert lengths == {longest}


def test_workers_load_what_the_process_itself_would() -> None:
    dataset = fake_dataset(0, 12)
    sampler = GlobalBatchSampler(12, 4, training=True, seed=2)
    own = list(pair_loader(dataset, sampler))
    theirs = list(pair_loader(dataset, sampler, workers=1))
    for one, two in zip(own, theirs, strict=True):
        assert one.films is not None
        assert two.films is not None
        assert torch.equal(one.films, two.films)
        assert torch.equal(one.tokens.input_ids, two.tokens.input_ids)
        assert torch.equal(one.study_index, two.study_index)


def test_a_sentence_caption_is_one_sentence_looked_up_by_epoch_and_study() -> None:
    dataset = fake_dataset(0, 20, caption="sentence")
    first, again, later = all_of(dataset, 1), all_of(dataset, 1), all_of(dataset, 2)
    assert torch.equal(first.tokens.input_ids, again.tokens.input_ids)
    assert not torch.equal(first.text_group, later.text_group)
    assert first.tokens.sentence_ids.max() == 0
    alone = dataset[BatchRequest(1, np.array([4]), slice(None))].tokens
    length = int(alone.attention_mask.sum())
    assert first.tokens.input_ids[4, :length].tolist() == alone.input_ids[0].tolist()


def test_a_random_film_is_one_of_the_study_and_changes_with_the_epoch() -> None:
    store = FakeStore(10, films_each=3)
    dataset = PairDataset(store, store.study_ids, FakeTokenizer(), TextConfig(), film_choice="random")
    chosen = []
    for epoch in range(4):
        films = all_of(dataset, epoch).films
        assert films is not None
        own = [
            [np.array_equal(film, store.pixels([row])[0]) for row in store.films_of(k)]
            for k, film in enumerate(films.numpy())
        ]
        assert all(sum(row) == 1 for row in own)
        chosen.append([row.index(True) for row in own])
    assert len({tuple(choice) for choice in chosen}) == 4


def test_identical_texts_are_one_group_whatever_their_case_and_punctuation() -> None:
    groups = text_groups(["Heart normal.", "heart NORMAL", "lungs clear", "heart, normal!"])
    assert groups.tolist() == [0, 0, 1, 0]


def test_labels_and_rows_are_those_of_the_store() -> None:
    store = FakeStore(9)
    dataset = PairDataset(store, ["s7", "s2"], FakeTokenizer(), TextConfig())
    batch = all_of(dataset)
    assert batch.study_index.tolist() == [7, 2]
    assert np.array_equal(batch.labels.numpy(), store.labels[[7, 2]])
    assert batch.films is not None
    assert np.array_equal(batch.films.numpy(), store.pixels([7, 2]))


def test_what_makes_no_pair_is_listed_and_a_split_of_nothing_refused() -> None:
    store = FakeStore(3)
    store.films_of = lambda index, views=("frontal",): [] if index == 1 else [index]  # type: ignore[method-assign]  # a study without a film
    dataset = PairDataset(store, store.study_ids, FakeTokenizer(), TextConfig())
    assert [left.study_id for left in dataset.left_out] == ["s1"]
    assert "no frontal film" in dataset.left_out[0].reason
    with pytest.raises(DataError, match="none of the 1 studies"):
        PairDataset(store, ["s1"], FakeTokenizer(), TextConfig())


MLM = AuxiliaryTask("mlm", 0.7, needs_films=False)
ROTATION = AuxiliaryTask("rotation", 0.1)


def test_tasks_take_their_turns_by_their_shares_until_the_main_batches_are_through() -> None:
    plan = plan_epoch((MLM, ROTATION), 3000, seed=0, epoch=0)
    assert plan.turns[-1] == 0
    shares = [float((plan.turns == turn).mean()) for turn in range(3)]
    assert shares == pytest.approx([0.2, 0.7, 0.1], abs=0.02)
    for turn in range(3):
        own = plan.batches[plan.turns == turn]
        assert own.tolist() == list(range(len(own)))
    assert (plan.turns == 0).sum() == 3000


def test_a_plan_depends_on_seed_and_epoch_alone() -> None:
    def turns(main: int, seed: int = 1, epoch: int = 2) -> list[int]:
        return [int(turn) for turn in plan_epoch((MLM,), main, seed=seed, epoch=epoch).turns]

    assert turns(40) == turns(40)
    assert turns(40)[: len(turns(7))] == turns(7)  # step k has its own number, however long the epoch is
    assert turns(7) != turns(7, epoch=3)
    assert turns(7) != turns(7, seed=2)
    assert plan_epoch((), 5, seed=0, epoch=0).batches.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("shares", [(0.5, 0.5), (1.2,), (0.0,), (-0.1, 0.2)])
def test_shares_that_leave_no_turn_are_refused(shares: tuple[float, ...]) -> None:
    tasks = [AuxiliaryTask(f"t{k}", share) for k, share in enumerate(shares)]
    with pytest.raises(ConfigError, match="above 0 and below 1 together, got t0"):
        plan_epoch(tasks, 4, seed=0, epoch=0)


def test_tasks_leave_the_main_batches_as_they_are_and_go_through_permutations_of_their_own() -> None:
    plain = [request.places.tolist() for request in GlobalBatchSampler(11, 2, training=True, seed=4, epoch=1)]
    sampler = GlobalBatchSampler(11, 2, training=True, tasks=(MLM,), seed=4, epoch=1)
    requests = list(sampler)
    assert len(requests) == len(sampler)
    assert [request.places.tolist() for request in requests if request.task is None] == plain
    own = [request.places.tolist() for request in requests if request.task is not None]
    assert len(own) > 5  # begun anew
    rounds = [[place for batch in own[start : start + 5] for place in batch] for start in range(0, len(own), 5)]
    assert all(len(set(seen)) == len(seen) for seen in rounds)
    assert rounds[0] != rounds[1]
    assert own[: len(plain)] != plain


@pytest.mark.parametrize("start", [1, 6, 9])
def test_an_epoch_of_several_tasks_goes_on_in_its_middle(start: int) -> None:
    def steps(start: int, rank: int = 0, world: int = 1) -> list[tuple[str, list[int]]]:
        sampler = GlobalBatchSampler(
            13, 4, training=True, tasks=(MLM, ROTATION), seed=2, start=start, rank=rank, world=world
        )
        return [
            (request.task.name if request.task else "", request.places[request.rows].tolist()) for request in sampler
        ]

    assert steps(start) == steps(0)[start:]
    halves = zip(steps(start, 0, 2), steps(start, 1, 2), strict=True)
    assert [(one[0], one[1] + two[1]) for one, two in halves] == steps(start)
    assert [name for name, _ in steps(start, 0, 2)] == [name for name, _ in steps(start, 1, 2)]


def test_films_that_a_task_does_not_need_stay_unread() -> None:
    store = FakeStore(8)
    dataset = PairDataset(store, store.study_ids, FakeTokenizer(), TextConfig())
    request = BatchRequest(0, np.arange(4), slice(None), ROTATION)
    with_films = to_pair_batch(dataset[request], IMAGE, torch.device("cpu"), seed=0, dtype=torch.float32)
    assert (with_films.task, with_films.pixels.shape) == ("rotation", (4, 1, 20, 20))

    def refuse(rows: object) -> NDArray[np.uint8]:
        raise AssertionError("a film was read")

    store.pixels = refuse  # type: ignore[method-assign]  # what must not happen
    raw = dataset[BatchRequest(0, np.arange(4), slice(None), MLM)]
    batch = to_pair_batch(raw, IMAGE, torch.device("cpu"), seed=0, dtype=torch.float64)
    assert (batch.task, batch.pixels.shape, batch.pixels.dtype) == ("mlm", (4, 1, 0, 0), torch.float64)
    assert [len(piece) for piece in batch.micro_batches(3)] == [3, 1]
    assert batch.tokens.input_ids.shape[0] == 4


def test_a_second_view_is_an_independent_look_at_the_same_films() -> None:
    dataset = fake_dataset(0, 8)

    def batch(epoch: int, seed: int | None, views: int = 2) -> PairBatch:
        raw = all_of(dataset, epoch)
        return to_pair_batch(raw, IMAGE, torch.device("cpu"), seed=seed, dtype=torch.float32, views=views)

    one, again, later = batch(0, 1), batch(0, 1), batch(1, 1)
    assert one.second_view is not None
    assert again.second_view is not None
    assert later.second_view is not None
    assert one.second_view.shape == one.pixels.shape
    assert torch.equal(one.second_view, again.second_view)
    assert not torch.equal(one.second_view, one.pixels)
    assert not torch.equal(one.second_view, later.second_view)
    assert torch.equal(one.pixels, batch(0, 1, views=1).pixels)
    assert batch(0, 1, views=1).second_view is None
    validated = [batch(epoch, None) for epoch in (0, 3)]
    assert validated[0].second_view is not None
    assert validated[1].second_view is not None
    assert torch.equal(validated[0].second_view, validated[1].second_view)
    assert torch.equal(validated[0].pixels, batch(0, None, views=1).pixels)
