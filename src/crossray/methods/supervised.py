"""The supervised comparator: a trunk and a linear layer, trained on labels of films. No report is read.

Spec: `lovt`, section 4.5 (its "CheXpert" baseline): five labels, binary cross-entropy. Labels that are not known are
left out of the mean. There is no published defect to reproduce, and so no ``reference`` preset.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from crossray.data.batch import PairBatch
from crossray.encoders.image import ImageEncoder
from crossray.errors import ConfigError
from crossray.methods.base import Gather, LossTerms, PairFeatures
from crossray.methods.image_only import ImageOnly
from crossray.settings import Settings


class SupervisedConfig(Settings):
    """The objective.

    Attributes:
        preset: there is one.
        labels: names of the store's labels to learn.
    """

    name: Literal["supervised"] = "supervised"
    preset: Literal["clean"] = "clean"
    labels: tuple[str, ...] = ("Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion")

    @field_validator("labels")
    @classmethod
    def _something_is_learned(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if not labels or len(set(labels)) < len(labels):
            raise ValueError("name at least one label, and none twice")
        return labels


class Supervised(ImageOnly):
    """Binary classification of films.

    Args:
        image_encoder: gives pooled features.
        config: see :class:`SupervisedConfig`.
        label_names: names of the columns of ``PairBatch.labels``; ``None`` where nothing is trained.

    Raises:
        ConfigError: a label is not among them.
    """

    name: ClassVar[str] = "supervised"

    def __init__(
        self, image_encoder: ImageEncoder, config: SupervisedConfig, *, label_names: Sequence[str] | None
    ) -> None:
        super().__init__(image_encoder)
        self.config = config
        self.classifier = nn.Linear(image_encoder.pooled_channels, len(config.labels))
        self._columns = None if label_names is None else _columns(config.labels, list(label_names))

    def encode(self, batch: PairBatch) -> PairFeatures:
        """``logits [B, K]``, and bool ``present [B, K]`` and ``known [B, K]``, for the K labels that are learned."""
        if self._columns is None:
            raise ConfigError("which columns hold the labels was not said: this model was built to be used.")
        labels = batch.labels[:, self._columns]
        logits: Tensor = self.classifier(self.image_encoder(batch.pixels).pooled)
        return {"logits": logits, "present": labels == 1, "known": ~labels.isnan()}

    def losses(self, features: PairFeatures, gather: Gather) -> LossTerms:
        """Mean cross-entropy over the known labels of all processes; 0 if there is none."""
        logits, present, known = (gather(features[name]) for name in ("logits", "present", "known"))
        each = F.binary_cross_entropy_with_logits(logits, present.to(logits.dtype), reduction="none")
        mean = each.masked_fill(~known, 0.0).sum() / known.sum().clamp_min(1)
        return LossTerms({"labels": mean}, {"labels": 1.0})


def _columns(wanted: Sequence[str], names: list[str]) -> list[int]:
    missing = [label for label in wanted if label not in names]
    if missing:
        raise ConfigError(
            f"the store has no label '{missing[0]}'.",
            field="method.labels",
            remedy=f"Its labels: {', '.join(names) or 'none'}.",
        )
    return [names.index(label) for label in wanted]
