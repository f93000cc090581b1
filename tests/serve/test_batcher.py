"""Questions gathered from many threads: each gets its own answer or error, in batches that are bounded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from crossray.serve.batcher import Batcher


class Squares:
    """Squares numbers; the first call waits until it is let go. Notes its batches, and refuses 13."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = Event()

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        assert self.go.wait(60)
        if 13 in numbers:
            raise ValueError("13 has no square here")
        return [number * number for number in numbers]


def asked_together(batcher: Batcher[int, int], squares: Squares, numbers: Sequence[int]) -> list[int | str]:
    """Answers or messages to one question that goes first and, while it is answered, all the others."""

    def ask(number: int) -> int | str:
        try:
            return batcher.ask(number)
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(len(numbers)) as pool:
        found = [pool.submit(ask, numbers[0])]
        while not squares.batches:
            pass
        found += [pool.submit(ask, number) for number in numbers[1:]]
        while len(batcher) < len(numbers) - 1:
            pass
        squares.go.set()
        return [one.result(60) for one in found]


@pytest.fixture
def worker() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as one:
        yield one


def test_what_waits_is_answered_together_in_its_order_and_in_bounded_batches(worker: ThreadPoolExecutor) -> None:
    squares = Squares()
    numbers = list(range(1, 10))
    assert asked_together(Batcher(squares, worker, most=4), squares, numbers) == [n * n for n in numbers]
    assert squares.batches[0] == [1]
    assert [len(batch) for batch in squares.batches] == [1, 4, 4]
    assert sorted(n for batch in squares.batches for n in batch) == numbers


def test_a_question_that_cannot_be_answered_spoils_no_other(worker: ThreadPoolExecutor) -> None:
    squares = Squares()
    found = asked_together(Batcher(squares, worker, most=8), squares, [2, 3, 13, 4])
    assert found == [4, 9, "13 has no square here", 16]


def test_kinds_of_questions_take_turns(worker: ThreadPoolExecutor) -> None:
    one, other = Squares(), Squares()
    other.go.set()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(Batcher(one, worker, most=2).ask, 5)
        while not one.batches:
            pass
        second = pool.submit(Batcher(other, worker, most=2).ask, 6)
        with pytest.raises(TimeoutError):
            second.result(0.05)
        assert other.batches == []
        one.go.set()
        assert (first.result(60), second.result(60)) == (25, 36)
