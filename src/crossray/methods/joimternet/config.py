"""JoImTeRNet's objective as configuration, and its presets (see :mod:`crossray.methods.joimternet.method`)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from crossray.alignment.contrastive import OtherPositives
from crossray.methods.base import Positives
from crossray.methods.presets import with_preset
from crossray.settings import Settings

_PRESETS: dict[str, dict[str, Any]] = {
    "clean": {},
    "reference": {"positives": "identity", "legacy_triplet_length": True, "inference_pooling": "mean"},
}


class JoImTeRNetConfig(Settings):
    """The objective, by the symbols of the spec.

    Attributes:
        preset: defaults for everything not given (see the method's module).
        gamma1: sharpness of the attention over regions.
        gamma2: scale of the word cosines.
        gamma3: scale of the cross-entropy's scores, one over the temperature.
        global_margin: m_s, of the triplets of wholes.
        local_margin: m_w, of the triplets of words, on the scale of gamma2.
        cross_entropy_weight: lambda_CE.
        triplet_weight: lambda_TM.
        global_weight: of the level of wholes, on top of the two above.
        local_weight: of the level of words (and phrases).
        aggregation: over a report's words; ``sum`` rewards long reports by gamma3 log L, ``mean`` does not.
        include_sep: whether [SEP] counts as a word; [CLS] never does.
        phrases: bigrams and trigrams as two more local levels (the older variant).
        masked_language_share: of the steps that are masked language modelling.
        masked_language_probability: with which a token is chosen in them.
        positives: which pairs count as positives (``alignment.contrastive``).
        other_positives: what happens to those besides the own pair (``alignment.contrastive``).
        embed_dim: width D of the joint space.
        legacy_triplet_length: the defect of section 6.2.
        inference_pooling: how reports and prompts are pooled outside training: as ``trained``, or by the ``mean`` of
            their tokens whatever training did (the defect of section 6.1; without effect where training took the mean).
    """

    name: Literal["joimternet"] = "joimternet"
    preset: Literal["clean", "reference"] = "clean"
    gamma1: float = Field(default=4.0, gt=0)
    gamma2: float = Field(default=5.0, gt=0)
    gamma3: float = Field(default=10.0, gt=0)
    global_margin: float = Field(default=0.5, ge=0)
    local_margin: float = Field(default=0.5, ge=0)
    cross_entropy_weight: float = Field(default=1.0, ge=0)
    triplet_weight: float = Field(default=2.0, ge=0)
    global_weight: float = Field(default=1.0, ge=0)
    local_weight: float = Field(default=1.0, ge=0)
    aggregation: Literal["sum", "mean"] = "sum"
    include_sep: bool = True
    phrases: bool = False
    masked_language_share: float = Field(default=0.7, ge=0, lt=1)
    masked_language_probability: float = Field(default=0.15, gt=0, le=1)
    positives: Positives = "same_text"
    other_positives: OtherPositives = "target"
    embed_dim: int = Field(default=512, ge=1)
    legacy_triplet_length: bool = False
    inference_pooling: Literal["trained", "mean"] = "trained"

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, values: Any) -> Any:
        return with_preset(values, _PRESETS, "clean")

    @model_validator(mode="after")
    def _something_is_learned(self) -> JoImTeRNetConfig:
        for pair in (("cross_entropy_weight", "triplet_weight"), ("global_weight", "local_weight")):
            if all(getattr(self, name) == 0 for name in pair):
                raise ValueError(f"{pair[0]} and {pair[1]} are both 0: nothing would be learned")
        return self
