"""Pairs of film and report from a prepared store, loaded as a :class:`BatchRequest` of ``data.sampling`` asks."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from crossray.data.augment import ImageInputConfig, evaluation_view, training_view
from crossray.data.batch import PairBatch, TokenBatch
from crossray.data.randomness import Purpose, derived_choice
from crossray.data.sampling import BatchRequest, GlobalBatchSampler
from crossray.data.sentence_order import SentenceOrder, drawn_order, reorder_sentences
from crossray.data.study import Report, Span, View
from crossray.data.text import SelectedText, TextConfig, normalise_text, select_text
from crossray.data.tokens import PairTokenizer, TokenTable
from crossray.data.worker_deaths import batches_of
from crossray.errors import DataError

Caption = Literal["report", "sentence"]
FilmChoice = Literal["first", "random"]


class PairStore(Protocol):
    """What pairs need of a prepared store (``data.store.Store`` is one)."""

    @property
    def labels(self) -> NDArray[np.float32]:
        """``[n, K]`` labels, NaN unknown."""
        ...

    @property
    def prepared_size(self) -> int:
        """Side of the prepared films."""
        ...

    def index_of(self, study_id: str) -> int:
        """The row of a study."""
        ...

    def report(self, index: int) -> Report:
        """The report of a study."""
        ...

    def films_of(self, index: int, views: tuple[View, ...] = ("frontal",)) -> list[int]:
        """Film rows of a study, in a fixed order."""
        ...

    def pixels(self, rows: Sequence[int]) -> NDArray[np.uint8]:
        """``[n, S, S]`` prepared films."""
        ...

    def blocks_of(self, rows: Sequence[int]) -> NDArray[np.int64]:
        """``[n]`` number of the block in which each film lies."""
        ...


@dataclass(frozen=True)
class RawBatch:
    """A process's rows of a global batch, films still uint8 and not yet cropped; ``None`` where they are not needed."""

    epoch: int
    films: Tensor | None
    tokens: TokenBatch
    study_index: Tensor
    text_group: Tensor
    labels: Tensor
    task: str | None = None

    def pin_memory(self) -> RawBatch:
        """The same batch in page-locked memory (called by the loader)."""
        return replace(
            self,
            films=None if self.films is None else self.films.pin_memory(),
            tokens=self.tokens.each(Tensor.pin_memory),
            study_index=self.study_index.pin_memory(),
            text_group=self.text_group.pin_memory(),
            labels=self.labels.pin_memory(),
        )


@dataclass(frozen=True)
class LeftOut:
    """A study of the split that cannot make a pair, and why."""

    study_id: str
    reason: str


class PairDataset(Dataset[RawBatch]):
    """Studies of one split as pairs; indexed by :class:`BatchRequest`.

    Texts are selected, grouped and tokenised here, once. With ``caption="sentence"`` each epoch shows one sentence
    of the report, with ``film_choice="random"`` one of its films; both, and the order of sentences, are looked up from
    (seed, epoch, study).

    Args:
        store: where films and reports come from.
        study_ids: the split, in the order of its list.
        tokenizer: the corpus' tokenizer.
        text: what of a report the model reads.
        views: films of these views.
        film_choice: the first film of a study, or any of them.
        caption: the whole selected text, or one of its sentences.
        sentence_order: as written, or moved about (within what the tokenizer kept of the report).
        seed: of the choices.

    Attributes:
        study_index: ``[n]`` rows in the store of the studies that make a pair.
        left_out: the others.

    Raises:
        DataError: no study of the split makes a pair.
    """

    def __init__(
        self,
        store: PairStore,
        study_ids: Sequence[str],
        tokenizer: PairTokenizer,
        text: TextConfig,
        *,
        views: tuple[View, ...] = ("frontal",),
        film_choice: FilmChoice = "first",
        caption: Caption = "report",
        sentence_order: SentenceOrder = "original",
        seed: int = 0,
    ) -> None:
        self._store = store
        self._seed = seed
        self._film_choice = film_choice
        self._sentence_order: SentenceOrder = sentence_order
        self.left_out: list[LeftOut] = []
        captions: list[list[SelectedText]] = []
        indices: list[int] = []
        self._films: list[list[int]] = []
        for study_id in study_ids:
            index = store.index_of(study_id)
            films, texts = store.films_of(index, views), captions_of(store.report(index), text, caption)
            if not films or not texts:
                reason = f"no {' or '.join(views)} film" if not films else "no text in the selected sections"
                self.left_out.append(LeftOut(study_id, reason))
                continue
            indices.append(index)
            captions.append(texts)
            self._films.append(films)
        if not indices:
            raise DataError(
                f"none of the {len(study_ids)} studies of the split has both a film and a text.",
                remedy="Check data.views and text.sections against `crossray data describe`.",
            )
        self.study_index = np.array(indices, dtype=np.int64)
        self._labels = store.labels[self.study_index]
        self._captions = np.concatenate([[0], np.cumsum([len(texts) for texts in captions])]).astype(np.int64)
        flat = [selected for texts in captions for selected in texts]
        self._tokens = TokenTable.of(flat, tokenizer)
        self._groups = text_groups([selected.text for selected in flat])

    def __len__(self) -> int:
        return len(self.study_index)

    @property
    def blocks(self) -> NDArray[np.int64]:
        """``[n]`` the block of the store in which each pair's film lies (its first one, where any may be chosen)."""
        return self._store.blocks_of([films[0] for films in self._films])

    def __getitem__(self, request: BatchRequest) -> RawBatch:
        texts = self._texts(request.places, request.epoch)
        length = int(self._tokens.lengths(texts).max())
        places, texts = request.places[request.rows], texts[request.rows]
        films = None
        if request.task is None or request.task.needs_films:
            rows = [self._film(place, request.epoch) for place in places.tolist()]
            films = torch.from_numpy(self._store.pixels(rows))
        return RawBatch(
            epoch=request.epoch,
            films=films,
            tokens=self._in_order(self._tokens.batch(texts, length), self.study_index[places], request.epoch),
            study_index=torch.from_numpy(self.study_index[places]),
            text_group=torch.from_numpy(self._groups[texts]),
            labels=torch.from_numpy(self._labels[places]),
            task=None if request.task is None else request.task.name,
        )

    def _texts(self, places: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        first, count = self._captions[places], np.diff(self._captions)[places]
        several = np.flatnonzero(count > 1)
        chosen = first.copy()
        for row in several.tolist():
            study = int(self.study_index[places[row]])
            chosen[row] += derived_choice(self._seed, epoch, Purpose.SENTENCE, study, int(count[row]))
        return chosen

    def _in_order(self, tokens: TokenBatch, studies: NDArray[np.int64], epoch: int) -> TokenBatch:
        if self._sentence_order == "original":
            return tokens
        counts = (tokens.sentence_ids.amax(dim=1) + 1).tolist()
        moved = np.tile(np.arange(max(1, *counts)), (len(counts), 1))
        for row, (study, sentences) in enumerate(zip(studies.tolist(), counts, strict=True)):
            order = drawn_order(self._sentence_order, sentences, seed=self._seed, epoch=epoch, study=study)
            moved[row, order] = np.arange(sentences)
        return reorder_sentences(tokens, torch.from_numpy(moved))

    def _film(self, place: int, epoch: int) -> int:
        films = self._films[place]
        if self._film_choice == "first" or len(films) == 1:
            return films[0]
        return films[derived_choice(self._seed, epoch, Purpose.FILM, int(self.study_index[place]), len(films))]


def captions_of(report: Report, config: TextConfig, caption: Caption) -> list[SelectedText]:
    """The texts that a report may be shown as; empty if there is nothing to read in it."""
    selected = select_text(report, config)
    texts = [selected]
    if caption == "sentence" and selected.sentences:
        sentences = [span.of(selected.text) for span in selected.sentences]
        texts = [SelectedText(text, (Span(0, len(text)),)) for text in sentences]
    return [text for text in texts if normalise_text(text.text)]


def text_groups(texts: Sequence[str]) -> NDArray[np.int64]:
    """``[n]`` equal numbers for texts that are the same once normalised."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(normalise_text(text), len(numbers)) for text in texts], dtype=np.int64)


def pair_loader(
    dataset: PairDataset, sampler: GlobalBatchSampler, *, workers: int = 0, pin_memory: bool = False
) -> Iterator[RawBatch]:
    """Raw batches; nothing in their loading is random, so workers need no seeds.

    Raises:
        DataError: a worker process was killed while a batch was fetched from it.
    """
    loader: DataLoader[RawBatch] = DataLoader(
        dataset,
        batch_size=None,
        sampler=sampler,
        num_workers=workers,
        pin_memory=pin_memory,
        worker_init_fn=_leave_signals_to_the_main_process if workers else None,
        prefetch_factor=4 if workers else None,
    )
    return batches_of(loader) if workers else iter(loader)


def _leave_signals_to_the_main_process(worker: int) -> None:
    """Ctrl-C and SLURM signal every process; a worker that died of it would break the step that is to be finished."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def to_pair_batch(
    raw: RawBatch,
    image: ImageInputConfig,
    device: torch.device,
    *,
    seed: int | None,
    dtype: torch.dtype,
    views: int = 1,
) -> PairBatch:
    """Crop, augment and normalise on the device; ``seed=None`` gives the evaluation view.

    With two ``views`` the second is an independent augmentation of the same films; in evaluation it is always the same
    one, so that figures of different epochs and seeds compare.
    """
    pixels, second = torch.zeros(len(raw.study_index), 1, 0, 0, device=device), None
    if raw.films is not None:
        films, samples = raw.films.to(device, non_blocking=True), raw.study_index.numpy()
        epoch = 0 if seed is None else raw.epoch
        if seed is None:
            pixels = evaluation_view(films, image)
        else:
            pixels = training_view(films, samples, image, seed=seed, epoch=epoch)
        if views == 2:
            again = Purpose.SECOND_VIEW
            second = training_view(films, samples, image, seed=seed or 0, epoch=epoch, purpose=again).to(dtype)
    return PairBatch(
        pixels=pixels.to(dtype),
        tokens=raw.tokens.to(device, non_blocking=True),
        study_index=raw.study_index.to(device, non_blocking=True),
        text_group=raw.text_group.to(device, non_blocking=True),
        labels=raw.labels.to(device, non_blocking=True),
        second_view=second,
        task=raw.task,
    )
