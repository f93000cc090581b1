"""SigLIP's objective: each film with each report is a binary question, answered by a sigmoid.

Spec: `baselines`, section 5. Encoders and linear heads are those of :mod:`crossray.methods.clip`. Presets:

- ``clean`` (default): reports with identical text are positives too (y = +1); nothing else changes.
- ``reference``: the published loss; a pair's own report is its only positive.

With several processes each scores its own films against all reports, so no matrix over all pairs of all processes is
formed; the published exchange between neighbours computes the same sum piece by piece.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from crossray.alignment.contrastive import cosine_matrix
from crossray.alignment.pairwise_sigmoid import pairwise_sigmoid_loss
from crossray.encoders.image import ImageEncoder
from crossray.encoders.text import TextEncoder
from crossray.methods.base import Gather, LossTerms, PairFeatures, Positives
from crossray.methods.dual_encoder import DualEncoder
from crossray.methods.positives import gathered_positives
from crossray.methods.presets import with_preset
from crossray.methods.projections import ProjectionKind
from crossray.settings import Settings

_PRESETS: dict[str, dict[str, Any]] = {"clean": {}, "reference": {"positives": "identity"}}


class SiglipConfig(Settings):
    """The objective.

    Attributes:
        preset: defaults for everything not given (see the module).
        initial_scale: s at the start; s = exp(theta) is learned.
        initial_bias: b at the start; learned too.
        projection: kind of the two heads.
        hidden_dim: their hidden width, if they have one; empty takes the width of what comes in.
        embed_dim: width of the joint space.
        positives: which pairs have y = +1 (``alignment.contrastive``).
    """

    name: Literal["siglip"] = "siglip"
    preset: Literal["clean", "reference"] = "clean"
    initial_scale: float = Field(default=10.0, gt=0)
    initial_bias: float = -10.0
    projection: ProjectionKind = "linear"
    hidden_dim: int | None = Field(default=None, ge=1)
    embed_dim: int = Field(default=512, ge=1)
    positives: Positives = "same_text"

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, values: Any) -> Any:
        return with_preset(values, _PRESETS, "clean")


class Siglip(DualEncoder):
    """Pairwise sigmoid contrast of films and reports.

    Attributes:
        log_scale: theta, a scalar.
        bias: b, a scalar.
    """

    name: ClassVar[str] = "siglip"

    def __init__(self, image_encoder: ImageEncoder, text_encoder: TextEncoder, config: SiglipConfig) -> None:
        super().__init__(
            image_encoder, text_encoder, head=config.projection, hidden=config.hidden_dim, width=config.embed_dim
        )
        self.config = config
        self.log_scale = nn.Parameter(torch.tensor(math.log(config.initial_scale)))
        self.bias = nn.Parameter(torch.tensor(config.initial_bias))

    @property
    def scale(self) -> Tensor:
        """s, by which cosines are multiplied."""
        return self.log_scale.exp()

    def losses(self, features: PairFeatures, gather: Gather) -> LossTerms:
        """The one term, over the pairs of all processes; each process scores its own films against every report."""
        own = len(features["image"])
        rows = slice(gather.rank * own, (gather.rank + 1) * own)
        by_film = pairwise_sigmoid_loss(
            cosine_matrix(features["image"], gather(features["report"])),
            gathered_positives(self.config.positives, features, gather)[rows],
            scale=self.scale,
            bias=self.bias,
        )
        return LossTerms({"pairs": gather(by_film).mean()}, {"pairs": 1.0})
