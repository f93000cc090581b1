"""Many logistic regressions on the same features, fitted side by side: one matrix product serves all of them.

A probe of K labels and G strengths is K x G problems that differ in targets and penalty only. Fitted one after another
each would walk through the features by itself; here every step of L-BFGS multiplies the features with all directions
at once, and a problem leaves when its own gradient is small: it ends where it would have ended alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crossray.evaluation.metrics import FloatArray

_MEMORY = 10  # steps that L-BFGS remembers, as in SciPy
_SUFFICIENT = 1e-4  # of the slope, that a step must gain (Armijo)
_HALVINGS = 30


@dataclass(frozen=True)
class LogisticFit:
    """``weights [D, P]`` and ``bias [P]`` of P problems, and after how many ``steps [P]`` each ended."""

    weights: FloatArray
    bias: FloatArray
    steps: NDArray[np.int64]

    def decision(self, features: NDArray[np.floating]) -> FloatArray:
        """``[n, P]`` log odds."""
        return np.asarray(features, dtype=np.float64) @ self.weights + self.bias


def fit_logistic(
    features: NDArray[np.floating],
    targets: FloatArray,
    strength: FloatArray,
    *,
    tolerance: float = 1e-6,
    max_steps: int = 1000,
) -> LogisticFit:
    """Minimise, for each problem, mean log loss + |w|^2 / (2 C n), n being its known rows: scikit-learn's objective.

    Args:
        features: ``[n, D]``.
        targets: ``[n, P]``, positive above 0.5; rows that are NaN are left out of their problem.
        strength: ``[P]`` the C of each problem, one over the penalty.
        tolerance: a problem ends when no component of its gradient is larger.
        max_steps: or after so many; separable data, hardly penalised, need no end.

    A problem without a known row, or with one class only, has weights and bias 0: it knows nothing.
    """
    problems = _Problems.of(features, targets, strength)
    weights = np.zeros((features.shape[1] + 1, targets.shape[1]))
    steps = np.zeros(targets.shape[1], dtype=np.int64)
    active = np.flatnonzero(problems.have_both_classes)
    search = _Search.start(problems.part(active))
    for step in range(1, max_steps + 1):
        open_ = np.abs(search.gradient).max(axis=0, initial=0.0) > tolerance
        weights[:, active[~open_]] = search.weights[:, ~open_]
        active, search = active[open_], search.part(open_)
        if not len(active):
            break
        search.advance()
        steps[active] = step
    weights[:, active] = search.weights
    return LogisticFit(weights[:-1], weights[-1], steps)


@dataclass(frozen=True)
class _Problems:
    """Features with a column of ones (the bias, which is not penalised), signs and row weights of P problems."""

    features: FloatArray
    signs: FloatArray
    rows: FloatArray
    penalty: FloatArray

    @classmethod
    def of(cls, features: NDArray[np.floating], targets: FloatArray, strength: FloatArray) -> _Problems:
        known = ~np.isnan(targets)
        positive = np.nan_to_num(targets) > 0.5
        count = np.maximum(known.sum(axis=0), 1)
        penalty = np.ones((features.shape[1] + 1, 1)) / (strength * count)
        penalty[-1] = 0.0
        return cls(
            features=np.concatenate([features.astype(np.float64), np.ones((len(features), 1))], axis=1),
            signs=np.where(positive, 1.0, -1.0),
            rows=known / count,
            penalty=penalty,
        )

    @property
    def have_both_classes(self) -> NDArray[np.bool_]:
        """``[P]``."""
        known = self.rows > 0
        sides = np.stack([known & (self.signs > 0), known & (self.signs < 0)])
        return np.asarray(sides.any(axis=1).all(axis=0))

    def part(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> _Problems:
        """Some of the problems."""
        return _Problems(self.features, self.signs[:, which], self.rows[:, which], self.penalty[:, which])

    def value(self, margins: FloatArray, weights: FloatArray) -> FloatArray:
        """``[P]`` objectives, given ``margins [n, P]``."""
        loss = np.logaddexp(0.0, -self.signs * margins)
        value: FloatArray = (self.rows * loss).sum(axis=0) + 0.5 * (self.penalty * weights**2).sum(axis=0)
        return value

    def gradient(self, margins: FloatArray, weights: FloatArray) -> FloatArray:
        """``[D + 1, P]`` gradients."""
        slope = -self.rows * self.signs * np.exp(-np.logaddexp(0.0, self.signs * margins))
        gradient: FloatArray = self.features.T @ slope + self.penalty * weights
        return gradient


@dataclass
class _Search:
    """Where P problems stand, and the steps they remember: ``moves`` and ``turns`` are ``[D + 1, P]`` each."""

    problems: _Problems
    weights: FloatArray
    margins: FloatArray
    value: FloatArray
    gradient: FloatArray
    moves: list[FloatArray] = field(default_factory=list)
    turns: list[FloatArray] = field(default_factory=list)

    @classmethod
    def start(cls, problems: _Problems) -> _Search:
        weights = np.zeros((problems.features.shape[1], problems.signs.shape[1]))
        margins = np.zeros_like(problems.signs)
        value, gradient = problems.value(margins, weights), problems.gradient(margins, weights)
        return cls(problems, weights, margins, value, gradient)

    def part(self, which: NDArray[np.bool_]) -> _Search:
        """The search of some of the problems."""
        if which.all():
            return self
        state = (self.weights[:, which], self.margins[:, which], self.value[which], self.gradient[:, which])
        moves, turns = ([past[:, which] for past in memory] for memory in (self.moves, self.turns))
        return _Search(self.problems.part(which), *state, moves, turns)

    def advance(self) -> None:
        """One step of every problem."""
        direction = self._direction()
        along = self.problems.features @ direction
        share = self._step_size(direction, along)
        move = share * direction
        self.weights = self.weights + move
        self.margins = self.margins + share * along
        gradient = self.problems.gradient(self.margins, self.weights)
        self.value = self.problems.value(self.margins, self.weights)
        self.moves, self.turns = [*self.moves, move][-_MEMORY:], [*self.turns, gradient - self.gradient][-_MEMORY:]
        self.gradient = gradient

    def _direction(self) -> FloatArray:
        """Minus the gradient, bent by the remembered steps (the two loops of L-BFGS)."""
        direction: FloatArray = -self.gradient
        if not self.moves:
            direction /= np.maximum(1.0, np.abs(direction).sum(axis=0))
            return direction
        curvature = [_positive((move * turn).sum(axis=0)) for move, turn in zip(self.moves, self.turns, strict=True)]
        past = list(zip(self.moves, self.turns, curvature, strict=True))
        shares = []
        for move, turn, curved in reversed(past):
            shares.append((move * direction).sum(axis=0) / curved)
            direction = direction - shares[-1] * turn
        direction = direction * curvature[-1] / _positive((self.turns[-1] ** 2).sum(axis=0))
        for (move, turn, curved), share in zip(past, reversed(shares), strict=True):
            direction = direction + (share - (turn * direction).sum(axis=0) / curved) * move
        return direction

    def _step_size(self, direction: FloatArray, along: FloatArray) -> FloatArray:
        """``[P]``: 1, halved until the step gains enough; products with the features are not needed for that."""
        share = np.ones(len(self.value))
        slope = (self.gradient * direction).sum(axis=0)
        for _ in range(_HALVINGS):
            value = self.problems.value(self.margins + share * along, self.weights + share * direction)
            too_far = value > self.value + _SUFFICIENT * share * slope
            if not too_far.any():
                break
            share = np.where(too_far, 0.5 * share, share)
        return share


def _positive(values: FloatArray) -> FloatArray:
    """The objective is convex, so these are above zero but for rounding."""
    positive: FloatArray = np.maximum(values, np.finfo(np.float64).tiny)
    return positive
