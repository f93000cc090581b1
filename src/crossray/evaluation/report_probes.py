"""What probes of reports read, and JoImTeRNet's own heads: from a fold's studies to features and cells.

A probe reads the text encoder's vector before any projection, as the image probe reads the trunk's; film and report
together are both side by side. Where labels were read from the reports by rules, this is no test of understanding:
see ``tables.CAVEATS``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossray.evaluation.cells import Arrays
from crossray.evaluation.cohort import Cohort, Part
from crossray.evaluation.floors import RidgeConfig, word_features
from crossray.evaluation.joimternet_heads import HeadPart, JoImTeRNetHeadConfig, train_head
from crossray.evaluation.models import RunModel
from crossray.evaluation.tasks import classification_arrays
from crossray.methods.joimternet.heads import Inputs, image_parts, text_parts
from crossray.methods.joimternet.method import JoImTeRNet

Features = Sequence[NDArray[np.float32]]
"""Vectors ``[n, C]`` of train, validation and test."""

#: How the published heads are called in tables, by what they read.
HEADS: dict[Inputs, str] = {
    "text": "JoImTeRNet's head, frozen",
    "both": "JoImTeRNet's head, frozen",
    "image": "JoImTeRNet's head on the film alone, frozen",
}


def beside(first: Features, second: Features) -> Features:
    """Both vectors of each study as one."""
    return [np.concatenate(both, axis=1) for both in zip(first, second, strict=True)]


def words_of(cohort: Cohort, config: RidgeConfig) -> Features:
    """TF-IDF vectors of the reports of the three sides; the vocabulary is the training side's."""
    train, *others = ([text.text for text in part.texts] for part in (cohort.train, cohort.validation, cohort.test))
    return word_features(train, others, config)


def head_cells(
    model: RunModel, cohort: Cohort, inputs: Sequence[Inputs], config: JoImTeRNetHeadConfig, batch_size: int
) -> dict[str, Arrays]:
    """A cell for each of JoImTeRNet's heads, by its name in tables; ``model`` is a run of JoImTeRNet."""
    train, validation, test = (
        HeadPart(_parts(model, part, batch_size), part.labels)
        for part in (cohort.train, cohort.validation, cohort.test)
    )
    cells = {}
    for read in inputs:
        result = train_head(train, validation, test, read, config)
        cells[HEADS[read]] = {
            **classification_arrays(cohort.test, result.test_scores),
            "best_epoch": np.array(result.best_epoch),
            "validation_auc": np.array(result.validation_auc),
        }
    return cells


def _parts(model: RunModel, part: Part, batch_size: int) -> Tensor:
    """``[n, 4, D]`` global vector, mean region, report and mean word of each study."""
    method = model.joint.method
    assert isinstance(method, JoImTeRNet)  # as its configuration says
    with torch.no_grad():
        reports = [torch.stack(text_parts(method, own), 1).cpu() for own in model.joint.tokens(part.texts, batch_size)]
    return torch.cat([torch.stack(image_parts(model.images(part)), 1), torch.cat(reports).float()], dim=1)
