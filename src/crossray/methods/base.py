"""What every method offers to the training loop, to evaluation and to inference.

A training step has two halves, so that one loop serves plain steps, gradient caching and several
processes: :meth:`Method.encode` runs the encoders on (a piece of) a batch and returns a flat set of
tensors; :meth:`Method.losses` compares the pairs of the whole batch. Only ``losses`` lets pairs
meet, and it reaches other processes' pairs only through the ``gather`` it is given.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from crossray.data.batch import PairBatch, TokenBatch
from crossray.data.tasks import AuxiliaryTask

Positives = Literal["identity", "same_text", "same_label"]

PairFeatures = dict[str, Tensor]
"""Tensors whose first dimension is the pair: what :meth:`Method.encode` hands to :meth:`Method.losses`.

Floating tensors carry gradient; integer and boolean ones (masks, groups) do not. Pieces of a batch are
joined by concatenation along the first dimension, so every other dimension must be the same for all
pieces of one batch.
"""


class Gather(Protocol):
    """Joins a tensor's rows across processes: ``[b, ...]`` on each to ``[world * b, ...]``, in rank order.

    With gradient: the gradient of the gathered tensor is summed over processes and the own rows handed back.
    """

    def __call__(self, rows: Tensor) -> Tensor:
        """The rows of all processes."""
        ...

    @property
    def rank(self) -> int:
        """This process's place: its rows are ``gathered[rank * b : (rank + 1) * b]``."""
        ...


class SingleProcess:
    """The gather of a lone process: the rows as they are."""

    rank = 0

    def __call__(self, rows: Tensor) -> Tensor:
        """The rows, unchanged."""
        return rows


@dataclass(frozen=True)
class LossTerms:
    """Named, unweighted loss terms and their weights; the total is computed here and nowhere else."""

    terms: Mapping[str, Tensor]
    weights: Mapping[str, float]

    def __post_init__(self) -> None:
        if set(self.terms) != set(self.weights):
            raise ValueError(f"terms {sorted(self.terms)} and weights {sorted(self.weights)} differ")

    @property
    def total(self) -> Tensor:
        """The weighted sum, a scalar."""
        return torch.stack([self.weights[name] * term for name, term in self.terms.items()]).sum()


@dataclass(frozen=True)
class ImageEmbedding:
    """Films in the joint space: ``pooled [N, D]``, ``regions [N, R, D]``, not normalised; ``grid``: rows × columns.

    A method without local terms gives as regions what its global head makes of each place of the trunk's last map.
    """

    pooled: Tensor
    regions: Tensor
    grid: tuple[int, int]

    @classmethod
    def joined(cls, pieces: Sequence[ImageEmbedding]) -> ImageEmbedding:
        """The films of several embeddings of one model, in order."""
        return cls(
            pooled=torch.cat([piece.pooled for piece in pieces]),
            regions=torch.cat([piece.regions for piece in pieces]),
            grid=pieces[0].grid,
        )

    def each_film(self) -> list[ImageEmbedding]:
        """Every film by itself, in memory of its own: one that is kept keeps no other."""
        return [
            ImageEmbedding(pooled.clone(), regions.clone(), self.grid)
            for pooled, regions in zip(torch.split(self.pooled, 1), torch.split(self.regions, 1), strict=True)
        ]

    @property
    def nbytes(self) -> int:
        """Of both tensors."""
        return self.pooled.nbytes + self.regions.nbytes


@dataclass(frozen=True)
class TextEmbedding:
    """Reports in the joint space: ``report [M, D]``, ``words [M, W, D]``, ``word_mask [M, W]``, not normalised.

    ``special_mask [M, W]`` marks the items that are [CLS] or [SEP] rather than words. A method that aligns sentences
    (:attr:`Method.local_unit`) has its sentences there; one without local terms has no items (``W`` is 0).
    ``characters [M]`` int64 counts those of each text as it was given: only who has the text knows, and only a
    published defect asks (``global_local``'s ``prompt_length``).
    """

    report: Tensor
    words: Tensor
    word_mask: Tensor
    special_mask: Tensor
    characters: Tensor | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> TextEmbedding:
        """The same with every tensor changed alike: moved to a device, or some of the texts chosen."""
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: change(tensor) for name, tensor in tensors.items() if tensor is not None})


@dataclass(frozen=True)
class Similarity:
    """Scores of N films against M texts: ``global_scores [N, M]`` (cosine) and, if there is one, a local score."""

    global_scores: Tensor
    local_scores: Tensor | None


@runtime_checkable
class GroundsWords(Protocol):
    """A method that can show where in a film each word looks."""

    def attention(self, images: ImageEmbedding, texts: TextEmbedding) -> Tensor:
        """Maps ``[B, W, R]`` of film i and text i; each word's sums to 1, special items and padding are zero."""
        ...


@runtime_checkable
class GroundsPhrases(Protocol):
    """A method that can show which regions of a film a whole phrase speaks of."""

    def phrase_map(self, images: ImageEmbedding, texts: TextEmbedding) -> Tensor:
        """Heat maps ``[B, R]`` of film i and phrase i, larger where the phrase points; the scale differs by method."""
        ...


@runtime_checkable
class ScoresClasses(Protocol):
    """A method whose published zero-shot score sets the classes against each other."""

    def class_probabilities(self, scores: Similarity) -> Tensor:
        """Scores ``[N, C]`` of N films for C classes, from their similarity to one prompt a class."""
        ...


class Method(nn.Module, ABC):
    """A joint model of films and reports together with its training objective.

    Attributes:
        name: as in recipes.
        stages: names of the objective's stages in their order (PRIOR has three); empty if it never changes.
        image_views: 2 asks the loader for a second view of each film (``PairBatch.second_view``).
        reads_reports: False for image-only comparators: they have no retrieval and no zero-shot classification.
        local_unit: what the items of :class:`TextEmbedding` are.
        clipped_with: of modules beside the encoders, by their first name, the encoder whose gradient theirs is clipped
            with (``training.clip: by_encoder``); the others are clipped together.
        regions_are_places: False where a published defect makes each region of parts of all places, so that a map of
            regions cannot be laid over a film.
    """

    name: ClassVar[str]
    stages: ClassVar[tuple[str, ...]] = ()
    image_views: ClassVar[int] = 1
    reads_reports: ClassVar[bool] = True
    local_unit: ClassVar[Literal["word", "sentence"] | None] = None
    clipped_with: ClassVar[Mapping[str, Literal["image_encoder", "text_encoder"]]] = MappingProxyType({})
    regions_are_places: bool = True

    @property
    def auxiliary_tasks(self) -> tuple[AuxiliaryTask, ...]:
        """Tasks that take turns with the main objective, step by step; ``PairBatch.task`` says whose turn it is."""
        return ()

    def enter_stage(self, stage: str) -> None:
        """Change to a stage of :attr:`stages`; called before its first step, and again after a resume.

        A method whose inference depends on the stage keeps it in a buffer, so that the weights say which it was.
        """
        if stage not in self.stages:
            raise ValueError(f"{self.name} has no stage '{stage}'")

    def before_step(self, epoch: int) -> None:
        """Called before each training step with the epoch (from 0): for what is held still at first."""

    def after_step(self) -> None:
        """Called after each update of the weights: for constraints on them, such as a clamped temperature."""

    @abstractmethod
    def encode(self, batch: PairBatch) -> PairFeatures:
        """Run the encoders on a batch (or a piece of one)."""

    @abstractmethod
    def losses(self, features: PairFeatures, gather: Gather) -> LossTerms:
        """Compare the pairs.

        Every process returns the loss of the *whole* gathered batch (the same value everywhere), so that
        averaging parameter gradients over processes gives the gradient of that one loss.
        """

    @abstractmethod
    def embed_images(self, pixels: Tensor) -> ImageEmbedding:
        """Films ``[N, 1, height, width]`` in the joint space."""

    @abstractmethod
    def embed_texts(self, tokens: TokenBatch) -> TextEmbedding:
        """Reports or prompts in the joint space."""

    def image_features(self, pixels: Tensor) -> Tensor:
        """``[N, C]`` pooled trunk features before any pool, head or projection of ours: what a linear probe sees."""
        image_encoder: Any = self.image_encoder
        features: Tensor = image_encoder(pixels).pooled
        return features

    def text_features(self, tokens: TokenBatch) -> Tensor:
        """``[N, C]`` the text encoder's vector of each report before any projection of ours: what a probe reads."""
        text_encoder: Any = self.text_encoder
        features: Tensor = text_encoder(tokens).report
        return features

    @abstractmethod
    def similarity(
        self, images: ImageEmbedding, texts: TextEmbedding, *, purpose: Literal["retrieval", "zero_shot"]
    ) -> Similarity:
        """Scores of every film against every text; a score depends on its own film and text only."""
