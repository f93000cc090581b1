"""Tasks that take turns with a method's main objective, and the order in which an epoch goes through them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AuxiliaryTask:
    """A task that is drawn with probability ``share`` at each step (JoImTeRNet's masked language modelling: 0.7).

    ``needs_films`` off leaves the films of its batches unread (``PairBatch.pixels`` is then ``[B, 1, 0, 0]``).
    """

    name: str
    share: float
    needs_films: bool = True
