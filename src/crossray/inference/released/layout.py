"""What a released checkpoint calls its tensors, and how they are brought to a model of ours, all of them or none."""

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
from crossray.encoders.text import TextEncoderConfig
from crossray.errors import CheckpointError
from crossray.methods.build import MethodConfig

BERT_HEAD_WIDTH = 64
"""Of every BERT that these models began with; no tensor tells."""

MIMIC_INPUT = ImageInputConfig(size=224, mean=0.4755, std=0.3011)
"""Films as PRIOR's code states of MIMIC-CXR, on which LoVT was trained too."""


@dataclass(frozen=True)
class Place:
    """Where a tensor of ours stands in a file: in the tensors of ``names``, one above the other.

    ``third`` 0, 1 or 2 is a part of that: torch's attention keeps the weights of queries, keys and values in one.
    """

    names: tuple[str, ...]
    third: int | None = None


@dataclass(frozen=True)
class ReleasedFile:
    """A checkpoint's tensors, whose model it is, and the file that messages name."""

    title: str
    file: Path
    weights: Mapping[str, Tensor]

    def shape(self, name: str, dimensions: int = 2) -> torch.Size:
        """The shape of a tensor.

        Raises:
            CheckpointError: there is none of this name, it is empty or not of so many dimensions, or it claims more
                numbers than the file holds (a model of its size would be made).
        """
        if name not in self.weights:
            raise self.lacking([name])
        value = self.weights[name]
        if value.ndim != dimensions or value.numel() == 0:
            raise CheckpointError(
                f"does not fit the model: '{name}' has shape {list(value.shape)}, {dimensions} dimensions are needed.",
                file=self.file,
            )
        if value.device.type != "meta" and value.untyped_storage().nbytes() < value.numel() * value.element_size():
            raise CheckpointError(f"does not hold the {value.numel()} numbers of '{name}'.", file=self.file)
        return value.shape

    def layers(self, stem: str) -> int:
        """How many numbered modules stand below a name."""
        found = {match[1] for name in self.weights if (match := re.match(rf"{re.escape(stem)}(\d+)\.", name))}
        return len(found)

    def lacking(self, names: Sequence[str]) -> CheckpointError:
        """What to raise where tensors are missing."""
        return CheckpointError(
            f"lacks {len(names)} tensors of {self.title}'s joint model: {_some(names)}.",
            file=self.file,
            remedy="Give the checkpoint of the whole model. A trunk alone serves as --image-encoder FILE or "
            "image_encoder.pretrained.",
        )


@dataclass(frozen=True)
class Parts:
    """What a model of ours is made of, with the sizes that the tensors have, and what it is to be given.

    ``prepared_size`` is the side to which films are brought, padded to a square, before ``input`` crops them.
    """

    image: ImageEncoderConfig
    text: TextEncoderConfig
    method: MethodConfig
    input: ImageInputConfig
    reads: TextConfig
    prepared_size: int


@dataclass(frozen=True)
class Layout:
    """The names of one published code.

    Attributes:
        title: the method's name in messages.
        film: what the names of the trunk's tensors begin with.
        text: likewise of the language model's.
        names: patterns of our names, and what stands for the matched beginning in the file.
        unused: patterns of tensors of the file that are not needed to embed, compare or ground.
        own: pattern of tensors of ours that no file has, since they count steps or remember a stage.
        zero: tensors that a file may lack, and which are zero then.
        parts: the model's configuration, from the file and the trunk's architecture.
        wrapper: what some files put before every name.
    """

    title: str
    film: str
    text: str
    names: Mapping[str, str | Place]
    unused: Sequence[str]
    parts: Callable[[ReleasedFile, str], Parts]
    own: str = r"(?!)"
    zero: Sequence[str] = ()
    wrapper: str = ""

    def describes(self, names: Sequence[str]) -> bool:
        """Whether a file with tensors of these names has both sides in this layout."""
        bare = [name.removeprefix(self.wrapper) for name in names]
        return all(any(name.startswith(side) for name in bare) for side in (self.film, self.text))

    def tensors_for(self, model: Mapping[str, Tensor], released: ReleasedFile) -> dict[str, Tensor]:
        """The file's tensors under the names of a model's, which also say which shapes they must have.

        Raises:
            CheckpointError: tensors are missing, not known, or of other shapes; the first three are named.
        """
        own = {name: value for name, value in model.items() if not re.match(self.own, name)}
        places = {name: self._place(name) for name in own}
        wanted = {name: ours for ours, place in places.items() for name in place.names}
        weights = {name: torch.zeros_like(own[wanted[name]]) for name in self.zero} | dict(released.weights)
        missing = [name for name in wanted if name not in weights]
        if missing:
            raise released.lacking(missing)
        unknown = [
            name
            for name in weights
            if name not in wanted and not any(re.search(pattern, name) for pattern in self.unused)
        ]
        if unknown:
            raise CheckpointError(
                f"has {len(unknown)} tensors that {self.title} has not: {_some(unknown)}.",
                file=released.file,
                remedy="Nothing is left out unasked. If they belong to training alone, save the others to a file.",
            )
        return {name: _brought(weights, places[name], value, released.file) for name, value in own.items()}

    def _place(self, name: str) -> Place:
        for pattern, place in self.names.items():
            if match := re.match(pattern, name):
                place = Place((place,)) if isinstance(place, str) else place
                rest = name[match.end() :]
                return Place(tuple(match.expand(there) + rest for there in place.names), place.third)
        raise AssertionError(f"{self.title} has no place for {name}")


def bert_sizes(released: ReleasedFile, stem: str) -> dict[str, Any]:
    """The sizes of a BERT below a name, as arguments of :class:`TextEncoderConfig`."""
    width = released.shape(f"{stem}embeddings.word_embeddings.weight")[1]
    return {
        "pretrained": "none",
        "layers": released.layers(f"{stem}encoder.layer."),
        "width": width,
        "heads": width // BERT_HEAD_WIDTH,
        "intermediate": released.shape(f"{stem}encoder.layer.0.intermediate.dense.weight")[0],
        "max_positions": released.shape(f"{stem}embeddings.position_embeddings.weight")[0],
        "token_types": 2,
        "activation": "gelu",
        "layer_norm_eps": 1e-12,
    }


def _brought(weights: Mapping[str, Tensor], place: Place, own: Tensor, file: Path) -> Tensor:
    """The tensor for one of ours."""
    shape = list(own.shape)
    if place.third is not None:
        shape[0] *= 3
    elif len(place.names) > 1:
        shape[0] //= len(place.names)
    named = [_of_shape(shape, weights[name], name, file) for name in place.names]
    value = named[0] if len(named) == 1 else torch.cat(named)
    return value if place.third is None else value.chunk(3)[place.third]


def _of_shape(shape: list[int], value: Tensor, name: str, file: Path) -> Tensor:
    if list(value.shape) == shape:
        return value
    if list(value.shape) == shape + [1] * (value.ndim - len(shape)):  # a 1×1 convolution where ours is a matrix
        return value.reshape(shape)
    raise CheckpointError(
        f"does not fit the model: '{name}' has shape {list(value.shape)}, {shape} is needed.", file=file
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:3]) + (", ..." if len(names) > 3 else "")
