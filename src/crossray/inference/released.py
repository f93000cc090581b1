"""Joint models from released checkpoints: GLoRIA's and MGCA's tensors under our names, film and text side alike.

The layouts are those of the public code (marshuang80/gloria, HKU-MedAI/MGCA). A checkpoint holds no vocabulary: it is
read from the BERT that both began with. What a checkpoint has beyond the model it is for is listed here by name, and
anything else is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crossray.data.augment import ImageInputConfig
from crossray.data.text import TextConfig
from crossray.encoders.image import ImageEncoderConfig
from crossray.encoders.image_layout import architecture_of
from crossray.encoders.image_weights import read_state_dict
from crossray.encoders.text import TextEncoderConfig
from crossray.encoders.tokenizer import ReportTokenizer
from crossray.errors import CheckpointError
from crossray.inference.joint_model import JointModel
from crossray.methods.build import MethodConfig, build_method
from crossray.methods.global_local import GlobalLocalConfig
from crossray.methods.mgca.config import MgcaConfig
from crossray.tensor_file import load_weights

VOCABULARY = "emilyalsentzer/Bio_ClinicalBERT"
PREPARED_SIZE = 256
"""Side to which both bring a film's long side, padded to a square, before a crop of 224."""

_HEAD = {"0": "first", "1": "first_norm", "3": "second", "4": "second_norm"}
_BERT_HEAD_WIDTH = 64


@dataclass(frozen=True)
class _Layout:
    """Where tensors stand in a released checkpoint.

    ``names`` are patterns and what they become; ``unused`` are patterns of tensors that the model does without.
    """

    title: str
    film: str
    text: str
    names: Sequence[tuple[str, str | Callable[[re.Match[str]], str]]]
    unused: Sequence[str]
    max_tokens: int

    def describes(self, weights: Mapping[str, Tensor]) -> bool:
        """Whether a checkpoint has both sides in this layout."""
        return all(any(name.startswith(side) for name in weights) for side in (self.film, self.text))

    def renamed(self, weights: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
        """The tensors that the model wants, by our names; 1×1 convolutions as matrices.

        Raises:
            CheckpointError: it holds tensors that are neither the model's nor known to be of no use.
        """
        found: dict[str, Tensor] = {}
        unknown: list[str] = []
        for name, value in weights.items():
            if any(re.search(pattern, name) for pattern in self.unused):
                continue
            ours = next((re.sub(old, new, name) for old, new in self.names if re.match(old, name)), None)
            if ours is None:
                unknown.append(name)
            else:
                is_head = not ours.startswith(("image_encoder.", "text_encoder."))
                found[ours] = value.flatten(1) if is_head and value.ndim > 2 else value
        if unknown:
            raise CheckpointError(
                f"has {len(unknown)} tensors that {self.title} has not, such as '{unknown[0]}'.", file=file
            )
        return found


def _of_head(ours: str) -> Callable[[re.Match[str]], str]:
    return lambda match: f"{ours}.{_HEAD[match[1]]}."


_GLORIA = _Layout(
    title="GLoRIA",
    film="img_encoder.model.",
    text="text_encoder.model.",
    names=(
        (r"img_encoder\.model\.", "image_encoder.trunk."),
        (r"img_encoder\.global_embedder\.", "global_projection."),
        (r"img_encoder\.local_embedder\.", "local_projection."),
        (r"text_encoder\.model\.", "text_encoder.bert."),
    ),
    unused=(r"^text_encoder\.model\.pooler\.", r"\.position_ids$"),
    max_tokens=97,
)
_MGCA = _Layout(
    title="MGCA",
    film="img_encoder_q.model.",
    text="text_encoder_q.model.",
    names=(
        (r"img_encoder_q\.model\.", "image_encoder.trunk."),
        (r"img_encoder_q\.global_embed\.head\.(\d)\.", _of_head("image_head")),
        (r"img_encoder_q\.local_embed\.head\.(\d)\.", _of_head("patch_head")),
        (r"text_encoder_q\.model\.", "text_encoder.bert."),
        (r"text_encoder_q\.global_embed\.head\.(\d)\.", _of_head("report_head")),
        (r"text_encoder_q\.local_embed\.head\.(\d)\.", _of_head("word_head")),
        (r"prototype_layer\.weight$", "prototypes"),
    ),
    # Its learned attention is an option that is off, and its BERT could read films but does not.
    unused=(r"^(patch|word)_local_atten_layer\.", r"\.crossattention\.", r"\.position_ids$"),
    max_tokens=112,
)


def load_released(file: Path, vocabulary: str = VOCABULARY, *, device: torch.device | str = "cpu") -> JointModel:
    """The joint model of a released checkpoint.

    Args:
        file: ``.ckpt``, ``.pth`` or ``.safetensors`` with tensors alone (a training checkpoint that holds other
            objects must be saved again; the message says how).
        vocabulary: folder or hub id of the BERT whose WordPiece vocabulary it was trained with.
        device: where to compute.

    Raises:
        CheckpointError: it is of no layout that can be read, or tensors are missing, too many or of other shapes.
        ConfigError: the file or the vocabulary cannot be read, or the architecture of its trunk is not known.
    """
    weights = {name.removeprefix("gloria."): value for name, value in read_state_dict(file).items()}
    layout = next((layout for layout in (_GLORIA, _MGCA) if layout.describes(weights)), None)
    if layout is None:
        raise CheckpointError(
            "is neither GLoRIA's nor MGCA's joint model.",
            file=file,
            remedy="Of PRIOR, LoVT and others the trunk alone can be read: image_encoder.pretrained, --image-encoder.",
        )
    found = layout.renamed(weights, file)
    tokenizer = ReportTokenizer.from_pretrained(vocabulary, max_tokens=layout.max_tokens)
    image, text, method = _configurations(layout, file, found)
    rows = len(_needed(found, "text_encoder.bert.embeddings.word_embeddings.weight", file))
    if rows != tokenizer.vocabulary_size:
        raise CheckpointError(
            f"has {rows} tokens, '{vocabulary}' has {tokenizer.vocabulary_size}.",
            file=file,
            remedy="Give the vocabulary that it was trained with.",
        )
    if layout is _MGCA:  # its BERT adds no token types
        width = found["text_encoder.bert.embeddings.word_embeddings.weight"].shape[1]
        found.setdefault("text_encoder.bert.embeddings.token_type_embeddings.weight", torch.zeros(2, width))
    model = build_method(image, text, method, tokenizer, initial_weights=False)
    load_weights(model, found, file)
    return JointModel(model, tokenizer, ImageInputConfig(size=224), TextConfig(preprocessing="gloria"), device=device)


def _configurations(
    layout: _Layout, file: Path, found: Mapping[str, Tensor]
) -> tuple[ImageEncoderConfig, TextEncoderConfig, MethodConfig]:
    """What the published recipes say, with the sizes that the tensors have."""
    trunk = architecture_of(file)
    is_vit = trunk.startswith("vit")
    image: dict[str, Any] = {"name": trunk, "pretrained": "none", "in_channels": 3}
    image |= {"local_stage": -1, "class_attention": True} if is_vit else {"local_stage": -2, "resize_to": 299}
    text: dict[str, Any] = {"pretrained": "none", "max_tokens": layout.max_tokens} | _bert_sizes(found, file)
    if layout is _GLORIA:
        width = len(_needed(found, "global_projection.weight", file))
        method: MethodConfig = GlobalLocalConfig(preset="reference", embed_dim=width)
        return ImageEncoderConfig(**image), TextEncoderConfig(**text, last_layers=4), method
    hidden, width = (len(_needed(found, f"image_head.{name}.weight", file)) for name in ("first", "second"))
    prototypes = len(_needed(found, "prototypes", file))
    preset: Any = "reference_vit" if is_vit else "reference"
    method = MgcaConfig(preset=preset, hidden_dim=hidden, embed_dim=width, prototypes=prototypes)
    return (
        ImageEncoderConfig(**image),
        TextEncoderConfig(**text, report_pooling="cls", class_attention=True),
        method,
    )


def _bert_sizes(found: Mapping[str, Tensor], file: Path) -> dict[str, Any]:
    stem = "text_encoder.bert."
    numbers = {match[1] for name in found if (match := re.match(rf"{re.escape(stem)}encoder\.layer\.(\d+)\.", name))}
    width = _needed(found, f"{stem}embeddings.word_embeddings.weight", file).shape[1]
    return {
        "layers": len(numbers),
        "width": width,
        "heads": width // _BERT_HEAD_WIDTH,  # no tensor tells
        "intermediate": len(_needed(found, f"{stem}encoder.layer.0.intermediate.dense.weight", file)),
        "max_positions": len(_needed(found, f"{stem}embeddings.position_embeddings.weight", file)),
        "token_types": 2,
        "activation": "gelu",
        "layer_norm_eps": 1e-12,
    }


def _needed(found: Mapping[str, Tensor], name: str, file: Path) -> Tensor:
    if name not in found:
        raise CheckpointError(f"does not fit the model: '{name}' is missing in the checkpoint.", file=file)
    return found[name]
