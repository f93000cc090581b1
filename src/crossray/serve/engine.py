"""What the server answers, without HTTP: films and sentences to maps, scores and neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from crossray.data.augment import evaluation_window
from crossray.data.geometry import LONGEST_SIDE, FilmGeometry, prepare_film
from crossray.data.store import Store
from crossray.data.study import Box, View
from crossray.errors import ConfigError
from crossray.evaluation.grounding import film_heat
from crossray.evaluation.prompts import load_prompts
from crossray.files import sha256_of
from crossray.inference.calibration import FindingScale
from crossray.inference.embed import unit
from crossray.inference.joint_model import WordAttention
from crossray.inference.model import Model, PromptPair
from crossray.inference.run_files import checkpoint_file
from crossray.inference.search.index import SearchIndex, Side
from crossray.inference.search.query import store_of_index
from crossray.methods.base import GroundsPhrases, GroundsWords, ImageEmbedding
from crossray.serve.batcher import Batcher
from crossray.serve.hands import by_hand
from crossray.serve.shelf import Film

# A film of the index does not score below itself: products of single precision differ in their last digits.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class PhraseHeat:
    """Where a phrase points in a film.

    Attributes:
        heat: ``[height, width]`` over the film, 0 lowest to 1 highest; a pixel of it is one of the film's or several.
        regions: ``[rows, columns]`` as the method gave them.
        peak: x and y of the middle of the highest region, as far as it lies on the film, in the film's pixels.
        seen: ``x_min, y_min, x_max, y_max`` of what the model saw of the film, in the film's pixels.
    """

    heat: NDArray[np.float64]
    regions: NDArray[np.float32]
    peak: tuple[float, float]
    seen: tuple[float, float, float, float]


#: Questions that the model answers together, by kind; each bounds what a batch needs of memory.
_FILMS_AT_ONCE, _PHRASES_AT_ONCE, _REPORTS_AT_ONCE = 16, 32, 8


class LoadedRun:
    """A run ready to answer many visitors: their questions to the model wait for each other and go through together."""

    # Of all runs, for torch uses all cores for one of them.
    _worker = ThreadPoolExecutor(1, thread_name_prefix="model")

    def __init__(self, number: int, folder: Path, checkpoint: str = "best") -> None:
        self.number = number
        self.name = folder.resolve().name
        self.model = Model.load(folder, checkpoint)
        self.weights = sha256_of(checkpoint_file(folder, checkpoint))
        self._films = Batcher(self._embed, self._worker, _FILMS_AT_ONCE)
        self._phrases = Batcher(self._phrase_maps, self._worker, _PHRASES_AT_ONCE)
        self._reports = Batcher(self._word_attentions, self._worker, _REPORTS_AT_ONCE)

    @property
    def describes(self) -> dict[str, Any]:
        """What the page must know of it."""
        method = self.model.joint.method
        return {
            "number": self.number,
            "name": self.name,
            "method": method.name,
            "reads_reports": method.reads_reports,
            "grounds_phrases": isinstance(method, GroundsPhrases) and method.regions_are_places,
            "regions_are_places": method.regions_are_places,
            "grounds_words": isinstance(method, GroundsWords),
        }

    def embedding(self, film: Film) -> ImageEmbedding:
        """The film in this run's space, computed once and kept as long as the film is."""
        with film.lock:
            if self.number not in film.embeddings:
                prepared, _ = by_hand(prepare_film, film.pixels, self.model.prepared_size)
                film.embeddings[self.number] = self._films.ask(prepared)
            return film.embeddings[self.number]

    def embeddings(self, films: Sequence[Film]) -> list[ImageEmbedding | Exception]:
        """Of several films, made together; what is wrong with one stands in its place and spoils no other's.

        Memory grows with the number of films by their prepared squares, and by no more than ``_FILMS_AT_ONCE`` in the
        model.
        """
        fresh = [place for place, film in enumerate(films) if self.number not in film.embeddings]
        prepared: dict[int, NDArray[np.uint8]] = {}
        errors: dict[int, Exception] = {}
        for place in fresh:
            try:
                prepared[place] = by_hand(prepare_film, films[place].pixels, self.model.prepared_size)[0]
            except Exception as error:
                errors[place] = error
        for place, answer in zip(prepared, self._films.ask_all(list(prepared.values())), strict=True):
            try:
                embedded = answer.result()
            except Exception as error:  # whatever it is, it is told of this film alone
                errors[place] = error
            else:
                with films[place].lock:
                    films[place].embeddings[self.number] = embedded
        return [errors[k] if k in errors else film.embeddings[self.number] for k, film in enumerate(films)]

    def _embed(self, prepared: Sequence[NDArray[np.uint8]]) -> list[ImageEmbedding]:
        return self.model.joint.embed_images(np.stack(prepared)).each_film()

    def _phrase_maps(self, asked: Sequence[tuple[ImageEmbedding, str]]) -> list[NDArray[np.float32]]:
        films, phrases = ImageEmbedding.joined([film for film, _ in asked]), [phrase for _, phrase in asked]
        return list(self.model.joint.phrase_map(films, phrases, range(len(asked))).numpy())

    def _word_attentions(self, asked: Sequence[tuple[ImageEmbedding, str]]) -> list[WordAttention]:
        films = ImageEmbedding.joined([film for film, _ in asked])
        return self.model.joint.word_attentions(films, [text for _, text in asked])

    def film_vector(self, film: Film) -> NDArray[np.float32]:
        """``[D]`` of length 1."""
        vector: NDArray[np.float32] = unit(self.embedding(film).pooled.numpy())[0]
        return vector

    def text_vectors(self, texts: list[str]) -> NDArray[np.float32]:
        """``[M, D]`` of length 1."""
        return self._worker.submit(self.model.embed_texts, texts).result()

    def _geometry(self, height: int, width: int) -> FilmGeometry:
        """How a film of this shape maps to the square that the run reads."""
        return FilmGeometry(height, width, height, width, self.model.prepared_size)

    def ground(self, film: Film, phrase: str, longest: int | None = None) -> PhraseHeat:
        """Where a phrase points; every phrase points somewhere, so this says where, not whether.

        Args:
            film: where to look.
            phrase: for what.
            longest: pixels of the map's long side, if the film has more; ``None`` maps every pixel of the film.
        """
        regions = self._phrases.ask((self.embedding(film), phrase))
        window = evaluation_window(self.model.prepared_size, self.model.joint.image_config)
        height, width = film.pixels.shape
        scale = min(1.0, (longest or LONGEST_SIDE) / max(height, width))
        smaller = self._geometry(max(1, round(height * scale)), max(1, round(width * scale)))
        heat = by_hand(film_heat, regions.astype(np.float64), smaller, window)
        geometry = self._geometry(height, width)
        on_film = np.where(geometry.regions_on_film(regions.shape, window), regions, -np.inf)
        row, column = np.unravel_index(int(on_film.argmax()), regions.shape)
        x0, y0, x1, y1 = _on_film(geometry, geometry.region_box(int(row), int(column), regions.shape, window))
        seen = _on_film(geometry, geometry.region_box(0, 0, (1, 1), window))
        return PhraseHeat(heat, regions, ((x0 + x1) / 2, (y0 + y1) / 2), seen)

    def words(self, film: Film, text: str) -> dict[str, Any]:
        """``attention [W][R]`` of each word to each region (sums to 1 a word), and each region's box on the film."""
        found = self._reports.ask((self.embedding(film), text))
        geometry = self._geometry(*film.pixels.shape)
        rows, columns = found.maps.shape[1:]
        window = evaluation_window(self.model.prepared_size, self.model.joint.image_config)
        boxes = [
            geometry.region_box(row, col, (rows, columns), window) for row in range(rows) for col in range(columns)
        ]
        return {
            "words": list(found.words),
            "grid": [rows, columns],
            "attention": found.maps.flatten(1).numpy().round(6).tolist(),
            "regions": [[box.x_min, box.y_min, box.x_max, box.y_max] for box in boxes],
        }

    def findings(self, film: Film) -> dict[str, float]:
        """For each class of the shipped prompts: mean cosine with sentences that state it, minus those that deny it."""
        vector = self.film_vector(film)
        return {name: float(vector @ direction) for name, direction in self.directions.items()}

    @cached_property
    def directions(self) -> dict[str, NDArray[np.float32]]:
        """For each class of the shipped prompts, the vector ``[D]`` whose product with a film's is its score."""
        return self._worker.submit(self.model.directions, self._prompts).result()

    @cached_property
    def scales(self) -> dict[str, FindingScale]:
        """How the scores of each class are to be read."""
        calibrator = self.model.calibrator
        return {name: calibrator.scale(name, own.positive, own.negated) for name, own in self._prompts.items()}

    @cached_property
    def _prompts(self) -> dict[str, PromptPair]:
        return {name: PromptPair(own.positive, own.negated) for name, own in load_prompts().classes.items()}


class Neighbours:
    """An index with the store that it was made from, if that is at hand.

    Raises:
        ConfigError: the index was made with other weights than the run's.
        DataError, StoreError: index or store cannot be used.
    """

    def __init__(self, index: Path, run: LoadedRun, store: Path | str | None) -> None:
        self.index = SearchIndex.open(index, weights=run.weights)
        self._scores_of_films: dict[str, NDArray[np.float32]] | None = None
        self.store: Store | None = store_of_index(self.index.manifest, store)
        if self.store is not None and self.store.hash != self.index.manifest.store_hash:
            raise ConfigError("is not the store that the index was made from.", file=store, field="--store")

    def nearest(self, vector: NDArray[np.float32], k: int, side: Side) -> list[dict[str, Any]]:
        """The ``k`` nearest, best first, with their reports and whether a film can be shown."""
        return [
            {
                "cosine": hit.score,
                "study": hit.study_id,
                "film": hit.film_id,
                "view": hit.view,
                "report": self._report(hit.study_id),
                "has_picture": self.store is not None,
            }
            for hit in self.index.search(vector[None], k, side)[0]
        ]

    def standing(self, run: LoadedRun, scores: dict[str, float]) -> dict[str, float] | None:
        """For each finding, the share of the index's films that score below this one; unlike scores, comparable.

        ``None`` where an approximate index cannot tell.
        """
        if self._scores_of_films is None:
            if self.index.manifest.kind != "exact" or not self.index.manifest.films:
                return None
            directions = np.stack(list(run.directions.values()))
            cosines, _ = self.index.nearest(directions, self.index.manifest.films, "films")
            lengths = np.linalg.norm(directions, axis=1, keepdims=True)
            self._scores_of_films = dict(zip(run.directions, cosines[:, ::-1] * lengths, strict=True))
        return {
            name: float(np.searchsorted(self._scores_of_films[name], score - _ROUNDING) / self.index.manifest.films)
            for name, score in scores.items()
        }

    def picture(self, study: str, film: str | None) -> NDArray[np.uint8]:
        """The prepared pixels of a film of the store, or of the study's first.

        Raises:
            ConfigError: there is no store, or no such film.
            DataError: no such study.
        """
        if self.store is None:
            raise ConfigError("The server has no store: it can show no neighbour's film.")
        rows = self.store.films_of(self.store.index_of(study), get_args(View))
        chosen = [row for row in rows if film is None or self.store.film(row).film_id == film]
        if not chosen:
            raise ConfigError("The study has no such film.")
        pixels: NDArray[np.uint8] = self.store.pixels(chosen[:1])[0]
        return pixels

    def _report(self, study: str) -> str | None:
        return None if self.store is None else self.store.report(self.store.index_of(study)).text or None


def _on_film(geometry: FilmGeometry, box: Box) -> tuple[float, float, float, float]:
    """Corners of the part of a box that lies on the film."""
    clipped = geometry.clip_to_film(box)
    return (0.0, 0.0, 0.0, 0.0) if clipped is None else (clipped.x_min, clipped.y_min, clipped.x_max, clipped.y_max)
