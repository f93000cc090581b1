"""PRIOR's released joint model (QtacierP/PRIOR), the generators of its last stage included.

Its regions are the trunk's last map re-viewed as rows without moving the channel axis (`prior` spec, P1): a region
holds a few channels of all places. That is kept, since the weights behind it were trained so. Its Gumbel noise is not:
a sentence is the noise-free mixture of prototypes, so that a text has one vector (P6).
"""

from __future__ import annotations

from math import isqrt

from crossray.data.text import TextConfig
from crossray.encoders.image import ImageEncoderConfig
from crossray.encoders.text import TextEncoderConfig
from crossray.inference.released.layout import (
    BERT_HEAD_WIDTH,
    MIMIC_INPUT,
    Layout,
    Parts,
    Place,
    ReleasedFile,
    bert_sizes,
)
from crossray.methods.prior.config import PriorConfig

_FILM, _TEXT = "image_encoder.encoder.", "text_encoder.encoder."
_SLOTS = "sentence_decoder.encoder.layer."
_LAYER = rf"{_SLOTS}\1."
_OUR_LAYER = r"generation\.decoder\.layers\.(\d+)\."


def _stacked(attention: str) -> Place:
    """Query, key and value of a BERT's attention, which torch's keeps in one; group 2 is weight or bias."""
    return Place(tuple(rf"{_LAYER}{attention}.self.{part}.\2" for part in ("query", "key", "value")))


def _pool(ours: str, theirs: str) -> dict[str, str]:
    parts = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "c_proj"}
    return {rf"{ours}\.{part}\.": f"{theirs}.{name}." for part, name in parts.items()}


def _parts(released: ReleasedFile, trunk: str) -> Parts:
    prototypes, width = released.shape("sentence_bank.embed.weight")
    rows = released.shape("image_encoder.atten_pool.positional_embedding")[0]
    return Parts(
        image=ImageEncoderConfig(name=trunk, pretrained="none", in_channels=1, local_stage=-1),
        text=TextEncoderConfig(max_tokens=256, punctuation="keep", **bert_sizes(released, _TEXT)),
        method=PriorConfig(
            preset="reference",
            initial_stage="reconstruct",
            embed_dim=width,
            largest_scale=None,
            position_grid=(isqrt(rows - 1), isqrt(rows - 1)),
            prototypes=prototypes,
            gumbel_in_evaluation=False,
            evaluation_prototype="softmax",
            slots=released.shape("prototype_queries", 3)[1],
            slot_layers=released.layers(_SLOTS),
            slot_heads=width // BERT_HEAD_WIDTH,
            slot_hidden=released.shape(f"{_SLOTS}0.intermediate.dense.weight")[0],
        ),
        input=MIMIC_INPUT,
        reads=TextConfig(deidentified="keep", list_numbers="keep"),
        prepared_size=224,
    )


PRIOR = Layout(
    title="PRIOR",
    film=_FILM,
    text=_TEXT,
    names={
        r"image_encoder\.trunk\.": _FILM,
        r"image_pool\.positions$": "image_encoder.atten_pool.positional_embedding",
        **_pool(r"image_pool\.attention", "image_encoder.atten_pool"),
        r"text_encoder\.bert\.": _TEXT,
        r"global_projection\.": "global_image_projection.",
        r"local_projection\.": "local_image_projection.",
        r"sentence_projection\.": "local_text_projection.",
        **_pool(r"sentence_pool\.attention", "global_text_attention"),
        r"local\.align\.region_(query|key|value)\.": r"local_cross_attention.\g<1>1.",
        r"local\.align\.sentence_(query|key|value)\.": r"local_cross_attention.\g<1>2.",
        r"local\.predictor\.": "predictor.",
        r"local\.log_scale$": "local_logit_scale",
        r"log_scale$": "logit_scale",
        r"bank\.prototypes$": "sentence_bank.embed.weight",
        r"generation\.decoder\.queries$": "prototype_queries",
        r"generation\.decoder\.positions\.": "sentence_decoder.embeddings.position_embeddings.",
        r"generation\.decoder\.token_types\.": "sentence_decoder.embeddings.token_type_embeddings.",
        r"generation\.decoder\.norm\.": "sentence_decoder.embeddings.LayerNorm.",
        rf"{_OUR_LAYER}self_attn\.in_proj_(weight|bias)$": _stacked("attention"),
        rf"{_OUR_LAYER}self_attn\.out_proj\.": f"{_LAYER}attention.output.dense.",
        rf"{_OUR_LAYER}norm1\.": f"{_LAYER}attention.output.LayerNorm.",
        rf"{_OUR_LAYER}multihead_attn\.in_proj_(weight|bias)$": _stacked("crossattention"),
        rf"{_OUR_LAYER}multihead_attn\.out_proj\.": f"{_LAYER}crossattention.output.dense.",
        rf"{_OUR_LAYER}norm2\.": f"{_LAYER}crossattention.output.LayerNorm.",
        rf"{_OUR_LAYER}linear1\.": f"{_LAYER}intermediate.dense.",
        rf"{_OUR_LAYER}linear2\.": f"{_LAYER}output.dense.",
        rf"{_OUR_LAYER}norm3\.": f"{_LAYER}output.LayerNorm.",
        # A block is convolution, norm and ReLU, twice.
        r"image_decoder\.blocks\.(\d+)\.([01])\.": r"image_decoder.blocks.\1.conv1.\2.",
        r"image_decoder\.blocks\.(\d+)\.3\.": r"image_decoder.blocks.\1.conv2.0.",
        r"image_decoder\.blocks\.(\d+)\.4\.": r"image_decoder.blocks.\1.conv2.1.",
        r"image_decoder\.output\.": "image_decoder.output_head.0.",
    },
    # BERT's pooler is computed and dropped, the decoder reads no words, and one projection is never called.
    unused=(
        r"^text_encoder\.encoder\.pooler\.",
        r"^sentence_decoder\.embeddings\.word_embeddings\.",
        r"^global_text_projection\.",
        r"\.position_ids$",
    ),
    own=r"stage_number$|bank\.(steps|remembered|remembered_count)$",
    parts=_parts,
)
