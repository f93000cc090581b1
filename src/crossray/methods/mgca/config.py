"""MGCA's options and presets (`baselines` spec, section 3)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from crossray.alignment.contrastive import OtherPositives
from crossray.methods.base import Positives
from crossray.methods.presets import with_preset
from crossray.settings import Settings

Weights = Literal["attention", "uniform"]

_REFERENCE: dict[str, Any] = {
    "positives": "identity",
    "include_sep": True,
    "padding_counts": True,
    "across_processes": False,
}

_PRESETS: dict[str, dict[str, Any]] = {
    "clean": {},
    "reference": _REFERENCE,
    "reference_vit": {**_REFERENCE, "patch_weights": "attention", "normalise_patch_context": False},
}


class MgcaConfig(Settings):
    """The objective, by the symbols of the spec.

    Attributes:
        preset: defaults for everything not given (see ``methods.mgca.method``).
        instance_weight: lambda_1, of both directions of ITA.
        token_weight: lambda_2, of words and of patches (CTA).
        prototype_weight: lambda_3 (CPA).
        temperature: tau_1, of ITA.
        token_temperature: tau_2, of attention between words and patches and of their contrast.
        prototypes: how many.
        prototype_temperature: of predictions.
        sinkhorn_epsilon: of codes.
        sinkhorn_iterations: of codes.
        still_epochs: so many first epochs leave the prototypes where they are.
        word_weights: ``attention`` weighs words by what [CLS] attends to (needs ``text_encoder.class_attention``).
        patch_weights: likewise for patches (a ViT with ``image_encoder.class_attention``); a CNN has ``uniform`` ones.
        normalise_patch_context: scale what a patch sees of the report to length 1 before the contrast.
        hidden_dim: of the four heads.
        embed_dim: width of the joint space.
        positives: which pairs count as positives in ITA (``alignment.contrastive``).
        other_positives: what happens to those besides the own pair (``alignment.contrastive``).
        include_sep: whether [SEP] is a word; [CLS] never is.
        padding_counts: the defect: each report is padded to ``text_encoder.max_tokens``, and padding stands in the
            denominators of the words' contrast and in the statistics of their head's batch norm.
        across_processes: off, ITA has the negatives, and Sinkhorn the batch, of each process alone.
    """

    name: Literal["mgca"] = "mgca"
    preset: Literal["clean", "reference", "reference_vit"] = "clean"
    instance_weight: float = Field(default=1.0, ge=0)
    token_weight: float = Field(default=1.0, ge=0)
    prototype_weight: float = Field(default=1.0, ge=0)
    temperature: float = Field(default=0.07, gt=0)
    token_temperature: float = Field(default=0.1, gt=0)
    prototypes: int = Field(default=500, ge=1)
    prototype_temperature: float = Field(default=0.2, gt=0)
    sinkhorn_epsilon: float = Field(default=0.05, gt=0)
    sinkhorn_iterations: int = Field(default=3, ge=1)
    still_epochs: int = Field(default=1, ge=0)
    word_weights: Weights = "attention"
    patch_weights: Weights = "uniform"
    normalise_patch_context: bool = True
    hidden_dim: int = Field(default=2048, ge=1)
    embed_dim: int = Field(default=128, ge=1)
    positives: Positives = "same_text"
    other_positives: OtherPositives = "target"
    include_sep: bool = False
    padding_counts: bool = False
    across_processes: bool = True

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, values: Any) -> Any:
        return with_preset(values, _PRESETS, "clean")

    @model_validator(mode="after")
    def _something_is_learned(self) -> MgcaConfig:
        if self.instance_weight == self.token_weight == self.prototype_weight == 0:
            raise ValueError("instance_weight, token_weight and prototype_weight are all 0: nothing would be learned")
        return self
