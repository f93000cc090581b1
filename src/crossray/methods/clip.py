"""CLIP's objective: InfoNCE in both directions, averaged, at a temperature that is learned.

Spec: `baselines`, section 4. Encoders and linear heads are our own choice for films (the same as for the other
methods); the objective is OpenAI's as open_clip computes it. Presets:

- ``clean`` (default): reports with identical text are positives of each other.
- ``reference``: the published loss; a pair's own report is its only positive.

With several processes the loss is that of the gathered batch, gathered with gradient. open_clip's ``local loss`` has
the same value, averaged over processes, and so needs no option here.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from crossray.alignment.contrastive import OtherPositives, cosine_matrix, symmetric_info_nce
from crossray.encoders.image import ImageEncoder
from crossray.encoders.text import TextEncoder
from crossray.methods.base import Gather, LossTerms, PairFeatures, Positives
from crossray.methods.dual_encoder import DualEncoder
from crossray.methods.positives import gathered_positives
from crossray.methods.presets import with_preset
from crossray.methods.projections import ProjectionKind
from crossray.settings import Settings

_PRESETS: dict[str, dict[str, Any]] = {"clean": {}, "reference": {"positives": "identity"}}


class ClipConfig(Settings):
    """The objective.

    Attributes:
        preset: defaults for everything not given (see the module).
        initial_temperature: 1 / s at the start; s = exp(theta) is learned.
        largest_scale: theta is clamped to [0, log of this] after each step.
        projection: kind of the two heads.
        hidden_dim: their hidden width, if they have one; empty takes the width of what comes in.
        embed_dim: width of the joint space.
        positives: which pairs count as positives (``alignment.contrastive``).
        other_positives: what happens to those besides the own pair (``alignment.contrastive``).
    """

    name: Literal["clip"] = "clip"
    preset: Literal["clean", "reference"] = "clean"
    initial_temperature: float = Field(default=0.07, gt=0, le=1)
    largest_scale: float = Field(default=100.0, gt=1)
    projection: ProjectionKind = "linear"
    hidden_dim: int | None = Field(default=None, ge=1)
    embed_dim: int = Field(default=512, ge=1)
    positives: Positives = "same_text"
    other_positives: OtherPositives = "target"

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, values: Any) -> Any:
        return with_preset(values, _PRESETS, "clean")


class Clip(DualEncoder):
    """Global contrast of films and reports at a learned temperature.

    Attributes:
        log_scale: theta, a scalar.
    """

    name: ClassVar[str] = "clip"

    def __init__(self, image_encoder: ImageEncoder, text_encoder: TextEncoder, config: ClipConfig) -> None:
        super().__init__(
            image_encoder, text_encoder, head=config.projection, hidden=config.hidden_dim, width=config.embed_dim
        )
        self.config = config
        self.log_scale = nn.Parameter(torch.tensor(-math.log(config.initial_temperature)))

    @property
    def scale(self) -> Tensor:
        """s, by which cosines are multiplied."""
        return self.log_scale.exp()

    @torch.no_grad()
    def after_step(self) -> None:
        """Keep the scale from falling below 1 and from running away."""
        self.log_scale.clamp_(0.0, math.log(self.config.largest_scale))

    def losses(self, features: PairFeatures, gather: Gather) -> LossTerms:
        """The two directions, over the pairs of all processes; the total is their mean."""
        both = symmetric_info_nce(
            cosine_matrix(gather(features["image"]), gather(features["report"])),
            gathered_positives(self.config.positives, features, gather),
            scale=self.scale,
            other_positives=self.config.other_positives,
        )
        return LossTerms(
            {"image_to_text": both.image_to_text, "text_to_image": both.text_to_image},
            {"image_to_text": 0.5, "text_to_image": 0.5},
        )
