"""JoImTeRNet's heads that classify films, reports or both, and their weighted loss (`joimternet` spec, section 5.2).

Every model returns logits alone, for a batch of one too (section 6.7).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crossray.alignment.masked import masked_mean
from crossray.data.batch import TokenBatch
from crossray.encoders.features import TextFeatures
from crossray.methods.base import ImageEmbedding
from crossray.methods.joimternet.method import JoImTeRNet

Inputs = Literal["image", "text", "both"]

_PARTS: dict[Inputs, int] = {"image": 2, "text": 2, "both": 4}
_PROJECTED = 256
_DROPOUT = 0.5
_LARGEST_POSITIVE_WEIGHT = 5.0


@dataclass(frozen=True)
class LabelWeights:
    """Of K labels: ``positive [K]`` p_k, of a present label against an absent one, and ``label [K]`` a_k, of all."""

    positive: Tensor
    label: Tensor


def label_weights(positives: Tensor, studies: int) -> LabelWeights:
    """``p_k = min(N_max / N_k, 5)`` and ``a_k = (Q - N_k) / Q``.

    Args:
        positives: ``[K]`` N_k, training studies in which each label is present. N_max is the largest of them (in
            MIMIC-CXR that of No Finding, 72,528).
        studies: Q, all training studies.
    """
    counts = positives.double()
    positive = (counts.amax() / counts.clamp_min(1)).clamp_max(_LARGEST_POSITIVE_WEIGHT)
    return LabelWeights(positive=positive.float(), label=((studies - counts) / studies).float())


def weighted_label_loss(logits: Tensor, labels: Tensor, weights: LabelWeights) -> Tensor:
    """Mean over studies and labels of the weighted binary cross-entropy; scalar.

    Args:
        logits: ``[N, K]``.
        labels: ``[N, K]``, 1 present; whatever else (0 absent, -1 uncertain, NaN unknown) counts as absent.
        weights: see :func:`label_weights`.
    """
    present = (labels == 1).to(logits.dtype)
    losses = F.binary_cross_entropy_with_logits(
        logits, present, pos_weight=weights.positive.to(logits), reduction="none"
    )
    return (weights.label.to(logits) * losses).mean()


class ClassificationHead(nn.Module):
    """Each part projected to 256, then layers to the labels; dropout before every linear layer, ReLU between them.

    Args:
        width: D, of each part.
        labels: K.
        inputs: ``image`` reads the global vector and the mean region, ``text`` the report and the mean word, ``both``
            all four, in this order.
    """

    def __init__(self, width: int, labels: int, inputs: Inputs) -> None:
        super().__init__()
        parts = _PARTS[inputs]
        self.projections = nn.ModuleList(_hidden(width, _PROJECTED) for _ in range(parts))
        joined = parts * _PROJECTED
        halved = [joined // 2, joined // 4] if inputs == "both" else [joined // 2]
        layers = [_hidden(before, after) for before, after in zip([joined, *halved], halved, strict=False)]
        self.layers = nn.Sequential(*layers, nn.Dropout(_DROPOUT), nn.Linear(halved[-1], labels))

    def forward(self, parts: list[Tensor]) -> Tensor:
        """Logits ``[N, K]`` of parts ``[N, D]``."""
        projected = [project(part) for project, part in zip(self.projections, parts, strict=True)]
        logits: Tensor = self.layers(torch.cat(projected, dim=1))
        return logits


def _hidden(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Dropout(_DROPOUT), nn.Linear(before, after), nn.ReLU())


class JoImTeRNetClassifier(nn.Module):
    """A trained or fresh JoImTeRNet with a head, to be tuned together or with the JoImTeRNet frozen.

    Args:
        model: gives the features.
        labels: K.
        inputs: what the head reads.
        freeze: no gradient for the JoImTeRNet, and evaluation mode always: batch norm and dropout stand still too.
    """

    def __init__(self, model: JoImTeRNet, labels: int, inputs: Inputs, *, freeze: bool = False) -> None:
        super().__init__()
        self.model = model
        self.inputs = inputs
        self.freeze = freeze
        self.head = ClassificationHead(model.config.embed_dim, labels, inputs)
        if freeze:
            model.requires_grad_(False)
            model.eval()

    def train(self, mode: bool = True) -> JoImTeRNetClassifier:
        """Training mode, except for a frozen JoImTeRNet."""
        super().train(mode)
        if self.freeze:
            self.model.eval()
        return self

    def forward(self, pixels: Tensor | None = None, tokens: TokenBatch | None = None) -> Tensor:
        """Logits ``[N, K]`` of films ``[N, 1, height, width]`` and reports, whichever the head reads.

        Raises:
            ValueError: what the head reads is missing.
        """
        parts: list[Tensor] = []
        if self.inputs != "text":
            parts += image_parts(self.model.embed_images(_given(pixels, "films")))
        if self.inputs != "image":
            parts += text_parts(self.model, _given(tokens, "reports"))
        logits: Tensor = self.head(parts)
        return logits


def image_parts(images: ImageEmbedding) -> list[Tensor]:
    """What a head reads of films: the global vector and the mean region, ``[N, D]`` each."""
    return [images.pooled, images.regions.mean(dim=1)]


def text_parts(model: JoImTeRNet, tokens: TokenBatch) -> list[Tensor]:
    """What a head reads of reports: the report's vector and the mean word, ``[N, D]`` each.

    [CLS] and [SEP] count as words, and the phrase variant averages over its three sizes.
    """
    texts: TextFeatures = model.text_encoder(tokens)
    local = model.local_items(texts.words, texts.word_mask)
    means = [masked_mean(items.vectors, items.mask, dim=1) for items in local.values()]
    return [model.report_projection(texts.report), torch.stack(means).mean(dim=0)]


def _given(value: Any, what: str) -> Any:
    if value is None:
        raise ValueError(f"this head reads {what}")
    return value
