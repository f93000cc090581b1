"""The encoders and the loss that are counted and measured."""

from __future__ import annotations

import timm
import torch
from benchmarks.scale.counting import Counted, count
from benchmarks.speed.loss import inputs, our_loss
from torch import Tensor, nn

from crossray.encoders.bert import create_bert
from crossray.encoders.frozen_text import through_layers
from crossray.encoders.text import TextEncoderConfig

SIZE, TOKENS, WORDS, WIDTH = 224, 97, 34, 768
TRUNKS = {"ResNet-50": "resnet50", "ViT-B/16": "vit_base_patch16_224"}
TEXT = "BERT-base"

_BERT = TextEncoderConfig(layers=12, width=768, heads=12, intermediate=3072, max_positions=512, dropout=0.0)
_VOCABULARY = 30522


class Bert(nn.Module):
    """Hidden states of BERT-base, in the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.bert, _ = create_bert(_BERT, _VOCABULARY, initial_weights=False)

    def forward(self, ids: Tensor) -> Tensor:
        mask = torch.ones_like(ids, dtype=torch.bool)
        states = through_layers(self.bert.embeddings(input_ids=ids), mask, self.bert.encoder.layer)
        mean: Tensor = states[-1].mean()
        return mean


class Trunk(nn.Module):
    """The last map of a trunk, in the mean."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.trunk = timm.create_model(name, pretrained=False, num_classes=0)

    def forward(self, pixels: Tensor) -> Tensor:
        mean: Tensor = self.trunk.forward_features(pixels).mean()
        return mean


def encoder(name: str) -> nn.Module:
    return Bert().train() if name == TEXT else Trunk(TRUNKS[name]).train()


def given(name: str, pairs: int, device: str = "cpu") -> Tensor:
    if name == TEXT:
        return torch.zeros(pairs, TOKENS, dtype=torch.int64, device=device)
    return torch.zeros(pairs, 3, SIZE, SIZE, device=device)


def counted_encoder(name: str, pairs: int = 2) -> tuple[Counted, int]:
    """Of one pair, and the number of weights."""
    with torch.device("meta"):
        model = encoder(name)
    films = given(name, pairs, "meta")
    return count(lambda: model(films), model).per(pairs), sum(p.numel() for p in model.parameters())


def counted_loss(pairs: int, regions: int) -> tuple[Counted, int]:
    """Of the whole loss, and the number of words in it."""
    ours = inputs(pairs, regions, width=WIDTH)
    return count(lambda: our_loss(*ours)), int(ours[2].sum())
