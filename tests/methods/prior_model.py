"""A PRIOR small enough to run in milliseconds, and reports cut into sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from crossray.data.batch import PairBatch
from crossray.data.study import Span
from crossray.data.text import SelectedText
from crossray.encoders.image import ImageEncoderConfig
from crossray.encoders.text import TextEncoderConfig
from crossray.methods.base import PairFeatures, SingleProcess
from crossray.methods.prior.config import PriorConfig
from crossray.methods.prior.method import Prior

from ..small_model import IMAGE, SENTENCES, TEXT, pair_batch, small_method, small_tokenizer, values

SMALL: dict[str, Any] = {
    "embed_dim": 16,
    "pool_heads": 4,
    "position_grid": (2, 2),
    "prototypes": 12,
    "slots": 4,
    "slot_layers": 2,
    "slot_heads": 2,
    "slot_hidden": 32,
    "decoder_channels": 8,
}
STEADY = TEXT.model_copy(update={"dropout": 0.0})
VIT = ImageEncoderConfig(name="test_vit", pretrained="none", trunk_options={"img_size": 64, "depth": 2})

# Reports of 1, 3, 2 and 0 sentences.
REPORTS: tuple[tuple[str, ...], ...] = (SENTENCES[:1], SENTENCES[1:4], SENTENCES[4:6], ())


def config(**options: Any) -> PriorConfig:
    return PriorConfig.model_validate({**SMALL, **options})


def prior(
    *, image: ImageEncoderConfig = IMAGE, text: TextEncoderConfig = STEADY, seed: int = 0, **options: Any
) -> Prior:
    built = small_method(config(**options), image=image, text=text, seed=seed)
    assert isinstance(built, Prior)
    return built.eval()


def selected(sentences: Sequence[str]) -> SelectedText:
    text, spans = "", []
    for sentence in sentences:
        start = len(text) + (1 if text else 0)
        text = f"{text} {sentence}" if text else sentence
        spans.append(Span(start, start + len(sentence)))
    return SelectedText(text, tuple(spans))


def sentence_batch(
    reports: Sequence[Sequence[str]] = REPORTS, *, length: int | None = None, size: int = 64, seed: int = 0
) -> PairBatch:
    """As ``pair_batch``, with reports of several sentences."""
    batch = pair_batch([" ".join(report) for report in reports], size=size, seed=seed)
    tokenizer = small_tokenizer()
    return replace(batch, tokens=tokenizer.collate(tokenizer.encode([selected(r) for r in reports]), length))


def terms_of(model: Prior, features: PairFeatures) -> dict[str, float]:
    return values(model.losses(features, SingleProcess()))


def gradient_names(model: Prior, total: Tensor) -> set[str]:
    """Parameters that a loss moves."""
    torch.autograd.backward(total)
    return {n for n, p in model.named_parameters() if p.grad is not None and bool(p.grad.abs().sum() > 0)}
