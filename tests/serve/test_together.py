"""Many visitors at once: what the model is asked together it answers as if each had been alone, within bounds."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from crossray.methods.base import ImageEmbedding
from crossray.serve.app import Desk
from crossray.serve.decoder import Decoders
from crossray.serve.engine import LoadedRun
from crossray.serve.limits import Limits
from crossray.serve.shelf import Film, FilmShelf, UnknownFilmError

from .conftest import png, png_of

PHRASES = ("Small right pleural effusion.", "The heart is enlarged.", "No pneumothorax.", "Left effusion.")
VISITORS = 6


def film(seed: int) -> Film:
    small = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
    shape = (60 + 10 * seed, 90)
    return Film(np.asarray(Image.fromarray(small).resize(shape, Image.Resampling.BICUBIC)), 0.0)


def asked(run: LoadedRun, number: int) -> dict[str, Any]:
    """All that a visitor asks of a film of their own."""
    own, phrase = film(number), PHRASES[number % len(PHRASES)]
    found = run.ground(own, phrase)
    return {
        "regions": found.regions,
        "vector": run.film_vector(own),
        "words": np.array(run.words(own, f"{phrase} {PHRASES[0]}")["attention"]),
        "scores": np.array(list(run.findings(own).values())),
    }


def together(run: LoadedRun, waiting: Callable[[], int], ask: Callable[[int], Any]) -> list[Any]:
    """Answers to visitors who all come while the model is busy."""
    go = Event()
    with ThreadPoolExecutor(VISITORS) as pool:
        run._worker.submit(go.wait, 120)
        found = [pool.submit(ask, number) for number in range(VISITORS)]
        while waiting() < VISITORS:
            time.sleep(0.001)
        go.set()
        return [one.result(120) for one in found]


def test_visitors_at_once_get_the_answers_that_each_would_get_alone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = desk.runs[0]
    _ = run.directions
    alone = [asked(run, number) for number in range(VISITORS)]
    joint, batches = run.model.joint, list[int]()
    embed = joint.embed_images

    def counted(pixels: NDArray[np.uint8]) -> ImageEmbedding:
        batches.append(len(pixels))
        return embed(pixels)

    monkeypatch.setattr(joint, "embed_images", counted)
    found = together(run, lambda: len(run._films), lambda number: asked(run, number))
    for own, others in zip(found, alone, strict=True):
        for what, value in own.items():
            np.testing.assert_allclose(value, others[what], atol=1e-5, err_msg=what)
    assert batches == [VISITORS]  # each film once, all of them together


def test_two_questions_about_a_film_that_was_just_opened_embed_it_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, own, calls = desk.runs[0], film(1), list[int]()
    embed = run.model.joint.embed_images

    def counted(pixels: NDArray[np.uint8]) -> ImageEmbedding:
        calls.append(len(pixels))
        return embed(pixels)

    monkeypatch.setattr(run.model.joint, "embed_images", counted)
    with ThreadPoolExecutor(4) as pool:
        vectors = list(pool.map(lambda _: run.film_vector(own), range(4)))
    assert calls == [1]
    for vector in vectors:
        np.testing.assert_array_equal(vector, vectors[0])


def test_what_is_made_of_a_film_is_kept_in_its_own_memory_and_counts_among_the_bytes_held(desk: Desk) -> None:
    run = desk.runs[0]
    made = together(run, lambda: len(run._films), lambda number: run.embedding(film(number)))
    for embedding in made:
        for tensor in (embedding.pooled, embedding.regions):
            assert tensor.untyped_storage().nbytes() == tensor.nbytes  # no view into the batch
    shelf = FilmShelf(Limits(films_bytes=1000))
    first = shelf.put(np.zeros((10, 10), np.uint8))
    assert shelf.get(first).nbytes == 100
    shelf.get(first).embeddings[0] = made[0]
    assert shelf.get(first).nbytes == 100 + made[0].nbytes > 1000
    shelf.put(np.zeros((10, 10), np.uint8))
    with pytest.raises(UnknownFilmError):
        shelf.get(first)


def test_films_are_decoded_side_by_side_and_one_visitor_alone_starts_one_process() -> None:
    decoders = Decoders(Limits(decoders=2))
    try:
        for _ in range(3):
            assert decoders.decode(png()).shape == (90, 70)
        assert decoders.starts == 1
        contents = [png_of(np.full((20, 20 + k), k, np.uint8)) for k in range(8)]
        with ThreadPoolExecutor(8) as pool:
            for k, pixels in enumerate(pool.map(decoders.decode, contents)):
                np.testing.assert_array_equal(pixels, np.full((20, 20 + k), k))
        assert decoders.starts <= 2
    finally:
        decoders.close()


def test_a_batch_of_films_is_a_few_calls_of_the_model_with_the_numbers_of_single_ones(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, count = desk.runs[0], 20
    singles = [run.embedding(film(seed)) for seed in range(count)]
    calls: list[int] = []
    embed = run.model.joint.embed_images

    def counted(films: NDArray[np.uint8]) -> ImageEmbedding:
        calls.append(len(films))
        return embed(films)

    monkeypatch.setattr(run.model.joint, "embed_images", counted)
    films = [film(seed) for seed in range(count)]
    found = run.embeddings(films)
    assert calls == [16, 4]
    for one, single in zip(found, singles, strict=True):
        assert isinstance(one, ImageEmbedding)
        torch.testing.assert_close(one.pooled, single.pooled, atol=1e-6, rtol=0)
        torch.testing.assert_close(one.regions, single.regions, atol=1e-6, rtol=0)
    assert run.embeddings(films) == found  # kept with the films
    assert calls == [16, 4]
