"""A store in memory, a tokenizer of whole words and a method small enough to train in milliseconds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crossray.data.augment import AugmentationConfig, ImageInputConfig
from crossray.data.batch import PairBatch, TokenBatch
from crossray.data.pairs import PairDataset
from crossray.data.reports import parse_report
from crossray.data.study import Report, View
from crossray.data.text import SelectedText, TextConfig
from crossray.methods.base import (
    Gather,
    ImageEmbedding,
    LossTerms,
    Method,
    PairFeatures,
    Similarity,
    TextEmbedding,
)
from crossray.training.config import RuntimeConfig, TrainingConfig
from crossray.training.distributed import start_fabric
from crossray.training.loop import fit
from crossray.training.session import RunSummary, TrainingParts
from crossray.training.validation import Validator

WORDS = ("heart", "lungs", "clear", "enlarged", "effusion", "left", "right", "small", "normal", "edema")


class FakeStore:
    """``studies`` studies: film k has a brightness and a stripe of its own, its report some words of its own."""

    prepared_size = 24

    def __init__(self, studies: int, films_each: int = 1) -> None:
        generator = np.random.default_rng(5)
        self.films_each = films_each
        self._pixels: NDArray[np.uint8] = generator.integers(0, 255, (studies * films_each, 24, 24), dtype=np.uint8)
        self._texts = [
            " ".join(generator.choice(WORDS, 5)) + ". " + " ".join(generator.choice(WORDS, 2 + k % 3)) + "."
            for k in range(studies)
        ]
        self.labels: NDArray[np.float32] = generator.integers(0, 2, (studies, 2)).astype(np.float32)
        self.study_ids = [f"s{k}" for k in range(studies)]

    def index_of(self, study_id: str) -> int:
        return self.study_ids.index(study_id)

    def report(self, index: int) -> Report:
        return parse_report("FINDINGS: " + self._texts[index])

    def films_of(self, index: int, views: Sequence[View] = ("frontal",)) -> list[int]:
        return list(range(index * self.films_each, (index + 1) * self.films_each)) if "frontal" in views else []

    def pixels(self, rows: Sequence[int] | NDArray[np.integer]) -> NDArray[np.uint8]:
        return np.stack([self._pixels[row] for row in rows])

    def blocks_of(self, rows: Sequence[int]) -> NDArray[np.int64]:
        return np.array(rows, dtype=np.int64) // 4


@dataclass(frozen=True)
class FakeTokens:
    input_ids: NDArray[np.int32]
    word_ids: NDArray[np.int32]
    sentence_ids: NDArray[np.int32]


class FakeTokenizer:
    """[PAD] 0, [CLS] 1, [SEP] 2, then the words."""

    pad_id = 0

    def encode(self, texts: Sequence[SelectedText]) -> list[FakeTokens]:
        return [self._one(text) for text in texts]

    def _one(self, text: SelectedText) -> FakeTokens:
        words = text.text.lower().replace(".", "").split()
        ids = [1, *(3 + WORDS.index(word) for word in words), 2]
        order = [-1, *range(len(words)), -1]
        one = [-1, *([0] * len(words)), -1]
        return FakeTokens(*(np.array(values, dtype=np.int32) for values in (ids, order, one)))


class FakeMethod(Method):
    """A convolution, an embedding and a learned temperature; a global and a word-region term over all pairs."""

    name: ClassVar[str] = "fake"

    def __init__(self, *, dropout: float = 0.0, batch_norm: bool = False, width: int = 8) -> None:
        super().__init__()
        self.image_encoder = nn.Sequential(
            nn.Conv2d(1, width, 5, stride=3), nn.BatchNorm2d(width) if batch_norm else nn.Identity(), nn.ReLU()
        )
        self.text_encoder = nn.Embedding(3 + len(WORDS), width)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, width)
        self.log_scale = nn.Parameter(torch.tensor(1.0))
        self.unused = nn.Linear(width, width)

    def encode(self, batch: PairBatch) -> PairFeatures:
        regions = self.dropout(self.image_encoder(batch.pixels).flatten(2).transpose(1, 2))
        words = self.dropout(self.text_encoder(batch.tokens.input_ids))
        mask = batch.tokens.attention_mask
        return {
            "image": self.head(regions.mean(dim=1)),
            "regions": regions,
            "words": words,
            "report": (words * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True),
            "mask": mask,
            "group": batch.text_group,
        }

    def losses(self, features: PairFeatures, gather: Gather) -> LossTerms:
        whole = {name: gather(rows) for name, rows in features.items()}
        target = torch.arange(len(whole["image"]))
        scale = self.log_scale.exp()
        cosine = nn.functional.normalize(whole["image"], dim=1) @ nn.functional.normalize(whole["report"], dim=1).T
        local = torch.einsum("ird,jwd->ijrw", whole["regions"], whole["words"])
        local = local.masked_fill(~whole["mask"][None, :, None, :], -1e4).amax(dim=2).logsumexp(dim=2)
        ce = nn.functional.cross_entropy
        return LossTerms(
            terms={"global": ce(scale * cosine, target), "local": ce(local, target) + ce(local.T, target)},
            weights={"global": 1.0, "local": 0.5},
        )

    def embed_images(self, pixels: Tensor) -> ImageEmbedding:
        regions = self.image_encoder(pixels).flatten(2).transpose(1, 2)
        return ImageEmbedding(self.head(regions.mean(dim=1)), regions, (1, regions.shape[1]))

    def embed_texts(self, tokens: TokenBatch) -> TextEmbedding:
        words = self.text_encoder(tokens.input_ids)
        return TextEmbedding(words.mean(dim=1), words, tokens.attention_mask, tokens.word_ids < 0)

    def image_features(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.image_encoder(pixels).mean(dim=(2, 3))
        return features

    def similarity(
        self, images: ImageEmbedding, texts: TextEmbedding, *, purpose: Literal["retrieval", "zero_shot"]
    ) -> Similarity:
        return Similarity(images.pooled @ texts.report.T, None)


IMAGE = ImageInputConfig(size=20, augmentation=AugmentationConfig(brightness=(0.8, 1.2)))


def fake_dataset(
    first: int, last: int, *, store: FakeStore | None = None, caption: Literal["report", "sentence"] = "report"
) -> PairDataset:
    """Studies ``first .. last - 1`` of a fake store."""
    store = store if store is not None else FakeStore(last)
    return PairDataset(store, store.study_ids[first:last], FakeTokenizer(), TextConfig(), caption=caption)


def fake_parts(*, studies: int = 40, dropout: float = 0.0, batch_norm: bool = False) -> TrainingParts:
    """32 training and 8 validation pairs (for 40 studies) and a model that always starts from the same weights."""
    torch.manual_seed(3)
    store = FakeStore(studies)
    cut = studies * 4 // 5
    return TrainingParts(
        method=FakeMethod(dropout=dropout, batch_norm=batch_norm),
        training=fake_dataset(0, cut, store=store),
        validation=fake_dataset(cut, studies, store=store),
        image=IMAGE,
    )


QUIET = RuntimeConfig(accelerator="cpu", tensorboard=False, progress=False, log_every_steps=1)


def fake_fit(
    folder: Path,
    config: TrainingConfig,
    parts: TrainingParts | None = None,
    *,
    runtime: RuntimeConfig = QUIET,
    validator: Validator | None = None,
    profile_steps: int = 0,
) -> RunSummary:
    """Train on fake pairs into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    fabric = start_fabric(runtime, config.precision)
    parts = parts if parts is not None else fake_parts()
    return fit(
        fabric,
        parts,
        config,
        runtime,
        folder,
        identity="fake",
        validator=validator,
        profile_steps=profile_steps,
    )


def figures_of(folder: Path, kind: Literal["train", "validation"], name: str = "loss") -> list[float]:
    """One figure of a run's log, line by line."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [record[name] for record in records if record["kind"] == kind]
