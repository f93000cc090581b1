"""The most memory that the word-region loss needs above its inputs: each side in a process of its own.

``VmHWM`` of a fresh process, begun anew once the inputs are there and a first small loss has loaded what a loss loads.
It is the process's resident memory as the kernel counts it, allocator's slack included, gradients included.
"""

from __future__ import annotations

import json
import sys
from functools import partial

from benchmarks.speed.harness import Measured, Options, figures_row, forget_peak, held_bytes, in_a_process, peak_bytes
from benchmarks.speed.loss import LOSSES, WIDTH, forward_and_backward, inputs

_METHOD = "peak resident memory above the inputs, a process each"
_REGIONS = 49


def peak_of(side: str, pairs: int, regions: int, *, longest: int = 60, width: int = WIDTH) -> int:
    forward_and_backward(LOSSES[side], inputs(2, 4, width=width, longest=longest))
    given = inputs(pairs, regions, width=width, longest=longest)
    forget_peak()
    before = held_bytes()
    forward_and_backward(LOSSES[side], given)
    return peak_bytes() - before


def measure(options: Options) -> list[Measured]:
    pairs, large, rounds = options.pick(128, 8), options.pick(256, 16), min(options.rounds, 3)

    def peaks(side: str, count: int) -> list[float]:
        arguments = ("benchmarks.speed.memory", side, str(count), str(_REGIONS))
        return [in_a_process(*arguments, threads=options.threads)["bytes"] / 1e9 for _ in range(rounds)]

    found = {side: peaks(side, pairs) for side in LOSSES}
    ratio = partial(_ratio, found)
    return [
        ratio("memory_ratio", "loop_padded"),
        ratio("memory_ratio_cut", "loop_cut"),
        figures_row("memory_b256", peaks("ours", large), method=_METHOD),
    ]


def _ratio(found: dict[str, list[float]], row: str, side: str) -> Measured:
    ratios = [one / other for one, other in zip(found[side], found["ours"], strict=True)]
    detail = f"{side} {max(found[side]):.3g} GB, ours {max(found['ours']):.3g} GB"
    return figures_row(row, ratios, method=f"ratio of {_METHOD}", detail=detail)


if __name__ == "__main__":
    print(json.dumps({"bytes": peak_of(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))}))
