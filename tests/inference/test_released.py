"""Released joint checkpoints: tensors in GLoRIA's and MGCA's layouts, made here, give what those models give.

No released file is at hand. The oracles put torchvision's ResNet, transformers' BERT and the published heads together
as the public code does (marshuang80/gloria, HKU-MedAI/MGCA), and the checkpoint is their state dict.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

import crossray
from crossray.errors import CheckpointError
from crossray.inference.model import Model
from tests.inference.released_models import moved

VOCABULARY, TOKENS, WIDTH = "minilm", 30522, 64
TEXTS = ["Small right pleural effusion with atelectasis.", "The lungs are clear."]
FILMS = np.random.default_rng(0).integers(0, 256, (2, 256, 256), dtype=np.uint8)


def bert() -> Any:
    from transformers import BertConfig, BertModel

    build: Any = BertConfig
    config = build(
        vocab_size=TOKENS, hidden_size=WIDTH, num_hidden_layers=4, num_attention_heads=1, intermediate_size=96,
        max_position_embeddings=128,
    )  # fmt: skip
    return BertModel(config)


class Films(nn.Module):
    """The published ResNet: films enlarged to 299, the map of its third layer and the pooled one of its fourth."""

    def __init__(self) -> None:
        super().__init__()
        self.model = torchvision.models.resnet18(weights=None)
        self.model.fc = nn.Identity()

    def forward(self) -> tuple[Tensor, Tensor]:
        pixels = torch.from_numpy(FILMS[:, 16:240, 16:240]).float().div(255).sub(0.5).div(0.5)
        films = pixels.unsqueeze(1).expand(-1, 3, -1, -1)
        net = self.model
        x = F.interpolate(films, (299, 299), mode="bilinear", align_corners=True)
        x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        local = net.layer3(net.layer2(net.layer1(x)))
        return net.layer4(local).mean(dim=(2, 3)), local


def encoded(model: Model) -> tuple[Tensor, Tensor]:
    tokens = model.joint.tokenizer.collate(model.joint.tokenizer.encode(TEXTS))
    return tokens.input_ids.long(), tokens.attention_mask.long()


def saved(tensors: dict[str, Tensor], path: Path) -> Path:
    torch.save({"state_dict": tensors}, path)
    return path


@pytest.fixture(scope="module")
def gloria(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.ModuleDict, Path]:
    torch.manual_seed(0)
    films = Films()
    films.add_module("global_embedder", nn.Linear(512, WIDTH))
    films.add_module("local_embedder", nn.Conv2d(256, WIDTH, 1, bias=False))
    text = nn.ModuleDict({"model": bert()})
    both = nn.ModuleDict({"img_encoder": films, "text_encoder": text})
    moved(both)
    tensors = {f"gloria.{name}": value for name, value in both.state_dict().items()}
    tensors["gloria.text_encoder.model.embeddings.position_ids"] = torch.arange(128)
    return both, saved(tensors, tmp_path_factory.mktemp("released") / "gloria.ckpt")


@torch.no_grad()
def test_gloria_gives_the_vectors_of_the_published_code(gloria: tuple[nn.ModuleDict, Path]) -> None:
    oracle, file = gloria
    model = crossray.load(file, vocabulary=VOCABULARY)
    films: Any = oracle["img_encoder"]
    pooled, local = films()
    images = model.joint.embed_images(FILMS)
    torch.testing.assert_close(images.pooled, films.global_embedder(pooled), atol=1e-4, rtol=1e-4)
    regions = films.local_embedder(local).flatten(2).transpose(1, 2)
    torch.testing.assert_close(images.regions, regions, atol=1e-4, rtol=1e-4)
    assert images.grid == (19, 19)

    ids, mask = encoded(model)
    states = oracle["text_encoder"]["model"](ids, mask, output_hidden_states=True).hidden_states  # type: ignore[index]
    tokens = torch.stack(states[-4:]).sum(dim=0) * mask.unsqueeze(2)
    texts = model.joint.embed_texts(TEXTS)
    torch.testing.assert_close(texts.report, tokens.sum(dim=1) / 97, atol=1e-5, rtol=1e-4)
    # A word is the sum of its pieces: [CLS] alone, then "small", as in the published aggregation.
    torch.testing.assert_close(texts.words[:, 0], tokens[:, 0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(texts.words.sum(dim=1), tokens.sum(dim=1), atol=1e-4, rtol=1e-4)
    cosines = model.similarity([FILMS[0], FILMS[1]], TEXTS)
    expected = F.cosine_similarity(images.pooled.unsqueeze(1), texts.report.unsqueeze(0), dim=2)
    np.testing.assert_allclose(cosines, expected.numpy(), atol=1e-5)


class Head(nn.Module):
    """The published head, of vectors or of items by 1×1 convolutions."""

    def __init__(self, channels: int, *, items: bool) -> None:
        super().__init__()

        def layer(a: int, b: int) -> nn.Module:
            return nn.Conv1d(a, b, 1) if items else nn.Linear(a, b)

        last = nn.BatchNorm1d(32, affine=False)
        self.head = nn.Sequential(layer(channels, 48), nn.BatchNorm1d(48), nn.ReLU(), layer(48, 32), last)
        self.items = items

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(x.transpose(1, 2)).transpose(1, 2) if self.items else self.head(x)
        return found


def mgca_of(films: nn.Module, pooled: int, local: int) -> nn.ModuleDict:
    films.add_module("global_embed", Head(pooled, items=False))
    films.add_module("local_embed", Head(local, items=True))
    text = nn.ModuleDict({"model": bert()})
    text["global_embed"], text["local_embed"] = Head(WIDTH, items=False), Head(WIDTH, items=True)
    both = nn.ModuleDict({"img_encoder_q": films, "text_encoder_q": text})
    both["prototype_layer"] = nn.Linear(32, 20, bias=False)
    both["patch_local_atten_layer"] = nn.MultiheadAttention(32, 1, batch_first=True)
    moved(both)
    language: Any = text["model"]
    language.embeddings.token_type_embeddings.weight.data.zero_()
    return both


def mgca_tensors(both: nn.ModuleDict) -> dict[str, Tensor]:
    """As published: a BERT without token types and pooler that could attend to films, and never does."""
    tensors = {
        name: value for name, value in both.state_dict().items() if "token_type" not in name and ".pooler." not in name
    }
    for layer in range(4):
        tensors[f"text_encoder_q.model.encoder.layer.{layer}.crossattention.self.query.weight"] = torch.zeros(2, 2)
    return tensors


@torch.no_grad()
def test_mgca_gives_the_vectors_of_the_published_code(tmp_path: Path) -> None:
    torch.manual_seed(1)
    films = Films()
    oracle: Any = mgca_of(films, 512, 256)
    model = crossray.load(saved(mgca_tensors(oracle), tmp_path / "mgca.ckpt"), vocabulary=VOCABULARY)
    pooled, local = films()
    images = model.joint.embed_images(FILMS)
    expected = F.normalize(oracle["img_encoder_q"].global_embed(pooled), dim=1)
    torch.testing.assert_close(F.normalize(images.pooled, dim=1), expected, atol=1e-4, rtol=1e-3)
    patches = F.normalize(oracle["img_encoder_q"].local_embed(local.flatten(2).transpose(1, 2)), dim=2)
    torch.testing.assert_close(F.normalize(images.regions, dim=2), patches, atol=1e-4, rtol=1e-3)

    ids, mask = encoded(model)
    text = oracle["text_encoder_q"]
    state = text["model"](ids, mask).last_hidden_state
    texts = model.joint.embed_texts(TEXTS)
    expected = F.normalize(text["global_embed"](state[:, 0]), dim=1)
    torch.testing.assert_close(F.normalize(texts.report, dim=1), expected, atol=1e-4, rtol=1e-3)
    prototypes: Any = model.joint.method
    torch.testing.assert_close(prototypes.prototypes, oracle["prototype_layer"].weight)


@torch.no_grad()
def test_mgca_with_a_vit_gives_the_class_tokens_vector(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(2)
    films: Any = nn.Module()
    films.model = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    oracle: Any = mgca_of(films, 192, 192)
    model = crossray.load(saved(mgca_tensors(oracle), tmp_path / "vit.ckpt"), vocabulary=VOCABULARY)
    pixels = torch.from_numpy(FILMS[:, 16:240, 16:240]).float().div(255).sub(0.5).div(0.5)
    tokens = oracle["img_encoder_q"].model.forward_features(pixels.unsqueeze(1).expand(-1, 3, -1, -1))
    images = model.joint.embed_images(FILMS)
    expected = F.normalize(oracle["img_encoder_q"].global_embed(tokens[:, 0]), dim=1)
    torch.testing.assert_close(F.normalize(images.pooled, dim=1), expected, atol=1e-4, rtol=1e-3)
    patches = F.normalize(oracle["img_encoder_q"].local_embed(tokens[:, 1:]), dim=2)
    torch.testing.assert_close(F.normalize(images.regions, dim=2), patches, atol=1e-4, rtol=1e-3)


def test_what_does_not_fit_is_refused_by_name(gloria: tuple[nn.ModuleDict, Path], tmp_path: Path) -> None:
    whole = torch.load(gloria[1], weights_only=True)["state_dict"]
    missing = {name: value for name, value in whole.items() if name != "gloria.img_encoder.global_embedder.bias"}
    with pytest.raises(CheckpointError, match=r"lacks 1 tensors of GLoRIA's .*'img_encoder\.global_embedder\.bias'"):
        crossray.load(saved(missing, tmp_path / "a.ckpt"), vocabulary=VOCABULARY)
    more = whole | {"gloria.queue": torch.zeros(3)}
    with pytest.raises(CheckpointError, match=r"has 1 tensors that GLoRIA has not: 'queue'"):
        crossray.load(saved(more, tmp_path / "b.ckpt"), vocabulary=VOCABULARY)
    words = "gloria.text_encoder.model.embeddings.word_embeddings.weight"
    with pytest.raises(CheckpointError, match=r"has 100 tokens, 'minilm' has 30522.*vocabulary"):
        crossray.load(saved(whole | {words: whole[words][:100]}, tmp_path / "c.ckpt"), vocabulary=VOCABULARY)
    trunk = {"image_encoder.encoder.conv1.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"no joint model of GLoRIA, MGCA, PRIOR or LoVT\..*trunk alone"):
        crossray.load(saved(trunk, tmp_path / "d.ckpt"), vocabulary=VOCABULARY)
