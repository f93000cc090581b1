"""How the word-region loss grows: time and peak memory against pairs, words and regions, as fitted exponents."""

from __future__ import annotations

import statistics
from functools import partial

import numpy as np
from benchmarks.speed.harness import Measured, Options, figures_row, in_a_process, interleaved
from benchmarks.speed.loss import Inputs, forward_and_backward, inputs, our_loss

from crossray.freed_memory import keep_freed_memory

_WIDTH = 256
_PAIRS, _WORDS, _REGIONS = (16, 32, 64, 128, 256, 512), (32, 64, 128, 256), (49, 98, 196, 392, 784)
_AT = {"pairs": 32, "words": 34, "regions": 49}


def measure(options: Options) -> list[Measured]:
    keep_freed_memory()
    pairs, words, regions = ((2, 4), (8, 16), (4, 9)) if options.quick else (_PAIRS, _WORDS, _REGIONS)
    at = {"pairs": 2, "words": 8, "regions": 4} if options.quick else _AT
    rows = []
    for what, places in (("words", words), ("regions", regions), ("pairs", pairs)):
        sides = {str(n): partial(forward_and_backward, our_loss, _given(**{**at, what: n})) for n in places}
        seconds = interleaved(sides, options.rounds)
        slopes = [_slope(places, [seconds[str(n)][turn] for n in places]) for turn in range(options.rounds)]
        detail = ", ".join(f"{n}: {1000 * statistics.median(seconds[str(n)]):.3g} ms" for n in places)
        fixed = ", ".join(f"{name} {n}" for name, n in at.items() if name != what)
        rows.append(
            figures_row(
                f"growth_time_{what}", slopes, method="slope of log time", detail=f"{detail}; {fixed}, width {_WIDTH}"
            )
        )
    return [*rows, _memory(pairs, at["regions"], options)]


def _given(pairs: int, words: int, regions: int) -> Inputs:
    regions_of, words_of, mask = inputs(pairs, regions, width=_WIDTH, longest=words)
    mask[:] = True  # every report as long as the longest
    return regions_of, words_of, mask


def _slope(places: tuple[int, ...], figures: list[float]) -> float:
    return float(np.polyfit(np.log(places), np.log(figures), 1)[0])


def _memory(pairs: tuple[int, ...], regions: int, options: Options) -> Measured:
    """Once a size: a peak hardly varies."""
    peaks = [
        in_a_process("benchmarks.speed.memory", "ours", str(n), str(regions), threads=options.threads)["bytes"]
        for n in pairs
    ]
    detail = ", ".join(f"{n}: {peak / 1e6:.0f} MB" for n, peak in zip(pairs, peaks, strict=True))
    slope = _slope(pairs, peaks)
    return figures_row("growth_memory_pairs", [slope], method="slope of log peak", detail=f"{detail}; width 768")
