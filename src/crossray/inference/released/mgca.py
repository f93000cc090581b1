"""MGCA's released models, with a ResNet or a ViT (HKU-MedAI/MGCA)."""

from __future__ import annotations

from typing import Any

from crossray.data.augment import ImageInputConfig
from crossray.data.text import TextConfig
from crossray.encoders.image import ImageEncoderConfig
from crossray.encoders.text import TextEncoderConfig
from crossray.inference.released.layout import Layout, Parts, ReleasedFile, bert_sizes
from crossray.methods.mgca.config import MgcaConfig

_FILM, _TEXT = "img_encoder_q.model.", "text_encoder_q.model."
_HEADS = {
    "image_head": "img_encoder_q.global_embed",
    "patch_head": "img_encoder_q.local_embed",
    "report_head": "text_encoder_q.global_embed",
    "word_head": "text_encoder_q.local_embed",
}
_LAYERS = {"first": 0, "first_norm": 1, "second": 3, "second_norm": 4}


def _parts(released: ReleasedFile, trunk: str) -> Parts:
    is_vit = trunk.startswith("vit")
    stages: dict[str, Any] = (
        {"local_stage": -1, "class_attention": True} if is_vit else {"local_stage": -2, "resize_to": 299}
    )
    return Parts(
        image=ImageEncoderConfig(name=trunk, pretrained="none", in_channels=3, **stages),
        text=TextEncoderConfig(
            max_tokens=112, report_pooling="cls", class_attention=True, **bert_sizes(released, _TEXT)
        ),
        method=MgcaConfig(
            preset="reference_vit" if is_vit else "reference",
            hidden_dim=released.shape(f"{_HEADS['image_head']}.head.0.weight")[0],
            embed_dim=released.shape(f"{_HEADS['image_head']}.head.3.weight")[0],
            prototypes=released.shape("prototype_layer.weight")[0],
        ),
        input=ImageInputConfig(size=224),
        reads=TextConfig(preprocessing="gloria"),
        prepared_size=256,
    )


MGCA = Layout(
    title="MGCA",
    film=_FILM,
    text=_TEXT,
    names={
        r"image_encoder\.trunk\.": _FILM,
        r"text_encoder\.bert\.": _TEXT,
        r"prototypes$": "prototype_layer.weight",
        **{
            rf"{head}\.{layer}\.": f"{there}.head.{number}."
            for head, there in _HEADS.items()
            for layer, number in _LAYERS.items()
        },
    },
    # Its learned attention is an option that is off, and its BERT could read films but does not.
    unused=(r"^(patch|word)_local_atten_layer\.", r"\.crossattention\.", r"\.position_ids$"),
    parts=_parts,
    zero=(f"{_TEXT}embeddings.token_type_embeddings.weight",),  # its BERT adds no token types
)
