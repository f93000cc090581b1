"""The published models of PRIOR and LoVT, put together anew under the names of their public code, of any size.

No released file is at hand. Their state dicts are what the authors' code saves (QtacierP/PRIOR, philip-mueller/lovt);
they are built of torchvision's ResNet, transformers' BERT and torch's own attention, and share nothing with ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

FILMS = np.random.default_rng(0).integers(0, 256, (2, 224, 224), dtype=np.uint8)
MIMIC_MEAN, MIMIC_STD = 0.4755, 0.3011


@dataclass(frozen=True)
class Sizes:
    """Of a published model."""

    resnet: str = "resnet18"
    channels: int = 512
    width: int = 64
    layers: int = 2
    hidden: int = 96
    tokens: int = 30522
    positions: int = 512
    embedding: int = 64
    head: int = 48
    prototypes: int = 20
    slots: int = 4
    slot_layers: int = 2


FULL = Sizes("resnet50", 2048, 768, 12, 3072, 28996, 512, 512, 2048, 512, 16, 8)
"""As published; PRIOR's embedding is as wide as its BERT."""


def bert(sizes: Sizes, *, decoder: bool = False) -> Any:
    from transformers import BertConfig, BertModel

    build: Any = BertConfig
    config = build(
        vocab_size=sizes.tokens, hidden_size=sizes.width, intermediate_size=sizes.hidden,
        num_hidden_layers=sizes.slot_layers if decoder else sizes.layers, num_attention_heads=sizes.width // 64,
        max_position_embeddings=sizes.positions, is_decoder=decoder, add_cross_attention=decoder,
    )  # fmt: skip
    return BertModel(config, add_pooling_layer=not decoder)


def moved(module: nn.Module) -> nn.Module:
    """With running statistics that are not those of a fresh module."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) and norm.running_mean is not None:
            nn.init.normal_(norm.running_mean, std=0.1)
            assert norm.running_var is not None
            nn.init.uniform_(norm.running_var, 0.5, 1.5)
    return module.eval()


def saved(tensors: dict[str, Tensor], path: Path) -> Path:
    torch.save({"state_dict": tensors}, path)
    return path


def normalised() -> Tensor:
    return torch.from_numpy(FILMS).float().div(255).sub(MIMIC_MEAN).div(MIMIC_STD).unsqueeze(1)


def last_map(net: Any, x: Tensor) -> Tensor:
    x = net["maxpool"](net["relu"](net["bn1"](net["conv1"](x))))
    found: Tensor = net["layer4"](net["layer3"](net["layer2"](net["layer1"](x))))
    return found


class ClipPool(nn.Module):
    """The mean of some rows looks at itself and at them; PRIOR's pool of places, and without positions of sentences."""

    def __init__(self, width: int, rows: int | None) -> None:
        super().__init__()
        self.positional_embedding = None if rows is None else nn.Parameter(torch.randn(rows + 1, width) / width**0.5)
        self.k_proj, self.q_proj, self.v_proj, self.c_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, rows: Tensor) -> Tensor:
        """``[B, N, C]`` to ``[B, C]``."""
        x = torch.cat([rows.mean(dim=1, keepdim=True), rows], dim=1)
        if self.positional_embedding is not None:
            x = x + self.positional_embedding
        x = x.transpose(0, 1)
        pooled, _ = F.multi_head_attention_forward(
            x, x, x, x.shape[2], 8, None, torch.cat([self.q_proj.bias, self.k_proj.bias, self.v_proj.bias]), None, None,
            False, 0.0, self.c_proj.weight, self.c_proj.bias, training=False, need_weights=False,
            use_separate_proj_weight=True, q_proj_weight=self.q_proj.weight, k_proj_weight=self.k_proj.weight,
            v_proj_weight=self.v_proj.weight,
        )  # fmt: skip
        return pooled[0]


def prior(sizes: Sizes) -> nn.ModuleDict:
    """PRIOR: films of one channel, the joint model of its third stage."""
    width, channels = sizes.width, sizes.channels
    net = torchvision.models.get_model(sizes.resnet, weights=None)
    net.conv1, net.fc = nn.Conv2d(1, 64, 7, 2, 3, bias=False), nn.Identity()
    films = nn.ModuleDict({"encoder": net, "atten_pool": ClipPool(channels, 49)})
    names = [f"{part}{side}" for side in (1, 2) for part in ("query", "key", "value")]

    def convolution(before: int, after: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU())

    halves = [2 * width >> k for k in range(6)]
    blocks = [nn.ModuleDict({"conv1": convolution(a, b), "conv2": convolution(b, b)}) for a, b in pairwise(halves)]
    output = nn.Sequential(nn.Conv2d(halves[-1], 1, 3, padding=1))
    both = nn.ModuleDict(
        {
            "text_encoder": nn.ModuleDict({"encoder": bert(sizes)}),
            "image_encoder": films,
            "global_text_attention": ClipPool(width, None),
            "global_image_projection": nn.Linear(channels, width),
            "local_image_projection": nn.Linear(channels, width),
            "global_text_projection": nn.Linear(width, width),
            "local_text_projection": nn.Linear(width, width),
            "predictor": nn.Sequential(nn.Linear(width, width // 2), nn.ReLU(), nn.Linear(width // 2, width)),
            "sentence_decoder": bert(sizes, decoder=True),
            "image_decoder": nn.ModuleDict({"output_head": output, "blocks": nn.ModuleList(blocks)}),
            "local_cross_attention": nn.ModuleDict({name: nn.Linear(width, width) for name in names}),
            "sentence_bank": nn.ModuleDict({"embed": nn.Embedding(sizes.prototypes, width)}),
        }
    )
    both.prototype_queries = nn.Parameter(torch.randn(1, sizes.slots, width))
    both.logit_scale, both.local_logit_scale = (nn.Parameter(torch.tensor(value)) for value in (4.7, 4.1))
    return both


def prior_tensors(both: nn.ModuleDict) -> dict[str, Tensor]:
    """As transformers 4 wrote them: with the numbers of positions."""
    positions = {
        f"{stem}.embeddings.position_ids": torch.arange(512) for stem in ("text_encoder.encoder", "sentence_decoder")
    }
    return both.state_dict() | positions


class Mlp(nn.Module):
    """LoVT's head, of vectors or of items by 1×1 convolutions."""

    def __init__(self, channels: int, sizes: Sizes, *, items: bool) -> None:
        super().__init__()

        def layer(a: int, b: int) -> nn.Module:
            return nn.Conv1d(a, b, 1) if items else nn.Linear(a, b)

        self.projection_before, self.norm = layer(channels, sizes.head), nn.BatchNorm1d(sizes.head)
        self.projection_after = layer(sizes.head, sizes.embedding)
        self.items = items

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2) if self.items else x
        x = self.projection_after(self.norm(self.projection_before(x)).relu())
        return x.transpose(1, 2) if self.items else x


def lovt(sizes: Sizes) -> nn.ModuleDict:
    """LoVT: both modalities, the alignment, and what its losses and probes leave in a checkpoint."""
    net = torchvision.models.get_model(sizes.resnet, weights=None)
    layers = nn.ModuleDict(dict(list(net.named_children())[:-2]))

    def pool(width: int) -> nn.Module:
        return nn.ModuleDict({"attention": nn.MultiheadAttention(width, 8, batch_first=True)})

    def modality(encoder: dict[str, nn.Module], width: int) -> nn.Module:
        own = nn.ModuleDict(encoder | {"global_aggregator": pool(width)})
        heads = {f"project_{kind}": Mlp(width, sizes, items=kind == "local") for kind in ("local", "global")}
        return nn.ModuleDict({"encoder": own, **heads})

    extractor = nn.ModuleDict({"backbone_layers": layers})
    linear = {f"{kind}_projection": nn.Linear(sizes.embedding, sizes.embedding) for kind in ("key", "value", "output")}
    losses = nn.Module()
    for side, shape in (("a", (7, 7, 7, 7)), ("b", (512, 512))):
        table = nn.Module()
        table.register_buffer("pos_weights", torch.ones(shape))
        table.register_buffer("negatives_mask", torch.zeros(shape))
        losses.add_module(f"ll_alignments_{side}", nn.ModuleList([table]))
    return nn.ModuleDict(
        {
            "model_a": modality({"feature_extractor": extractor}, sizes.channels),
            "model_b": modality({"language_model": bert(sizes)}, sizes.width),
            "ll_attention": nn.ModuleDict({**linear, "norm": nn.BatchNorm1d(sizes.embedding)}),
            "loss_module": losses,
            "chexpert_bin_scan": nn.ModuleDict({"classifier": nn.Linear(sizes.channels, 5)}),
        }
    )


def lovt_tensors(both: nn.ModuleDict) -> dict[str, Tensor]:
    """As transformers 4 wrote them."""
    name = "model_b.encoder.language_model.embeddings.position_ids"
    return both.state_dict() | {name: torch.arange(512)}
