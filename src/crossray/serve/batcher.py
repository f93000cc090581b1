"""Questions that wait for the model, gathered: it answers sixteen in much less time than sixteen times one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Batcher(Generic[Asked, Answer]):
    """Answers one kind of question from many threads, as many together as wait, the longest waiting first.

    A batch that fails is answered again one by one, so that nobody's question spoils another's.

    Args:
        answer: several questions → their answers, in order.
        worker: of one thread, which all kinds of questions share: they take turns, and the memory that the model needs
            is kept by one thread and not by each that ever asked.
        most: questions in a batch, which bounds that memory.
    """

    def __init__(
        self, answer: Callable[[Sequence[Asked]], Sequence[Answer]], worker: ThreadPoolExecutor, most: int
    ) -> None:
        self._answer = answer
        self._worker = worker
        self._most = most
        self._queue: deque[tuple[Asked, Future[Answer]]] = deque()

    def __len__(self) -> int:
        """How many wait and are not being answered yet."""
        return len(self._queue)

    def ask(self, asked: Asked) -> Answer:
        """The answer to a question; raises what answering it alone raises."""
        return self.ask_all([asked])[0].result()

    def ask_all(self, asked: Sequence[Asked]) -> list[Future[Answer]]:
        """The answers to several questions, which are put at once; each raises what answering it alone raises."""
        waiting: list[tuple[Asked, Future[Answer]]] = [(one, Future()) for one in asked]
        self._queue.extend(waiting)
        # Once for each question; where an earlier turn has answered it already, there is nothing left to do.
        for _ in waiting:
            self._worker.submit(self._answer_waiting)
        return [answer for _, answer in waiting]

    def _answer_waiting(self) -> None:
        batch = [self._queue.popleft() for _ in range(min(self._most, len(self._queue)))]
        try:
            answers = self._answer([asked for asked, _ in batch]) if batch else []
        except Exception:  # whatever it is: it is raised to the one whose question it is of
            for asked, own in batch:
                self._answer_alone(asked, own)
        else:
            for (_, own), answer in zip(batch, answers, strict=True):
                own.set_result(answer)

    def _answer_alone(self, asked: Asked, own: Future[Answer]) -> None:
        try:
            own.set_result(self._answer([asked])[0])
        except Exception as error:  # as above
            own.set_exception(error)
