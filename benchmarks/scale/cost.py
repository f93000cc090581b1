"""The formula: seconds of a training step on one or many accelerators, from counted operations and assumed rates.

Nothing overlaps: products of matrices, the other operations (bound by memory) and collectives add up, as in our loop,
which averages gradients after the backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Contrast = Literal["none", "all", "own", "sampled"]

SINGLE, HALF = 4, 2
"""Bytes of a number."""

ADAM_BYTES = 16
"""Of a weight: itself, its gradient and two moments, in single precision."""


@dataclass(frozen=True)
class Machine:
    """Assumed rates of one accelerator; ``reached`` is the share of its peaks that is counted on.

    ``half`` and ``single`` are FLOP/s of dense products, ``memory`` bytes/s, ``capacity`` bytes; ``inside`` and
    ``between`` bytes/s of a collective for one accelerator in a host of ``host`` and between hosts.
    """

    name: str
    half: float
    single: float
    memory: float
    capacity: float
    inside: float
    between: float
    host: int = 8
    reached: float = 0.5
    latency: float = 30e-6

    def seconds(self, flops: float, moved: float, *, half: bool) -> float:
        """Of an operation on one accelerator."""
        return flops / (self.reached * (self.half if half else self.single)) + moved / (self.reached * self.memory)

    def link(self, accelerators: int) -> float:
        return self.inside if accelerators <= self.host else self.between


@dataclass(frozen=True)
class Encoders:
    """Both encoders, counted in single precision: of one pair forward and backward; ``weights`` is their number."""

    name: str
    flops: float
    moved: float
    saved: float
    weights: int


@dataclass(frozen=True)
class Words:
    """The word-region loss: R regions a film, ``words`` a report, in ``slots`` padded ones, D wide.

    ``passes`` over ``words x films x regions`` numbers are what its other operations read and write.
    """

    regions: int
    words: float
    slots: int
    width: int
    passes: float

    def flops_of_a_pair(self, words_in_all: float = float("inf")) -> float:
        """Of one report against one film, forward and backward (``alignment.attended_cosine``).

        Scores once and their two gradients 6 R D a word, context norms and their gradient 4 R R, sums over regions
        6 R; and of a film three products for its Gram matrix, 6 R R D, shared by all words.
        """
        r, d = self.regions, self.width
        return self.words * (6 * r * d + 4 * r * r + 6 * r + 6 * r * r * d / words_in_all)

    def moved_of_a_pair(self) -> float:
        return self.words * self.regions * self.passes * SINGLE


@dataclass(frozen=True)
class Step:
    """Seconds of one step on each accelerator, by what they are spent on."""

    encoders: float
    word_region: float
    global_loss: float
    gather: float
    gradients: float

    @property
    def seconds(self) -> float:
        return self.encoders + self.word_region + self.global_loss + self.gather + self.gradients


def step(
    machine: Machine,
    encoders: Encoders,
    words: Words,
    *,
    own: int,
    accelerators: int,
    contrast: Contrast,
    sampled: int = 0,
) -> Step:
    """A step of ``own`` pairs on each accelerator.

    ``contrast`` says which reports meet a film in the word-region loss: those of all accelerators (``all``: words are
    gathered, scored in chunks), of its own one (``own``), or so many drawn ones of the own (``sampled``). The global
    loss always meets all.
    """
    pairs = own * accelerators
    met = {"none": 0, "all": pairs, "own": own, "sampled": min(sampled, own)}[contrast]
    count = words.words * max(met, 1)
    local = machine.seconds(own * met * words.flops_of_a_pair(count), own * met * words.moved_of_a_pair(), half=False)
    return Step(
        encoders=machine.seconds(own * encoders.flops, own * encoders.moved * HALF / SINGLE, half=True),
        word_region=local,
        global_loss=machine.seconds(6.0 * pairs * pairs * words.width, 20.0 * pairs * pairs * SINGLE, half=False),
        gather=gather_seconds(machine, words, own=own, accelerators=accelerators, contrast=contrast),
        gradients=reduce_seconds(machine, SINGLE * encoders.weights, accelerators),
    )


def gather_seconds(machine: Machine, words: Words, *, own: int, accelerators: int, contrast: Contrast) -> float:
    """Film and report vectors and, for ``all``, padded words and the rows of scores: forth, and their gradient back."""
    pairs = own * accelerators
    tensors = [SINGLE * pairs * words.width, SINGLE * pairs * words.width]
    if contrast == "all":
        tensors += [SINGLE * pairs * words.slots * words.width, SINGLE * pairs * pairs]
    return sum(
        exchange_seconds(machine, size, accelerators) + reduce_seconds(machine, size, accelerators) for size in tensors
    )


def exchange_seconds(machine: Machine, size: float, accelerators: int) -> float:
    """An all-gather whose result is ``size`` bytes, around a ring."""
    return _ring(machine, size, accelerators, rounds=1)


def reduce_seconds(machine: Machine, size: float, accelerators: int) -> float:
    """An all-reduce of ``size`` bytes, around a ring."""
    return _ring(machine, size, accelerators, rounds=2)


def _ring(machine: Machine, size: float, accelerators: int, *, rounds: int) -> float:
    if accelerators == 1:
        return 0.0
    share = rounds * (accelerators - 1) / accelerators
    return machine.latency + share * size / (machine.reached * machine.link(accelerators))


def overtaking_batch(machine: Machine, encoders: Encoders, words: Words) -> float:
    """Pairs in the whole batch from which a film's word-region loss takes longer than its encoders."""
    of_one = machine.seconds(encoders.flops, encoders.moved * HALF / SINGLE, half=True)
    return of_one / machine.seconds(words.flops_of_a_pair(), words.moved_of_a_pair(), half=False)


def largest_own(machine: Machine, encoders: Encoders, *, kept: float) -> int:
    """Pairs of one accelerator whose activations (half precision) fit beside weights and ``kept`` bytes of the loss."""
    free = 0.9 * machine.capacity - ADAM_BYTES * encoders.weights - kept
    return max(0, int(free / (encoders.saved * HALF / SINGLE)))


def store_bytes(studies: int, *, films: float, size: int, report: float) -> float:
    """A prepared store: uint8 squares, and ``report`` bytes a study for text, spans and labels."""
    return studies * (films * size * size + report)
