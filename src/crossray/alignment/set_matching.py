"""Which prediction stands for which target, where targets are a set: one assignment a sample, all in one transfer."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from crossray.alignment.precision import full_precision, without_autocast
from crossray.devices import to_device

MatchingCost = Literal["l1", "l2", "cosine"]


def matching_costs(predictions: Tensor, targets: Tensor, kind: MatchingCost) -> Tensor:
    """``[B, S, S]``, row prediction i, column target j of ``predictions [B, S, D]`` and ``targets [B, S, D]``.

    ``cosine`` is one minus the cosine; a zero vector has cosine 0 with everything.
    """
    with without_autocast(predictions):
        predictions, targets = full_precision(predictions), full_precision(targets)
        if kind == "cosine":
            return 1 - F.normalize(predictions, dim=2) @ F.normalize(targets, dim=2).transpose(1, 2)
        return torch.cdist(predictions, targets, p=1.0 if kind == "l1" else 2.0)


def match_sets(costs: Tensor) -> Tensor:
    """The cheapest one-to-one assignment of each sample: ``[B, S]`` int64, prediction i stands for target ``[b, i]``.

    The cost matrices go to the host once; only there is a loop over samples, because the solver takes one at a time.
    A cost that is not a number counts as dear, so that a diverged run ends with the name of its loss term.
    """
    table = torch.nan_to_num(costs.detach(), nan=torch.finfo(costs.dtype).max).cpu().numpy()
    columns = [linear_sum_assignment(sample)[1] for sample in table]
    return to_device(np.stack(columns).astype(np.int64), costs.device)


def in_target_order(predictions: Tensor, assignment: Tensor) -> Tensor:
    """Predictions ``[B, S, D]`` re-ordered so that row j is the one that ``assignment [B, S]`` gives to target j.

    That takes the inverse permutation. Gathering with the assignment itself, as the published PRIOR does, is right
    for permutations that are their own inverse only (`prior` spec, P4).
    """
    return select_rows(predictions, assignment.argsort(dim=1))


def select_rows(rows: Tensor, index: Tensor) -> Tensor:
    """Row ``index[b, j]`` of each sample: ``[B, S, D]`` and ``[B, J]`` to ``[B, J, D]``."""
    return rows.gather(1, index.unsqueeze(2).expand(-1, -1, rows.shape[2]))
