"""What a method's training step costs above its encoders': resnet18, BERT 4 × 256, 128 px, 64 pairs."""

from __future__ import annotations

from benchmarks.speed.harness import Measured, Options, interleaved, ratio_row, seconds_of
from benchmarks.speed.models import batch, method, steps
from benchmarks.speed.rows import STEP_BOUNDS

from crossray.freed_memory import keep_freed_memory


def measure(options: Options) -> list[Measured]:
    keep_freed_memory()  # as `crossray pretrain` does
    pairs = batch(options.pick(64, 4), options.pick(128, 64))
    rows = []
    for name in STEP_BOUNDS:
        both = steps(method(name, options), pairs)
        seconds = interleaved({"full": both.full, "encoders": both.encoders}, options.rounds, warm_ups=2)
        rows.append(ratio_row(f"step_{name}", seconds["full"], seconds["encoders"], detail=seconds_of(seconds)))
    return rows
