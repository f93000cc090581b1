"""A bank of prompts: for each class the sentences that state it and those that deny it, checked when they are read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from pydantic import Field, model_validator

from crossray.errors import ConfigError
from crossray.settings import Settings


class ClassPrompts(Settings):
    """Sentences that state a finding, and sentences that deny it."""

    positive: tuple[str, ...] = Field(min_length=1)
    negated: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _distinct(self) -> ClassPrompts:
        sentences = [sentence.casefold().strip() for sentence in (*self.positive, *self.negated)]
        if "" in sentences:
            raise ValueError("an empty sentence is no prompt")
        twice = sorted({sentence for sentence in sentences if sentences.count(sentence) > 1})
        if twice:
            raise ValueError(f"'{twice[0]}' stands there twice")
        return self

    def sample(self, count: int | None, generator: np.random.Generator) -> ClassPrompts:
        """At most ``count`` sentences of each kind, drawn without replacement, in their order; ``None`` = all."""
        if count is None:
            return self
        return ClassPrompts(
            positive=_draw(self.positive, count, generator), negated=_draw(self.negated, count, generator)
        )


class PromptBank(Settings):
    """Prompts for each class, under an id that results carry."""

    id: str
    classes: dict[str, ClassPrompts]

    def covered(self, labels: Sequence[str]) -> list[str]:
        """The labels that have prompts, in the order given."""
        return [label for label in labels if label in self.classes]

    def of(self, label: str) -> ClassPrompts:
        """The prompts of one class.

        Raises:
            ConfigError: the bank has none for it.
        """
        if label not in self.classes:
            raise ConfigError(
                f"prompt bank '{self.id}' has no class '{label}'.", remedy="Add it to a bank of your own."
            )
        return self.classes[label]


def class_generator(seed: int, label: str) -> np.random.Generator:
    """What a class draws its prompts with: its own, so that neither other classes nor their order play a part."""
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(label.encode()).digest()[:8], "big")])


def _draw(sentences: tuple[str, ...], count: int, generator: np.random.Generator) -> tuple[str, ...]:
    drawn = generator.permutation(len(sentences))[:count]
    return tuple(sentences[i] for i in sorted(drawn.tolist()))
