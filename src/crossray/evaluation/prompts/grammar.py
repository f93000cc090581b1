"""Prompts put together from a severity, a subtype and a place: every combination of a class, in a fixed order.

Source: `downstream_protocols.md`, section 3.3 (GLoRIA's ensemble, which BenchX uses too).
"""

from __future__ import annotations

from itertools import product
from typing import Literal

from pydantic import Field

from crossray.settings import Settings

Part = Literal["severity", "subtype", "location"]


class ClassGrammar(Settings):
    """The parts of a class. An empty part is left out of the sentence; ``order`` is that of the words."""

    severity: tuple[str, ...] = ("",)
    subtype: tuple[str, ...] = Field(min_length=1)
    location: tuple[str, ...] = ("",)
    order: tuple[Part, Part, Part] = ("severity", "subtype", "location")

    def combinations(self) -> tuple[str, ...]:
        """All of them, a subtype that stands twice giving its sentences twice, as published."""
        every = product(self.severity, self.subtype, self.location)
        named = ({"severity": severity, "subtype": subtype, "location": place} for severity, subtype, place in every)
        return tuple(" ".join(parts[part] for part in self.order if parts[part]) for parts in named)

    def distinct(self) -> tuple[str, ...]:
        """Each sentence once, in the order of its first combination."""
        return tuple(dict.fromkeys(self.combinations()))


class PromptGrammar(Settings):
    """The grammars of several classes."""

    classes: dict[str, ClassGrammar]
