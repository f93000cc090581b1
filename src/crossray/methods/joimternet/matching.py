"""Matching of a batch at several levels, by cross-entropy and by triplets (`joimternet` spec, sections 3.3 and 3.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from crossray.alignment.contrastive import DirectionalLosses, identity_positives, symmetric_info_nce
from crossray.alignment.triplet import Negatives, drawn_negatives, triplet_matching
from crossray.methods.base import LossTerms
from crossray.methods.joimternet.config import JoImTeRNetConfig


@dataclass(frozen=True)
class Relations:
    """How the pairs of a batch stand to each other.

    Attributes:
        positives: ``[B, B]`` bool, the diagonal included.
        same_study: ``[B, B]`` bool, the diagonal left out: M = 0 there, so neither positives nor negatives.
        negatives: n(i), one for all levels and directions.
    """

    positives: Tensor
    same_study: Tensor
    negatives: Negatives


def pair_relations(positives: Tensor, study: Tensor, draw: Tensor) -> Relations:
    """From ``positives [B, B]``, the study of each pair ``[B]`` and a random number for each ``[B]``."""
    same_study = (study.unsqueeze(0) == study.unsqueeze(1)) & ~identity_positives(len(study), study.device)
    return Relations(positives, same_study, drawn_negatives(draw, ~(positives | same_study)))


@dataclass(frozen=True)
class Level:
    """Scores S of one level, ``[B, B]``, rows films; ``weight`` lies on top of the criteria's.

    ``negative_report_scores [B]`` stand in for S(i, n(i)) of the triplets (``legacy_triplet_length``).
    """

    scores: Tensor
    margin: float
    weight: float
    negative_report_scores: Tensor | None = None


def matching_terms(levels: Mapping[str, Level], relations: Relations, config: JoImTeRNetConfig) -> LossTerms:
    """Two terms for each level and criterion; a criterion whose weight is 0 is not computed."""
    terms: dict[str, Tensor] = {}
    weights: dict[str, float] = {}

    def add(name: str, both: DirectionalLosses, weight: float) -> None:
        terms.update({f"{name}_image_to_text": both.image_to_text, f"{name}_text_to_image": both.text_to_image})
        weights.update({f"{name}_image_to_text": weight, f"{name}_text_to_image": weight})

    for name, level in levels.items():
        if config.cross_entropy_weight > 0:
            both = symmetric_info_nce(
                level.scores,
                relations.positives,
                scale=config.gamma3,
                other_positives=config.other_positives,
                excluded=relations.same_study,
            )
            add(name, both, config.cross_entropy_weight * level.weight)
        if config.triplet_weight > 0:
            both = triplet_matching(
                level.scores,
                relations.negatives,
                margin=level.margin,
                negative_report_scores=level.negative_report_scores,
            )
            add(f"{name}_triplet", both, config.triplet_weight * level.weight)
    return LossTerms(terms, weights)
