"""What ``crossray.load`` gives: a trained run for use elsewhere. Films and sentences in, arrays out.

A similarity is a cosine between -1 and 1; a class score is a difference of cosines. Both order films or sentences, and
neither is a probability. Beside class scores there are probabilities where ``crossray calibrate`` has fitted them for
the run and the sentences. Research only, not for diagnosis.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from crossray.data.augment import evaluation_window
from crossray.data.film_file import read_prepared
from crossray.data.geometry import FilmGeometry, prepare_film
from crossray.errors import ConfigError
from crossray.inference.calibration import Calibrator
from crossray.inference.embed import unit
from crossray.inference.joint_model import JointModel, Progress
from crossray.inference.released import VOCABULARY, load_released
from crossray.inference.run_files import prepared_size_of

Film: TypeAlias = "Path | str | NDArray[np.uint8]"
"""A file (DICOM, PNG, JPEG), or grey pixels ``[height, width]`` uint8 with bright bones."""

FloatArray = NDArray[np.float32]

NO_PLACES = (
    "this model's regions are no places: each holds a few channels of the whole film, as the published code reads its "
    "maps. The heat map shows the published attention, laid out as if they were."
)


@dataclass(frozen=True)
class PromptPair:
    """Sentences that state a class, and sentences that deny it (none: the stating ones alone are scored)."""

    positive: Sequence[str]
    negated: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class ClassScores(Mapping[str, FloatArray]):
    """Of N films for each class: a mapping from the class's name to its scores ``[N]``.

    Attributes:
        scores: differences of cosines: compare films by one class's, not classes by theirs.
        probabilities: ``[N]`` of each class that is calibrated.
        meaning: of each class, what its numbers are: calibrated on which films, or why not.
    """

    scores: Mapping[str, FloatArray]
    probabilities: Mapping[str, FloatArray]
    meaning: Mapping[str, str]

    def __getitem__(self, name: str) -> FloatArray:
        return self.scores[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)


class Model:
    """A joint model of films and reports.

    Args:
        joint: the loaded run.
        prepared_size: side of the square to which films are brought before the model's own resizing and crop.
        calibrator: what makes probabilities of its class scores; none by default.
    """

    def __init__(self, joint: JointModel, prepared_size: int, calibrator: Calibrator | None = None) -> None:
        self.joint = joint
        self.prepared_size = prepared_size
        self.calibrator = calibrator or Calibrator()

    @classmethod
    def load(
        cls,
        run: Path | str,
        checkpoint: str = "best",
        *,
        device: torch.device | str = "cpu",
        vocabulary: str = VOCABULARY,
    ) -> Model:
        """The model of a run, of a folder of ``crossray export --to hub-folder``, or of a released checkpoint file.

        Raises:
            CheckpointError, ConfigError: as :meth:`JointModel.load` and :func:`load_released`.
        """
        run = Path(run)
        if run.is_file():
            return cls(*load_released(run, vocabulary, device=device))
        joint = JointModel.load(run, checkpoint, device=device)
        return cls(joint, prepared_size_of(run), Calibrator.of_run(run, checkpoint))

    @property
    def method(self) -> str:
        """Name of the method that it was trained with."""
        return self.joint.method.name

    @property
    def image_encoder(self) -> nn.Module:
        """The trunk alone: ``[B, 1, s, s]`` to an object with ``pooled [B, C]`` and ``regions [B, R, C]``."""
        encoder = self.joint.method.image_encoder
        assert isinstance(encoder, nn.Module)
        return encoder

    @property
    def text_encoder(self) -> nn.Module:
        """The language model alone.

        Raises:
            ConfigError: the method reads no reports.
        """
        self._needs_text()
        encoder = self.joint.method.text_encoder
        assert isinstance(encoder, nn.Module)
        return encoder

    def embed_images(self, films: Sequence[Film], batch_size: int = 32, progress: Progress | None = None) -> FloatArray:
        """Vectors ``[N, D]`` of length 1 of films.

        Args:
            films: files or arrays, of any sizes.
            batch_size: films at once.
            progress: told how many are done, of how many.

        Raises:
            ConfigError: there is no film.
            StudyError: one cannot be read as a film; the message names the file.
        """
        prepared, _ = self._prepared(films)
        return unit(self.joint.embed_images(prepared, batch_size, progress).pooled.numpy())

    def embed_texts(self, texts: Sequence[str], batch_size: int = 64, progress: Progress | None = None) -> FloatArray:
        """Vectors ``[M, D]`` of length 1 of sentences or reports.

        Raises:
            ConfigError: the method reads no reports, or there is no text.
        """
        self._needs_text()
        return unit(self.joint.embed_texts(texts, batch_size, progress).report.numpy())

    def similarity(self, films: Sequence[Film], texts: Sequence[str]) -> FloatArray:
        """Cosines ``[N, M]`` of every film and every text."""
        cosines: FloatArray = self.embed_images(films) @ self.embed_texts(texts).T
        return cosines

    def classify(self, films: Sequence[Film], prompts: Mapping[str, PromptPair | Sequence[str]]) -> ClassScores:
        """A score for each class, ``[N]``: mean cosine with the sentences that state it, minus with those that deny it.

        Where ``crossray calibrate`` has fitted the run's scores of these very sentences, ``probabilities`` has the
        class too; ``meaning`` says in words which numbers are calibrated, on what, and why others are not.

        Raises:
            ConfigError: there is no class, or one has no stating sentence.
        """
        pairs = {name: own if isinstance(own, PromptPair) else PromptPair(own) for name, own in prompts.items()}
        vectors, directions = self.embed_images(films), self.directions(pairs)
        scores = {name: vectors @ direction for name, direction in directions.items()}
        scales = {name: self.calibrator.scale(name, pair.positive, pair.negated) for name, pair in pairs.items()}
        found = {name: scale.probabilities(scores[name]) for name, scale in scales.items()}
        return ClassScores(
            scores=scores,
            probabilities={name: own.astype(np.float32) for name, own in found.items() if own is not None},
            meaning={name: scale.meaning for name, scale in scales.items()},
        )

    def directions(self, prompts: Mapping[str, PromptPair]) -> dict[str, FloatArray]:
        """For each class the vector ``[D]`` whose product with a film's vector is its score.

        Raises:
            ConfigError: as :meth:`classify`.
        """
        empty = [name for name, pair in prompts.items() if not pair.positive or isinstance(pair.positive, str)]
        if not prompts or empty:
            what = f"class '{empty[0]}' has no list of sentences" if empty else "there is no class"
            raise ConfigError(f"{what}.", field="prompts", remedy='Give {"Edema": ["Pulmonary edema is present."]}.')
        sentences = list(dict.fromkeys(s for pair in prompts.values() for s in (*pair.positive, *pair.negated)))
        vectors = self.embed_texts(sentences)
        place = {sentence: row for row, sentence in enumerate(sentences)}

        def mean(own: Sequence[str]) -> FloatArray:
            found: FloatArray = vectors[[place[sentence] for sentence in own]].mean(axis=0)
            return found

        return {
            name: mean(pair.positive) - (mean(pair.negated) if pair.negated else np.float32(0))
            for name, pair in prompts.items()
        }

    def ground(self, film: Film, phrase: str) -> FloatArray:
        """Where a phrase points: ``[height, width]`` of the film's own pixels, larger is stronger.

        The scale differs by method, and every phrase points somewhere, also where nothing is: a map says where, not
        whether. Film that the model's crop left out has the map's smallest value. Draw it with
        :func:`crossray.plots.plot_grounding`. Of a model whose regions are no places, as PRIOR's released one, a
        warning says so.

        Raises:
            ConfigError: the method says nothing about places.
        """
        if not self.joint.method.regions_are_places:
            warnings.warn(NO_PLACES, stacklevel=2)
        prepared, (geometry,) = self._prepared([film])
        heat = self.joint.phrase_map(self.joint.embed_images(prepared), [phrase], [0])[0].numpy()
        window = evaluation_window(self.prepared_size, self.joint.image_config)
        return geometry.map_to_original(heat, window, outside=float(heat.min()))

    def _prepared(self, films: Sequence[Film]) -> tuple[NDArray[np.uint8], list[FilmGeometry]]:
        if isinstance(films, (str, Path)):
            raise ConfigError("films must be a list of films.", remedy=f"Give [{films!r}].")
        found = [
            prepare_film(film, self.prepared_size)
            if isinstance(film, np.ndarray)
            else read_prepared(Path(film), self.prepared_size)
            for film in films
        ]
        if not found:
            raise ConfigError("no film was given.")
        return np.stack([pixels for pixels, _ in found]), [geometry for _, geometry in found]

    def _needs_text(self) -> None:
        if not self.joint.method.reads_reports:
            raise ConfigError(f"{self.method} reads no reports.")
