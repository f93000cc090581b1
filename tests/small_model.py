"""Encoders, batches and methods small enough to run in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from crossray.data.batch import PairBatch
from crossray.data.sentences import split_sentences
from crossray.data.text import SelectedText
from crossray.encoders.image import ImageEncoderConfig
from crossray.encoders.text import TextEncoderConfig
from crossray.encoders.tokenizer import ReportTokenizer
from crossray.methods.base import LossTerms, Method, PairFeatures
from crossray.methods.build import MethodConfig, build_method

SENTENCES = (
    "The heart is enlarged.",
    "No pleural effusion or pneumothorax.",
    "Left lower lobe atelectasis.",
    "The lungs are clear.",
    "Mild pulmonary edema, increased.",
    "Small right pleural effusion.",
    "Right upper lobe consolidation.",
    "No acute cardiopulmonary abnormality.",
)

LABELS = ("Cardiomegaly", "Edema")
IMAGE = ImageEncoderConfig(name="test_resnet", pretrained="none")
VIT = ImageEncoderConfig(name="test_vit", pretrained="none", trunk_options={"img_size": 32})
TEXT = TextEncoderConfig(layers=2, width=16, heads=2, max_tokens=24, vocabulary_size=240, class_attention=True)


def reports(count: int) -> list[str]:
    """Different short reports: the k-th has one to three sentences."""
    return [" ".join(SENTENCES[(k + 3 * i) % len(SENTENCES)] for i in range(k % 3 + 1)) for k in range(count)]


def small_tokenizer(max_tokens: int = 24) -> ReportTokenizer:
    return ReportTokenizer.learn(SENTENCES * 2, 240, max_tokens=max_tokens)


def small_method(
    config: MethodConfig,
    *,
    image: ImageEncoderConfig = IMAGE,
    text: TextEncoderConfig = TEXT,
    seed: int = 0,
) -> Method:
    torch.manual_seed(seed)
    return build_method(image, text, config, small_tokenizer(), label_names=LABELS)


def pair_batch(texts: Sequence[str], *, size: int = 64, length: int | None = None, seed: int = 0) -> PairBatch:
    """A batch of the texts, their sentences known, with films of noise, two views each; equal texts share a group."""
    tokenizer = small_tokenizer()
    generator = torch.Generator().manual_seed(seed)
    with_sentences = [SelectedText(text, tuple(split_sentences(text))) for text in texts]
    groups = {text: k for k, text in enumerate(dict.fromkeys(texts))}
    pixels = 2 * torch.rand(len(texts), 1, size, size, generator=generator) - 1
    return PairBatch(
        pixels=pixels,
        tokens=tokenizer.collate(tokenizer.encode(with_sentences), length),
        study_index=torch.arange(len(texts)),
        text_group=torch.tensor([groups[text] for text in texts]),
        labels=torch.tensor([[k % 2, k % 3 == 0] for k in range(len(texts))], dtype=torch.float32),
        second_view=pixels.flip(2) + 0.1 * torch.rand(len(texts), 1, size, size, generator=generator),
    )


def values(losses: LossTerms) -> dict[str, float]:
    return {name: term.item() for name, term in losses.terms.items()}


def rows_of(features: PairFeatures, order: Tensor) -> PairFeatures:
    return {name: value[order] for name, value in features.items()}
