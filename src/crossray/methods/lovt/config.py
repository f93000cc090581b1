"""LoVT's configuration: the objective by the symbols of the spec (`lovt`), and its presets (see ``lovt.method``)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from crossray.alignment.contrastive import OtherPositives
from crossray.methods.base import Positives
from crossray.methods.presets import with_preset
from crossray.settings import Settings

Pooling = Literal["attention", "encoder"]

_PRESETS: dict[str, dict[str, Any]] = {
    "clean": {},
    "reference": {
        "positives": "identity",
        "padded_mean_query": True,
        "norm_over_padding": True,
        "shared_running_statistics": True,
    },
}


class LovtConfig(Settings):
    """The objective, by the symbols of the spec.

    Attributes:
        preset: defaults for everything not given (see ``lovt.method``).
        global_weight: gamma.
        image_to_text_share: lambda, the share of the films' direction in the global term.
        temperature: tau, of the global term.
        local_image_weight: mu.
        local_report_weight: nu. Without either local weight there are neither local heads nor an alignment.
        local_temperature: tau'.
        distance_threshold: T, how far positive regions lie, as a share of the grid's diagonal.
        distance_decay: beta; 0 makes positives uniform within T (the ablation ``no_spatial``).
        weighting: of regions and sentences in the local terms: the pools' attention, or all alike.
        image_pool: ``attention`` over the last map, or the trunk's own (ResNet: the average).
        report_pool: ``attention`` over sentences, or ``text_encoder.report_pooling`` (CLIP*, ConVIRT:
            ``max_of_words``).
        pool_heads: heads of the attention pools.
        hidden_dim: of the projection heads.
        embed_dim: width of the joint space.
        batch_norm: in the projection heads.
        local_score: compare films and reports through their sentences too (see ``Lovt.similarity``).
        positives: of the global term (``alignment.contrastive``).
        other_positives: what happens to those besides the own pair (``alignment.contrastive``).
        padded_mean_query: the defect of section 5.3.
        norm_over_padding: the defect of section 5.4.
        shared_running_statistics: the defect of section 5.5.
    """

    name: Literal["lovt"] = "lovt"
    preset: Literal["clean", "reference"] = "clean"
    global_weight: float = Field(default=1.0, ge=0)
    image_to_text_share: float = Field(default=0.75, ge=0, le=1)
    temperature: float = Field(default=0.1, gt=0)
    local_image_weight: float = Field(default=0.75, ge=0)
    local_report_weight: float = Field(default=0.75, ge=0)
    local_temperature: float = Field(default=0.3, gt=0)
    distance_threshold: float = Field(default=0.5, ge=0)
    distance_decay: float = Field(default=1.0, ge=0)
    weighting: Literal["attention", "uniform"] = "attention"
    image_pool: Pooling = "attention"
    report_pool: Pooling = "attention"
    pool_heads: int = Field(default=8, ge=1)
    hidden_dim: int = Field(default=2048, ge=1)
    embed_dim: int = Field(default=512, ge=1)
    batch_norm: bool = True
    local_score: bool = False
    positives: Positives = "same_text"
    other_positives: OtherPositives = "target"
    padded_mean_query: bool = False
    norm_over_padding: bool = False
    shared_running_statistics: bool = False

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, values: Any) -> Any:
        return with_preset(values, _PRESETS, "clean")

    @model_validator(mode="after")
    def _the_parts_fit(self) -> LovtConfig:
        if self.global_weight == 0 and not self.has_local_terms:
            raise ValueError("all weights are 0: nothing would be learned")
        learned = self.global_weight > 0 and self.image_pool == self.report_pool == "attention"
        if self.has_local_terms and self.weighting == "attention" and not learned:
            raise ValueError(
                "weighting: attention takes the weights of the attention pools, which only the global term trains; "
                "set weighting: uniform, or both pools to attention and global_weight above 0"
            )
        if self.local_score and not self.has_local_terms:
            raise ValueError("local_score needs a local term")
        return self

    @property
    def has_local_terms(self) -> bool:
        """Whether regions and sentences are aligned."""
        return self.local_image_weight > 0 or self.local_report_weight > 0

    @property
    def term_weights(self) -> dict[str, float]:
        """The weights of the terms; one that is 0 is left out."""
        weights = {
            "global_image_to_text": self.global_weight * self.image_to_text_share,
            "global_text_to_image": self.global_weight * (1 - self.image_to_text_share),
            "local_image": self.local_image_weight,
            "local_report": self.local_report_weight,
        }
        return {name: weight for name, weight in weights.items() if weight > 0}
