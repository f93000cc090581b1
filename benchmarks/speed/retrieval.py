"""Recall at K both ways, against the argsort of the full score matrix: time, and memory in processes of their own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial

import numpy as np
from benchmarks.reference.retrieval import argsort_ranks
from benchmarks.speed.harness import (
    Measured,
    Options,
    figures_row,
    forget_peak,
    held_bytes,
    in_a_process,
    interleaved,
    peak_bytes,
    ratio_row,
    seconds_of,
)
from numpy.typing import NDArray

from crossray.evaluation.retrieval import vector_rank_counts

_WIDTH = 256

Vectors = NDArray[np.float32]


def our_ranks(films: Vectors, reports: Vectors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    own = np.arange(len(films))
    return vector_rank_counts(films, reports, own, own).ranks(), vector_rank_counts(reports, films, own, own).ranks()


SIDES: dict[str, Callable[[Vectors, Vectors], tuple[NDArray, NDArray]]] = {"ours": our_ranks, "argsort": argsort_ranks}


def vectors(pairs: int) -> tuple[Vectors, Vectors]:
    """Unit vectors, a pair's two nearer to each other than to others."""
    draws = np.random.default_rng(0)
    films = draws.standard_normal((pairs, _WIDTH), dtype=np.float32)
    reports = films + 4 * draws.standard_normal((pairs, _WIDTH), dtype=np.float32)
    return _unit(films), _unit(reports)


def _unit(rows: Vectors) -> Vectors:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def measure(options: Options) -> list[Measured]:
    pairs, rounds = options.pick(20_000, 200), min(options.rounds, 3)
    given = vectors(pairs)
    seconds = interleaved({name: partial(run, *given) for name, run in SIDES.items()}, rounds, warm_ups=0)
    ours, theirs = our_ranks(*given), argsort_ranks(*given)
    unequal = sum(int((mine != other).sum()) for mine, other in zip(ours, theirs, strict=True))
    detail = f"{seconds_of(seconds, 's')}; {unequal} of {2 * pairs} ranks differ"
    peaks = {
        name: [
            in_a_process("benchmarks.speed.retrieval", name, str(pairs), threads=options.threads)["bytes"]
            for _ in range(min(rounds, 2))
        ]
        for name in SIDES
    }
    ratios = [full / tiled for full, tiled in zip(peaks["argsort"], peaks["ours"], strict=True)]
    sizes = ", ".join(f"{name} {max(found) / 1e6:.0f} MB" for name, found in peaks.items())
    return [
        ratio_row("retrieval_time", seconds["argsort"], seconds["ours"], detail=detail),
        figures_row("retrieval_memory", ratios, method="peak resident memory above the vectors", detail=sizes),
    ]


if __name__ == "__main__":
    made = vectors(int(sys.argv[2]))
    SIDES[sys.argv[1]](*vectors(16))
    forget_peak()
    before = held_bytes()
    SIDES[sys.argv[1]](*made)
    print(json.dumps({"bytes": peak_bytes() - before}))
