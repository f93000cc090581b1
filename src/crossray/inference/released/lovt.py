"""LoVT's model as its public code saves it (philip-mueller/lovt).

Films were normalised by the mean and deviation of the training films, which the checkpoint does not hold: taken are
those that PRIOR's code states of the same films (MIMIC-CXR). A text has the vector that the published model gives it
alone: in a batch with longer reports it would be another one (`lovt` spec, 5.3).
"""

from __future__ import annotations

from crossray.data.text import TextConfig
from crossray.encoders.image import ImageEncoderConfig
from crossray.encoders.text import TextEncoderConfig
from crossray.inference.released.layout import MIMIC_INPUT, Layout, Parts, Place, ReleasedFile, bert_sizes
from crossray.methods.lovt.config import LovtConfig

_FILM, _TEXT = "model_a.encoder.feature_extractor.backbone_layers.", "model_b.encoder.language_model."
_HEADS = {
    r"film_head\.head": "model_a.project_global",
    r"region_head": "model_a.project_local",
    r"report_head\.head": "model_b.project_global",
    r"sentence_head": "model_b.project_local",
}
_LAYERS = {"first": "projection_before", "norm": "norm", "second": "projection_after"}
_POOLS = {"film_head": "model_a.encoder.global_aggregator", "report_head": "model_b.encoder.global_aggregator"}
_THIRDS = {"query": 0, "key": 1, "value": 2}


def _parts(released: ReleasedFile, trunk: str) -> Parts:
    head = _HEADS[r"film_head\.head"]
    return Parts(
        image=ImageEncoderConfig(name=trunk, pretrained="none", in_channels=3, local_stage=-1),
        text=TextEncoderConfig(
            max_tokens=512,
            punctuation="keep",
            truncation="sentences",
            sentence_pooling="max",
            **bert_sizes(released, _TEXT),
        ),
        method=LovtConfig(
            preset="reference",
            padded_mean_query=False,
            hidden_dim=released.shape(f"{head}.projection_before.weight")[0],
            embed_dim=released.shape(f"{head}.projection_after.weight")[0],
        ),
        input=MIMIC_INPUT,
        reads=TextConfig(deidentified="keep", list_numbers="keep"),
        prepared_size=224,
    )


LOVT = Layout(
    title="LoVT",
    film=_FILM,
    text=_TEXT,
    names={
        r"image_encoder\.trunk\.": _FILM,
        r"text_encoder\.bert\.": _TEXT,
        **{
            rf"{head}\.{layer}\.": f"{there}.{name}."
            for head, there in _HEADS.items()
            for layer, name in _LAYERS.items()
        },
        **{
            rf"{head}\.pool\.{part}\.(weight|bias)$": Place((rf"{there}.attention.in_proj_\1",), third)
            for head, there in _POOLS.items()
            for part, third in _THIRDS.items()
        },
        **{rf"{head}\.pool\.output\.": f"{there}.attention.out_proj." for head, there in _POOLS.items()},
        r"alignment\.query\.": "ll_attention.key_projection.",  # one for queries and keys
        r"alignment\.(value|output)\.": r"ll_attention.\1_projection.",
        r"alignment\.scale$": "ll_attention.norm.weight",
        r"alignment\.shift$": "ll_attention.norm.bias",
        r"alignment\.norms\.0\.": "ll_attention.norm.",
    },
    # BERT's pooler is not read; the rest are tables of the losses and the probes that watched the training.
    unused=(
        r"^model_b\.encoder\.language_model\.pooler\.",
        r"\.position_ids$",
        r"^loss_module\.ll_alignments_[ab]\.\d+\.(pos_weights|negatives_mask)$",
        r"^chexpert_bin_(scan|report|joint)\.",
    ),
    parts=_parts,
)
