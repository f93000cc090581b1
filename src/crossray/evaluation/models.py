"""The models of one fold, loaded when first needed: the run's own, and the trunk that is its floor."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crossray.data.augment import ImageInputConfig
from crossray.data.text import SelectedText
from crossray.encoders.image import ImageEncoder, ImageEncoderConfig
from crossray.evaluation.cohort import Part
from crossray.evaluation.finetune import predict
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.runs import Run
from crossray.inference.joint_model import JointModel
from crossray.methods.base import ImageEmbedding, ScoresClasses

_CHUNK_FILMS = 1024
_RANDOM_TRUNK_SEED = 0


class Films(Protocol):
    """Prepared films by their rows: a store, or several numbered as one."""

    def pixels(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """``[n, S, S]`` uint8."""
        ...


class PooledTrunk(nn.Module):
    """An image encoder reduced to its pooled vector: what fine-tuning puts a head on."""

    def __init__(self, encoder: ImageEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Tensor) -> Tensor:
        """``[B, 1, s, s]`` → ``[B, C]``."""
        pooled: Tensor = self.encoder(pixels).pooled
        return pooled


class RunModel:
    """A run's joint model with the films of one part embedded once."""

    def __init__(self, run: Run, store: Films, batch_size: int) -> None:
        self._run, self._store, self._batch_size = run, store, batch_size
        self._embedded: dict[tuple[str, ...], ImageEmbedding] = {}

    @cached_property
    def joint(self) -> JointModel:
        """The loaded model."""
        return JointModel.load(self._run.path, checkpoint=self._run.checkpoint)

    def similarity(
        self, part: Part, texts: Sequence[SelectedText] | Sequence[str], *, purpose: Literal["retrieval", "zero_shot"]
    ) -> tuple[FloatArray, FloatArray | None]:
        """Global and local scores ``[N, M]`` of the part's films against texts (local ``None`` if there is none).

        Each distinct text is embedded and scored once, so that identical texts tie exactly.
        """
        distinct: dict[str, SelectedText | str] = {}
        for text in texts:
            distinct.setdefault(_words(text), text)
        place = {words: column for column, words in enumerate(distinct)}
        columns = [place[_words(text)] for text in texts]
        embedded = self.joint.embed_texts(list(distinct.values()), batch_size=self._batch_size)
        scores = self.joint.similarity(self.images(part), embedded, purpose=purpose)
        local = None if scores.local_scores is None else scores.local_scores.double().numpy()[:, columns]
        return scores.global_scores.double().numpy()[:, columns], local

    def class_probabilities(self, part: Part, prompts: Sequence[str]) -> FloatArray | None:
        """The method's own scores ``[N, C]`` of the part's films, one prompt a class; ``None`` if it has none."""
        method = self.joint.method
        if not isinstance(method, ScoresClasses):
            return None
        embedded = self.joint.embed_texts(prompts, batch_size=self._batch_size)
        scores = self.joint.similarity(self.images(part), embedded, purpose="zero_shot")
        with torch.no_grad():
            probabilities: FloatArray = method.class_probabilities(scores).double().numpy()
        return probabilities

    def images(self, part: Part) -> ImageEmbedding:
        """The part's films in the joint space."""
        if part.study_ids not in self._embedded:
            pieces = [
                self.joint.embed_images(self._store.pixels(rows), batch_size=self._batch_size)
                for rows in chunks(part.films)
            ]
            self._embedded[part.study_ids] = ImageEmbedding.joined(pieces)
        return self._embedded[part.study_ids]

    def pooled(self, part: Part) -> NDArray[np.float32]:
        """The part's films as vectors ``[N, D]`` float32, not normalised. Regions are let go batch by batch."""
        batches = np.array_split(part.films, max(1, -(-len(part.films) // self._batch_size)))
        return np.concatenate(
            [self.joint.embed_images(self._store.pixels(rows), self._batch_size).pooled.numpy() for rows in batches]
        )

    def phrase_maps(self, part: Part, rows: Sequence[int], phrases: Sequence[str]) -> FloatArray:
        """Where each phrase points in the part's film of its row: ``[P, rows, columns]`` over what the model sees."""
        maps: FloatArray = self.joint.phrase_map(self.images(part), phrases, rows).double().numpy()
        return maps

    def features(self, films: NDArray[np.int64]) -> NDArray[np.float32]:
        """Pooled trunk features ``[n, C]``, before any projection."""
        pieces = [
            self.joint.image_features(self._store.pixels(rows), batch_size=self._batch_size) for rows in chunks(films)
        ]
        return np.concatenate([np.asarray(piece, dtype=np.float32) for piece in pieces])

    def text_features(self, texts: Sequence[SelectedText]) -> NDArray[np.float32]:
        """The text encoder's vectors ``[n, C]``, before any projection; each distinct text is read once."""
        place: dict[str, int] = {}
        rows = [place.setdefault(text.text, len(place)) for text in texts]
        distinct = {text.text: text for text in texts}
        features = self.joint.text_features([distinct[words] for words in place], batch_size=self._batch_size)
        read: NDArray[np.float32] = features.numpy()[rows]
        return read

    def trunk(self) -> PooledTrunk:
        """A trainable copy of the run's image encoder."""
        encoder = trainable_encoder(self._run.model.image_encoder, initial_weights=False)
        trained = self.joint.method.image_encoder
        assert isinstance(trained, ImageEncoder)  # every method has one
        encoder.load_state_dict(trained.state_dict())
        return PooledTrunk(encoder)


class FloorModel:
    """A trunk without our pretraining that sees the same pixels: a run's floor, or an encoder from elsewhere.

    Random weights are always the same.
    """

    def __init__(self, config: ImageEncoderConfig, image: ImageInputConfig, store: Films, batch_size: int) -> None:
        self.config = config
        self._image, self._store, self._batch_size = image, store, batch_size

    def features(self, films: NDArray[np.int64]) -> NDArray[np.float32]:
        """Pooled trunk features ``[n, C]``."""
        return predict(self.trunk(), self._store.pixels, films, self._image, self._batch_size).astype(np.float32)

    def trunk(self) -> PooledTrunk:
        """The trunk, ready to be trained."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_RANDOM_TRUNK_SEED)
            return PooledTrunk(trainable_encoder(self.config, initial_weights=True))


def floor_encoder(config: ImageEncoderConfig) -> ImageEncoderConfig:
    """What the floor of a run's trunk is made of: its ImageNet weights, or random ones where it began with such."""
    return config.model_copy(update={"pretrained": "none" if config.pretrained == "none" else "imagenet"})


def trainable_encoder(config: ImageEncoderConfig, *, initial_weights: bool) -> ImageEncoder:
    """An encoder with nothing frozen and batch norm of its own batch: fine-tuning is the same for every start."""
    free = config.model_copy(update={"batch_norm": "local", "frozen_stages": 0})
    return ImageEncoder(free, initial_weights=initial_weights)


def chunks(films: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Film rows in pieces small enough that their pixels may be held at once."""
    return [films[start : start + _CHUNK_FILMS] for start in range(0, len(films), _CHUNK_FILMS)]


def _words(text: SelectedText | str) -> str:
    return text if isinstance(text, str) else text.text
