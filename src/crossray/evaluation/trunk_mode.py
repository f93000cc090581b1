"""How much of a trunk learns with the head that is put on it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

TrunkMode = Annotated[str, Field(pattern=r"^(frozen|finetune|partial:[1-9][0-9]*)$")]
"""``partial:k`` lets the trunk's last k feature stages learn, of a ViT its last k blocks (as timm counts them)."""

LearningTrunk = Annotated[str, Field(pattern=r"^(finetune|partial:[1-9][0-9]*)$")]
"""A :data:`TrunkMode` under which some of the trunk learns."""


def stages_that_learn(mode: str) -> int | None:
    """The k of ``partial:k``, as ``ImageEncoder.learn_last`` takes it; ``None``: all or none."""
    name, _, stages = mode.partition(":")
    return int(stages) if name == "partial" else None
