"""What a method hands on so that the pairs of a batch know who shares a text or labels."""

from __future__ import annotations

import torch
from torch import Tensor

from crossray.alignment.contrastive import identity_positives, same_label_positives, same_text_positives
from crossray.data.batch import PairBatch
from crossray.errors import ConfigError
from crossray.methods.base import Gather, PairFeatures, Positives


def pair_groups(batch: PairBatch) -> PairFeatures:
    """``text_group [B]`` and ``label_codes [B, K]``: 1 present, 0 absent, -1 unknown."""
    codes = torch.where(batch.labels.isnan(), -1.0, batch.labels).to(torch.int64)
    return {"text_group": batch.text_group, "label_codes": codes}


def gathered_positives(kind: Positives, features: PairFeatures, gather: Gather) -> Tensor:
    """``[B, B]`` bool over the pairs of all processes (the three kinds are defined in ``alignment.contrastive``).

    Raises:
        ConfigError: ``same_label`` without labels.
    """
    if kind == "same_label":
        if features["label_codes"].shape[1] == 0:
            raise ConfigError(
                "'same_label' needs labels, and the store has none.",
                field="method.positives",
                remedy="Choose identity or same_text.",
            )
        return same_label_positives(gather(features["label_codes"]))
    groups = gather(features["text_group"])
    return same_text_positives(groups) if kind == "same_text" else identity_positives(len(groups), groups.device)
