"""SimCLR: two augmented views of a film find each other in the batch. No report, no label.

Spec: `lovt`, section 4.5: temperature 0.1, projection to 128. The head has one hidden ReLU layer; what LoVT's library
put between its layers is not in the spec, and ``projection=mlp_batch_norm`` is there for those who want it. There is
no published defect to reproduce, and so no ``reference`` preset. BYOL and PixelPro, its siblings there, are left out.

Chest films are told apart by more than their orientation and colour: the augmentation is the recipe's, not the
method's (``image.augmentation``).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from crossray.alignment.nt_xent import nt_xent
from crossray.data.batch import PairBatch
from crossray.encoders.image import ImageEncoder
from crossray.errors import ConfigError
from crossray.methods.base import Gather, LossTerms, PairFeatures
from crossray.methods.image_only import ImageOnly
from crossray.methods.projections import ProjectionKind, projection
from crossray.settings import Settings


class SimClrConfig(Settings):
    """The objective.

    Attributes:
        preset: there is one.
        temperature: tau.
        projection: kind of the head.
        hidden_dim: its hidden width; empty takes the width of what comes in.
        embed_dim: width of the space in which views are compared.
    """

    name: Literal["simclr"] = "simclr"
    preset: Literal["clean"] = "clean"
    temperature: float = Field(default=0.1, gt=0)
    projection: ProjectionKind = "mlp"
    hidden_dim: int | None = Field(default=None, ge=1)
    embed_dim: int = Field(default=128, ge=1)


class SimClr(ImageOnly):
    """Contrast of two views of each film."""

    name: ClassVar[str] = "simclr"
    image_views: ClassVar[int] = 2

    def __init__(self, image_encoder: ImageEncoder, config: SimClrConfig) -> None:
        super().__init__(image_encoder)
        self.config = config
        channels = image_encoder.pooled_channels
        self.image_projection = projection(config.projection, channels, config.hidden_dim, config.embed_dim)

    def encode(self, batch: PairBatch) -> PairFeatures:
        """``first [B, D]`` and ``second [B, D]``: both views in one pass, so that batch norms see them together.

        Raises:
            ConfigError: the batch has one view.
        """
        if batch.second_view is None:
            raise ConfigError("simclr compares two views of each film, and this batch has one.")
        pooled = self.image_encoder(torch.cat([batch.pixels, batch.second_view])).pooled
        views = self.image_projection(pooled)
        return {"first": views[: len(batch)], "second": views[len(batch) :]}

    def losses(self, features: PairFeatures, gather: Gather) -> LossTerms:
        """NT-Xent over the views of all processes."""
        loss = nt_xent(gather(features["first"]), gather(features["second"]), temperature=self.config.temperature)
        return LossTerms({"views": loss}, {"views": 1.0})
