"""What is evaluated and how: labels, views, draws, and the settings of every task, as data."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import as_file, files
from typing import Annotated, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from crossray.data.study import View
from crossray.errors import ConfigError
from crossray.evaluation.class_retrieval import ClassRetrievalConfig
from crossray.evaluation.finetune import FinetuneConfig
from crossray.evaluation.floors import RidgeConfig
from crossray.evaluation.grounding import GroundingConfig
from crossray.evaluation.joimternet_heads import JoImTeRNetHeadConfig
from crossray.evaluation.probe import ProbeConfig
from crossray.evaluation.retrieval import Ties
from crossray.evaluation.zero_shot import ZeroShotConfig
from crossray.settings import Settings, build_settings, read_yaml

Task = Literal[
    "retrieval",
    "class_retrieval",
    "zero_shot",
    "grounding",
    "probe",
    "finetune",
    "text_probe",
    "joint_probe",
    "floors",
]
TASKS: tuple[Task, ...] = get_args(Task)
DEFAULT_TASKS: tuple[Task, ...] = ("retrieval", "zero_shot", "grounding", "probe", "finetune", "floors")
"""What is done unless tasks are named."""
TEXT_TASKS: tuple[Task, ...] = (
    "retrieval",
    "class_retrieval",
    "zero_shot",
    "grounding",
    "text_probe",
    "joint_probe",
)
"""Tasks that only a method that reads reports can do."""


class Protocol(Settings):
    """A named way of evaluating: every number it yields carries its id.

    Attributes:
        id: name of the protocol.
        labels: the classes that are scored, in the order of the tables; without any there is only retrieval.
        common_labels: those of them that are frequent enough to be averaged by themselves.
        views: the first film of these views stands for a study.
        recall_at: K of R@K.
        pools: sizes of pools; besides the whole test side, retrieval is also ranked inside consecutive pools of as many
            pairs (JoImTeRNet's "1k"), where there are enough. What is left over is in none.
        class_retrieval: which studies of one class alone are asked and ranked by class.
        ties: rule for candidates with equal scores, and for a map's equal maxima.
        grounding: which phrases are looked for, what the model is given of them, and how maps are scored.
        draws, level, seed: of the bootstrap, by patient inside each fold.
        preset: ``clean`` (the default everywhere) or ``reference``, see docs.
    """

    id: str
    labels: tuple[str, ...] = ()
    common_labels: tuple[str, ...] = ()
    views: tuple[View, ...] = ("frontal",)
    recall_at: tuple[int, ...] = (1, 5, 10)
    pools: tuple[Annotated[int, Field(ge=2)], ...] = (1000,)
    class_retrieval: ClassRetrievalConfig = ClassRetrievalConfig()
    ties: Ties = "expected"
    grounding: GroundingConfig = GroundingConfig()
    draws: int = Field(default=1000, ge=1)
    level: float = Field(default=0.95, gt=0, lt=1)
    seed: int = 0
    preset: Literal["clean", "reference"] = "clean"


class EvaluationConfig(Settings):
    """Settings of the tasks; the same for our models and for their floors."""

    tasks: tuple[Task, ...] = DEFAULT_TASKS
    zero_shot: ZeroShotConfig = ZeroShotConfig()
    probe: ProbeConfig = ProbeConfig()
    finetune: FinetuneConfig = FinetuneConfig()
    ridge: RidgeConfig = RidgeConfig()
    joimternet_head: JoImTeRNetHeadConfig = JoImTeRNetHeadConfig()
    batch_size: int = Field(default=64, ge=1)


def protocol_for(split_protocol: str, label_names: Sequence[str], labels: NDArray[np.float32]) -> Protocol:
    """The protocol of a split: the shipped one of that name, else one over the store's labels that have both classes.

    Raises:
        ConfigError: the store lacks a label that the protocol scores.
    """
    shipped = files("crossray.evaluation") / "protocols" / f"{split_protocol}.yaml"
    if not shipped.is_file():
        both = [(column > 0.5).any() and (column <= 0.5).any() for column in labels.T]
        return Protocol(
            id=split_protocol, labels=tuple(name for name, is_both in zip(label_names, both, strict=True) if is_both)
        )
    with as_file(shipped) as file:
        protocol = build_settings(Protocol, read_yaml(file), file=file.name)
    missing = [label for label in protocol.labels if label not in label_names]
    if missing:
        raise ConfigError(
            f"protocol '{protocol.id}' scores {', '.join(missing)}, which the store does not hold.",
            remedy=f"Its labels: {', '.join(label_names) or 'none'}.",
        )
    return protocol
