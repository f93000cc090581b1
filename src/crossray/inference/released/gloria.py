"""GLoRIA's released model (marshuang80/gloria)."""

from __future__ import annotations

from crossray.data.augment import ImageInputConfig
from crossray.data.text import TextConfig
from crossray.encoders.image import ImageEncoderConfig
from crossray.encoders.text import TextEncoderConfig
from crossray.inference.released.layout import Layout, Parts, ReleasedFile, bert_sizes
from crossray.methods.global_local import GlobalLocalConfig

_FILM, _TEXT = "img_encoder.model.", "text_encoder.model."


def _parts(released: ReleasedFile, trunk: str) -> Parts:
    return Parts(
        image=ImageEncoderConfig(name=trunk, pretrained="none", in_channels=3, local_stage=-2, resize_to=299),
        text=TextEncoderConfig(max_tokens=97, last_layers=4, **bert_sizes(released, _TEXT)),
        method=GlobalLocalConfig(preset="reference", embed_dim=released.shape("img_encoder.global_embedder.weight")[0]),
        input=ImageInputConfig(size=224),
        reads=TextConfig(preprocessing="gloria"),
        prepared_size=256,
    )


GLORIA = Layout(
    title="GLoRIA",
    film=_FILM,
    text=_TEXT,
    names={
        r"image_encoder\.trunk\.": _FILM,
        r"text_encoder\.bert\.": _TEXT,
        r"global_projection\.": "img_encoder.global_embedder.",
        r"local_projection\.": "img_encoder.local_embedder.",
    },
    unused=(r"^text_encoder\.model\.pooler\.", r"\.position_ids$"),
    parts=_parts,
    wrapper="gloria.",
)
