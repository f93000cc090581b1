"""Joint models from released checkpoints: the published tensors under our names, film and text side alike.

A checkpoint holds no vocabulary: it is read from the BERT that all of them began with. What a checkpoint has beyond the
model it is for is listed in its layout by name, and anything else is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import ValidationError

from crossray.encoders.image_layout import architecture_in
from crossray.encoders.image_weights import read_state_dict
from crossray.encoders.tokenizer import ReportTokenizer
from crossray.errors import CheckpointError
from crossray.inference.joint_model import JointModel
from crossray.inference.released.gloria import GLORIA
from crossray.inference.released.layout import Layout, ReleasedFile
from crossray.inference.released.lovt import LOVT
from crossray.inference.released.mgca import MGCA
from crossray.inference.released.prior import PRIOR
from crossray.methods.build import build_method

VOCABULARY = "emilyalsentzer/Bio_ClinicalBERT"

LAYOUTS: tuple[Layout, ...] = (GLORIA, MGCA, PRIOR, LOVT)


class Released(NamedTuple):
    """The model, and the side to which films are brought, padded to a square, before its own crop."""

    joint: JointModel
    prepared_size: int


def load_released(file: Path, vocabulary: str = VOCABULARY, *, device: torch.device | str = "cpu") -> Released:
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
    tensors = read_state_dict(file)
    layout = next((layout for layout in LAYOUTS if layout.describes(tuple(tensors))), None)
    if layout is None:
        titles = [layout.title for layout in LAYOUTS]
        raise CheckpointError(
            f"is no joint model of {', '.join(titles[:-1])} or {titles[-1]}.",
            file=file,
            remedy="Of other models the trunk alone can be read: image_encoder.pretrained, --image-encoder.",
        )
    weights = {name.removeprefix(layout.wrapper): value for name, value in tensors.items()}
    released = ReleasedFile(layout.title, file, weights)
    try:
        parts = layout.parts(released, architecture_in(weights, file))
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"{'.'.join(map(str, first['loc']))} {first['msg']}"
        raise CheckpointError(f"has tensors of sizes that make no {layout.title}: {problem}.", file=file) from error
    tokenizer = ReportTokenizer.from_pretrained(
        vocabulary, max_tokens=parts.text.max_tokens, punctuation=parts.text.punctuation
    ).with_truncation(parts.text.truncation)
    rows = released.shape(f"{layout.text}embeddings.word_embeddings.weight")[0]
    if rows != tokenizer.vocabulary_size:
        raise CheckpointError(
            f"has {rows} tokens, '{vocabulary}' has {tokenizer.vocabulary_size}.",
            file=file,
            remedy="Give the vocabulary that it was trained with.",
        )
    method = build_method(parts.image, parts.text, parts.method, tokenizer, initial_weights=False)
    own = method.state_dict()
    method.load_state_dict(own | layout.tensors_for(own, released))
    return Released(JointModel(method, tokenizer, parts.input, parts.reads, device=device), parts.prepared_size)
