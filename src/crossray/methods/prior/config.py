"""PRIOR's configuration: sizes, switches, and the weights of its three stages."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from crossray.alignment.contrastive import OtherPositives
from crossray.alignment.set_matching import MatchingCost
from crossray.methods.base import Positives
from crossray.methods.presets import with_preset
from crossray.settings import Settings

Stage = Literal["align", "prototypes", "reconstruct"]
STAGES: tuple[Stage, ...] = ("align", "prototypes", "reconstruct")

Attention = Literal["sigmoid", "softmax"]
TokenLayout = Literal["spatial", "reference_view"]
PrototypeChoice = Literal["soft", "hard", "nearest"]
Damage = Literal["channel", "token"]

_PRESETS: dict[str, dict[str, Any]] = {
    "clean": {},
    "reference": {
        "positives": "identity",
        "token_layout": "reference_view",
        "causal": True,
        "assignment": "columns",
        "empty_slot_weight": 1.0,
        "slot_head": False,
        "gumbel_in_evaluation": True,
        "zero_shot_scale": "log",
    },
}


class PriorConfig(Settings):
    """The objective, by the sections of the `prior` spec.

    Attributes:
        preset: defaults for everything not given (see ``methods.prior.method``).
        initial_stage: the stage of a new model; ``training.stages`` leads through all three.
        embed_dim: D, of films, regions, sentences, prototypes and slots.
        temperature: of both contrasts at the start; their scales are learned.
        largest_scale: neither scale grows beyond (P7); empty leaves them free.
        positives: which pairs count as positives in the contrast of wholes (``alignment.contrastive``).
        other_positives: what happens to those besides the own pair (``alignment.contrastive``).
        image_pooling: ``attention`` over places, or the trunk's own ``mean`` (2.1).
        pool_heads: heads of both attention pools.
        position_grid: grid of the image pool's table of positions; stretched for others.
        sentence_attention: how sentences weigh regions (2.5).
        region_attention: how regions weigh sentences.
        token_layout: ``reference_view`` reads maps as tokens, and tokens as maps, without moving the channel axis, so
            that a "region" holds a few channels of all places (P1, P2).
        prototypes: K.
        prototype_choice: ``soft`` Gumbel mixture, ``hard`` straight-through, or ``nearest`` with running means.
        evaluation_prototype: without noise: the ``argmax`` prototype, or the ``softmax`` mixture. Not for ``nearest``.
        prototype_temperature: tau_s.
        temperature_schedule: falls to a tenth over ``temperature_steps`` steps of the stages with a bank, or is fixed.
        temperature_steps: all steps of the last two stages.
        gumbel_in_evaluation: the noise stays on, and no score is the same twice (P6).
        prototype_decay: of the running means of ``nearest``.
        k_means_sentences: so many latest sentences of stage ``align`` give the bank its start; 0: normal vectors.
        slots: sentences that are generated; stage ``reconstruct`` reads no more of a report.
        slot_layers, slot_heads, slot_hidden, slot_dropout: of the generator (2.7).
        causal: a slot sees only those before it (P3).
        slot_head: a linear layer after the last norm, so that "no sentence" can be said (P5).
        empty_slot_weight: of slots beyond the report's sentences, whose target is zero; published 1, 0 ignores them.
        matching_cost: between slots and sentences.
        assignment: ``columns`` re-orders predictions by the assignment instead of its inverse (P4).
        decoder_channels: of the image decoder's first block; empty takes D.
        damage: what of the regions is dropped before a film is rebuilt (P2).
        damage_share: how much.
        detach_targets: no gradient into what a prediction is compared with (P18).
        zero_shot_scale: ``log`` multiplies zero-shot cosines by the log-scale instead of its exponential (P8).
        global_weight, reconstruct_global_weight: of the contrast of wholes, before and in stage ``reconstruct``.
        local_image_weight, local_text_weight, prototype_weight, reconstruction_weight, generation_weight,
            query_weight, prediction_weight: of the other terms (3.2 to 3.8), in the stages that have them.
    """

    name: Literal["prior"] = "prior"
    preset: Literal["clean", "reference"] = "clean"
    initial_stage: Stage = "align"
    embed_dim: int = Field(default=768, ge=2)
    temperature: float = Field(default=0.01, gt=0)
    largest_scale: float | None = Field(default=100.0, gt=0)
    positives: Positives = "same_text"
    other_positives: OtherPositives = "target"
    image_pooling: Literal["attention", "mean"] = "attention"
    pool_heads: int = Field(default=8, ge=1)
    position_grid: tuple[int, int] = (7, 7)
    sentence_attention: Attention = "sigmoid"
    region_attention: Attention = "sigmoid"
    token_layout: TokenLayout = "spatial"
    prototypes: int = Field(default=512, ge=1)
    prototype_choice: PrototypeChoice = "soft"
    evaluation_prototype: Literal["argmax", "softmax"] = "argmax"
    prototype_temperature: float = Field(default=0.9, gt=0)
    temperature_schedule: Literal["fixed", "linear", "exponential"] = "fixed"
    temperature_steps: int | None = Field(default=None, ge=1)
    gumbel_in_evaluation: bool = False
    prototype_decay: float = Field(default=0.99, gt=0, lt=1)
    k_means_sentences: int = Field(default=0, ge=0)
    slots: int = Field(default=16, ge=1)
    slot_layers: int = Field(default=8, ge=1)
    slot_heads: int = Field(default=12, ge=1)
    slot_hidden: int = Field(default=3072, ge=1)
    slot_dropout: float = Field(default=0.1, ge=0, lt=1)
    causal: bool = False
    slot_head: bool = True
    empty_slot_weight: float = Field(default=0.1, ge=0)
    matching_cost: MatchingCost = "l1"
    assignment: Literal["inverse", "columns"] = "inverse"
    decoder_channels: int | None = Field(default=None, ge=1)
    damage: Damage = "channel"
    damage_share: float = Field(default=0.5, ge=0, lt=1)
    detach_targets: bool = False
    zero_shot_scale: Literal["exp", "log"] = "exp"
    global_weight: float = Field(default=1.0, ge=0)
    reconstruct_global_weight: float = Field(default=10.0, ge=0)
    local_image_weight: float = Field(default=1.0, ge=0)
    local_text_weight: float = Field(default=1.0, ge=0)
    prototype_weight: float = Field(default=10.0, ge=0)
    reconstruction_weight: float = Field(default=1.0, ge=0)
    generation_weight: float = Field(default=10.0, ge=0)
    query_weight: float = Field(default=1.0, ge=0)
    prediction_weight: float = Field(default=1.0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, values: Any) -> Any:
        return with_preset(values, _PRESETS, "clean")

    @model_validator(mode="after")
    def _every_stage_learns(self) -> PriorConfig:
        for stage in STAGES:
            if not self.stage_weights(stage):
                raise ValueError(f"all weights of stage '{stage}' are 0: nothing would be learned")
        return self

    @model_validator(mode="after")
    def _parts_fit(self) -> PriorConfig:
        for name in ("pool_heads", "slot_heads"):
            if self.embed_dim % getattr(self, name):
                raise ValueError(f"embed_dim {self.embed_dim} is no multiple of {name} {getattr(self, name)}")
        if self.temperature_schedule != "fixed" and self.temperature_steps is None:
            raise ValueError(f"temperature_schedule {self.temperature_schedule} needs temperature_steps")
        return self

    def stage_weights(self, stage: Stage) -> dict[str, float]:
        """Weights of a stage's terms (3.9), without those that are 0."""
        weights = {
            "global": self.reconstruct_global_weight if stage == "reconstruct" else self.global_weight,
            "local_image": self.local_image_weight,
            "local_text": self.local_text_weight,
        }
        if stage != "align":
            weights["prototype"] = self.prototype_weight
        if stage == "reconstruct":
            weights["reconstruction"] = self.reconstruction_weight
            weights["generation"] = self.generation_weight
            weights["query"] = self.query_weight
            weights["prediction"] = self.prediction_weight
        return {name: weight for name, weight in weights.items() if weight > 0}
