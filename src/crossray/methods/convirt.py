"""ConVIRT: one vector a film, one a report, and an InfoNCE that weighs its two directions unequally.

Spec: `baselines`, section 1. Presets:

- ``clean`` (default): reports with identical text are positives of each other.
- ``reference``: the published loss; a pair's own report is its only positive.
- ``mgca``: the MGCA repository's ConVIRT: both directions summed, temperature 0.07, batch-normalised heads to 128.
- ``benchx``: BenchX's: heads with 768 hidden units to 768.

The published text vector is the maximum over tokens, [CLS] and [SEP] left out (by LoVT, whose configuration this is):
``text_encoder.report_pooling=max_of_words``; its caption is one random sentence; ``mgca`` and ``benchx`` read [CLS]
(``cls``) of the whole report.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from crossray.alignment.contrastive import OtherPositives, cosine_matrix, symmetric_info_nce
from crossray.encoders.image import ImageEncoder
from crossray.encoders.text import TextEncoder
from crossray.methods.base import Gather, LossTerms, PairFeatures, Positives
from crossray.methods.dual_encoder import DualEncoder
from crossray.methods.positives import gathered_positives
from crossray.methods.presets import with_preset
from crossray.methods.projections import ProjectionKind
from crossray.settings import Settings

_PRESETS: dict[str, dict[str, Any]] = {
    "clean": {},
    "reference": {"positives": "identity"},
    "mgca": {
        "positives": "identity",
        "image_to_text_weight": 1.0,
        "text_to_image_weight": 1.0,
        "temperature": 0.07,
        "projection": "mlp_batch_norm",
        "hidden_dim": 2048,
        "embed_dim": 128,
    },
    "benchx": {"positives": "identity", "hidden_dim": 768, "embed_dim": 768},
}


class ConVirtConfig(Settings):
    """The objective.

    Attributes:
        preset: defaults for everything not given (see the module).
        image_to_text_weight: lambda.
        text_to_image_weight: 1 - lambda.
        temperature: tau.
        projection: kind of the two heads.
        hidden_dim: their hidden width; empty takes the width of what comes in.
        embed_dim: width of the joint space.
        positives: which pairs count as positives (``alignment.contrastive``).
        other_positives: what happens to those besides the own pair (``alignment.contrastive``).
    """

    name: Literal["convirt"] = "convirt"
    preset: Literal["clean", "reference", "mgca", "benchx"] = "clean"
    image_to_text_weight: float = Field(default=0.75, ge=0)
    text_to_image_weight: float = Field(default=0.25, ge=0)
    temperature: float = Field(default=0.1, gt=0)
    projection: ProjectionKind = "mlp"
    hidden_dim: int | None = Field(default=None, ge=1)
    embed_dim: int = Field(default=512, ge=1)
    positives: Positives = "same_text"
    other_positives: OtherPositives = "target"

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, values: Any) -> Any:
        return with_preset(values, _PRESETS, "clean")


class ConVirt(DualEncoder):
    """Global contrast of films and reports."""

    name: ClassVar[str] = "convirt"

    def __init__(self, image_encoder: ImageEncoder, text_encoder: TextEncoder, config: ConVirtConfig) -> None:
        super().__init__(
            image_encoder, text_encoder, head=config.projection, hidden=config.hidden_dim, width=config.embed_dim
        )
        self.config = config

    def losses(self, features: PairFeatures, gather: Gather) -> LossTerms:
        """The two directions, over the pairs of all processes."""
        config = self.config
        both = symmetric_info_nce(
            cosine_matrix(gather(features["image"]), gather(features["report"])),
            gathered_positives(config.positives, features, gather),
            scale=1 / config.temperature,
            other_positives=config.other_positives,
        )
        return LossTerms(
            {"image_to_text": both.image_to_text, "text_to_image": both.text_to_image},
            {"image_to_text": config.image_to_text_weight, "text_to_image": config.text_to_image_weight},
        )
