"""PRIOR's published zero-shot score, which sets classes against each other, beside the scores that all methods have."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from crossray.data.text import SelectedText
from crossray.evaluation.cohort import Cohort, Part
from crossray.evaluation.models import RunModel
from crossray.evaluation.runs import Run
from crossray.evaluation.tasks import CLASS_PROBABILITIES, zero_shot_task
from crossray.evaluation.zero_shot import ZeroShotConfig
from crossray.methods.build import MethodConfig
from crossray.methods.global_local import GlobalLocalConfig

from ..inference.test_joint_model import films, write_run
from ..methods.prior_model import config as prior_config

LABELS = ("Edema", "Cardiomegaly", "a label without prompts", "Pleural Effusion")
COVERED = [0, 1, 3]
COUNT = 4


class FourFilms:
    """Films of noise, by row."""

    def pixels(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        return films(COUNT)[rows]


def side(name: str) -> Part:
    ids = tuple(f"{name}{k}" for k in range(COUNT))
    rows = np.arange(COUNT)
    texts = (SelectedText("", ()),) * COUNT
    return Part(ids, ids, rows, rows, texts, rows, np.zeros((COUNT, len(LABELS))))


def scores_of(folder: Path, method: MethodConfig) -> dict[str, NDArray[np.float64]]:
    model = RunModel(Run(write_run(folder, method), {}), FourFilms(), 4)
    cohort = Cohort("0", side("a"), side("b"), side("c"), ())
    return {name: cell["scores"] for name, cell in zero_shot_task(model, cohort, LABELS, ZeroShotConfig()).items()}


def softmax_by_loop(row: list[float]) -> list[float]:
    exponentials = [math.exp(value) for value in row]
    return [value / sum(exponentials) for value in exponentials]


@pytest.mark.parametrize(("kind", "scale"), [("exp", 10.0), ("log", math.log(10.0))])
def test_the_published_score_is_a_softmax_over_one_prompt_a_class(tmp_path: Path, kind: str, scale: float) -> None:
    method = prior_config(temperature=0.1, zero_shot_scale=kind)
    found = scores_of(tmp_path / "run", method)[CLASS_PROBABILITIES]
    prompts = [f"{LABELS[k]} is observed" for k in COVERED]
    model = RunModel(Run(tmp_path / "run", {}), FourFilms(), 4)
    cosines, local = model.similarity(side("c"), prompts, purpose="zero_shot")
    assert local is not None
    for film in range(COUNT):
        chosen = softmax_by_loop([scale * float(value) for value in cosines[film]])
        half = softmax_by_loop([float(value) for value in local[film]])
        wanted = [p + q / 2 for p, q in zip(chosen, half, strict=True)]
        assert found[film, COVERED].tolist() == pytest.approx(wanted, abs=1e-5)
    assert not found[:, 2].any()


def test_a_method_without_such_a_score_has_no_such_column(tmp_path: Path) -> None:
    assert CLASS_PROBABILITIES not in scores_of(tmp_path / "run", GlobalLocalConfig())
