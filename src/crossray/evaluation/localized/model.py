"""A trunk with a head on it, and how the pair is scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from crossray.evaluation.heads.maps import FeatureMaps
from crossray.evaluation.heads.trunk import MapTrunk
from crossray.evaluation.localized.parts import LocalizedPart
from crossray.evaluation.localized.scorers import Scorer
from crossray.evaluation.localized.tasks import LocalizedTask

TargetT = TypeVar("TargetT")
PredictionT = TypeVar("PredictionT")


class LocalizedModel(nn.Module):
    """Normalised films, or maps that the trunk made of them before, to what the head gives."""

    def __init__(self, trunk: MapTrunk, head: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head

    def forward(self, inputs: Tensor | FeatureMaps) -> Any:
        """Run the trunk, unless there are maps already, and the head."""
        return self.head(inputs if isinstance(inputs, FeatureMaps) else self.trunk(inputs))


@dataclass(frozen=True)
class Validation:
    """Loss (mean of the batches', weighted by their films) and metric of a part."""

    loss: float
    metric: float


@torch.no_grad()
def evaluate_localized(
    model: LocalizedModel,
    task: LocalizedTask[TargetT, PredictionT],
    part: LocalizedPart[TargetT],
    scorer: Callable[[], Scorer[PredictionT, TargetT]],
    batch_size: int,
) -> Validation:
    """Loss and metric in evaluation mode, in batches of the part's order."""
    model.eval()
    score, total = scorer(), 0.0
    for places in torch.split(part.places, batch_size):
        outputs, truth = model(part.inputs(places)), part.targets(places)
        total += float(task.loss(outputs, truth)) * len(places)
        score.add(task.predict(outputs), truth)
    return Validation(total / max(1, len(part)), score.value())
