"""A localized protocol as data: which films, which head, which schedule, which number.

Every protocol is a YAML file in ``protocols/``, named by its id. Spec: ``localized_evaluation``, sections 1, 2 and 7;
``downstream_protocols``, sections 2, 5, 6 and 8.1.
"""

from __future__ import annotations

from itertools import count
from typing import Literal, get_args

from pydantic import Field, model_validator

from crossray.data.augment import AugmentationConfig
from crossray.evaluation.heads.segmentation import SegmentationHead
from crossray.evaluation.heads.segmentation_losses import SegmentationLoss
from crossray.evaluation.heads.yolo import YoloConfig
from crossray.evaluation.localized.config import LocalizedConfig, Schedule
from crossray.evaluation.trunk_mode import TrunkMode
from crossray.settings import Settings

Kind = Literal["segmentation", "detection", "classification"]
Metric = Literal["dice", "dice_empty_is_one", "map", "froc", "auroc", "f1"]
Preset = Literal["clean", "legacy"]

_METRICS: dict[Kind, tuple[Metric, ...]] = {
    "segmentation": ("dice", "dice_empty_is_one"),
    "detection": ("map", "froc"),
    "classification": ("auroc", "f1"),
}
_LOSSES: dict[Kind, tuple[str, ...]] = {
    "segmentation": get_args(SegmentationLoss),
    "detection": ("yolo",),
    "classification": ("bce", "ce"),
}
_HEADS: dict[Kind, tuple[str, ...]] = {
    "segmentation": get_args(SegmentationHead),
    "detection": ("yolo_v3",),
    "classification": ("linear",),
}


class LegacyDefects(Settings):
    """Which published defects the ``legacy`` preset brings back (``localized_evaluation``, section 7).

    Attributes:
        schedule: 4 and 12: the rate is set back at every batch after the warm-up, and the trunk's batch norms learn
            from the next epoch on only.
        yolo: 11 and the typo of section 3.3: shapes and boxes are compared with one added to every side.
        store: 1 and 2: name of the store that was prepared with ``--set legacy=true``; empty: the same as ``clean``.
        shared_patients: 6: a split list in which patients stand on several sides is taken.
        cosine: BenchX's (``downstream_protocols``, 8.1): the cosine of the rate is not cut off at its end and rises.
    """

    schedule: bool = False
    yolo: bool = False
    store: str = ""
    shared_patients: bool = False
    cosine: bool = False


class LocalizedProtocol(Settings):
    """One task. Nothing else than this, a store, a split list, a trunk and seeds decides a number.

    Attributes:
        id: name of the protocol and of its file.
        paper: whose protocol it is.
        number: in LoVT's table; 0 for others.
        source: the data set, by the name of its source.
        kind: what is predicted.
        targets: names of masks, labels of boxes, or labels of studies. A mask that a film lacks is empty.
        train_fraction, validation_fraction: shares of the two sides that are used.
        train_films: ``balanced`` keeps all positives and as many negatives (MGCA and GLoRIA on SIIM-ACR).
        shares: train, validation and test of the split that is made where no list is given. A test share of 0: the
            test side is what the publisher divides off as ``validate``, or, without such a part, as ``test``.
        films: of that split: ``all`` studies, or those ``annotated`` with a target (a mask, a known label): where only
            some films were looked at, an absent mask is not an empty one.
        folds: of that split, if more than one: patients whole, every study tested once; the test share plays no part.
        head: on the trunk.
        dropout: before the linear layer of classification.
        layer_norm: before that, of the pooled feature (BenchX's LN).
        weight_std: of the first weights of the linear layer (BenchX's TNI, 2e-5); ``null``: as PyTorch draws them.
        unet_width: channels of the U-Net's bridge; each step up halves them. 2048 as published.
        trunk: ``frozen``, ``finetune``, or ``partial:k``: the last k stages are fine-tuned (PRIOR).
        loss: of the training. ``ce`` of one label has two logits, for its absence and its presence.
        yolo: of detection.
        metric: what chooses learning rate and epoch on validation, and is the headline on test.
        learning_rates: tried once each; of equal ones the first is taken.
        schedule: see :class:`~crossray.evaluation.localized.config.Schedule`.
        recipe: which of the published settings of a method (``recipes.yaml``) lie over this file; empty: none.
        augmentation: how training films are varied; ``null``: not.
        seeds: runs with the chosen learning rate.
        seed_list: their seeds, in this order; empty: 1, 2, ...
        size: side of the films that the trunk is given; boxes, masks and anchors are in its pixels.
        normalisation: ``train_side``: mean and std of the whole training side, whatever fraction is trained on;
            ``half``: 0.5 and 0.5; ``benchx``: 0.4978 and 0.2449.
        preset: ``legacy`` after :meth:`as_legacy`.
        legacy: what that changes.
        notes: what the sources leave open and was assumed.
    """

    id: str
    paper: str
    number: int = Field(default=0, ge=0)
    source: str
    kind: Kind
    targets: tuple[str, ...] = Field(min_length=1)
    train_fraction: float = Field(default=1.0, gt=0, le=1)
    validation_fraction: float = Field(default=1.0, gt=0, le=1)
    train_films: Literal["all", "balanced"] = "all"
    shares: tuple[float, float, float] = (0.6, 0.2, 0.2)
    films: Literal["all", "annotated"] = "all"
    folds: int = Field(default=1, ge=1)
    head: Literal[SegmentationHead, "yolo_v3"]
    dropout: float = Field(default=0.0, ge=0, lt=1)
    layer_norm: bool = False
    weight_std: float | None = Field(default=None, gt=0)
    unet_width: int = Field(default=2048, ge=32, multiple_of=32)
    trunk: TrunkMode
    loss: Literal[SegmentationLoss, "yolo", "ce"]
    yolo: YoloConfig = YoloConfig()
    metric: Metric
    learning_rates: tuple[float, ...] = Field(min_length=1)
    schedule: Schedule
    recipe: str = ""
    augmentation: AugmentationConfig | None = None
    seeds: int = Field(default=5, ge=1)
    seed_list: tuple[int, ...] = ()
    size: int = Field(default=224, ge=32)
    normalisation: Literal["train_side", "half", "benchx"] = "train_side"
    preset: Preset = "clean"
    legacy: LegacyDefects = LegacyDefects()
    notes: str = ""

    @model_validator(mode="after")
    def _parts_fit(self) -> LocalizedProtocol:
        for name, known in (("head", _HEADS), ("loss", _LOSSES), ("metric", _METRICS)):
            if getattr(self, name) not in known[self.kind]:
                fitting = ", ".join(known[self.kind])
                raise ValueError(f"{self.kind} has no {name} '{getattr(self, name)}'; it has {fitting}")
        if abs(sum(self.shares) - 1) > 1e-9:
            raise ValueError(f"shares must add up to 1, got {list(self.shares)}")
        if self.train_films == "balanced" and self.kind != "segmentation":
            raise ValueError("train_films: balanced is for segmentation")
        if self.kind != "classification" and (self.layer_norm or self.weight_std or self.augmentation):
            raise ValueError("layer_norm, weight_std and augmentation are for classification")
        if (self.loss == "ce" and len(self.targets) > 1) or (self.metric == "f1" and self.loss != "ce"):
            raise ValueError("loss: ce is of one target, and metric: f1 is of loss: ce")
        if self.seed_list and (self.seeds > len(self.seed_list) or len(set(self.seed_list)) < len(self.seed_list)):
            raise ValueError(f"seed_list has not {self.seeds} different seeds")
        self.config(self.learning_rates[0], seed=0)
        return self

    def as_legacy(self) -> LocalizedProtocol:
        """The protocol with the published defects that it names."""
        changes: dict[str, object] = {"preset": "legacy"}
        if self.legacy.schedule:
            changes["schedule"] = self.schedule.model_copy(update={"rate_resets": True, "late_train_mode": True})
        if self.legacy.yolo:
            changes["yolo"] = self.yolo.model_copy(update={"preset": "legacy"})
        if self.legacy.cosine and self.schedule.cosine is not None:
            rising = self.schedule.cosine.model_copy(update={"clamped": False})
            changes["schedule"] = self.schedule.model_copy(update={"cosine": rising})
        return self.model_copy(update=changes)

    def config(self, learning_rate: float, seed: int, films: int | None = None) -> LocalizedConfig:
        """Schedule of one run; a batch holds all of ``films`` if these are fewer than a batch."""
        settings = self.schedule.model_dump() | {"learning_rate": learning_rate, "seed": seed, "trunk": self.trunk}
        if films is not None:
            settings["batch_size"] = min(self.schedule.batch_size, films)
        return LocalizedConfig.model_validate(settings)

    @property
    def is_linear_grid(self) -> bool:
        """Whether all of its runs can be trained together, as one batched problem on maps that are computed once."""
        plain = self.dropout == 0 and not self.layer_norm and self.weight_std is None and not self.two_classes
        return self.keeps_maps and self.head == "linear" and plain and self.schedule.is_grid_wide

    @property
    def keeps_maps(self) -> bool:
        """Whether a film's maps are the same in every epoch."""
        return self.trunk == "frozen" and self.augmentation is None

    @property
    def two_classes(self) -> bool:
        """Whether the absence of the label has a logit of its own."""
        return self.loss == "ce"

    @property
    def run_seeds(self) -> tuple[int, ...]:
        """Seeds of the runs that are reported."""
        return (self.seed_list or tuple(range(1, self.seeds + 1)))[: self.seeds]

    @property
    def search_seed(self) -> int:
        """The smallest seed that no run has (defect 3 was that runs repeated the search)."""
        return next(seed for seed in count() if seed not in self.run_seeds)

    @property
    def trainings(self) -> int:
        """How many heads are trained; a single learning rate needs no search."""
        return self.seeds + (len(self.learning_rates) if len(self.learning_rates) > 1 else 0)
