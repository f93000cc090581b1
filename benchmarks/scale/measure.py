"""Count the encoders and the loss, time them here, and write ``docs/results/scale/scale.json`` and ``docs/scale.md``.

``python -m benchmarks.scale.measure``. Times are processor seconds of one thread, so that what else runs on the machine
counts less; in each round this machine's own rates are measured too, and a figure is the ratio of the round's two.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from benchmarks.scale import page
from benchmarks.scale.counting import Counted
from benchmarks.scale.models import TEXT, TOKENS, TRUNKS, WIDTH, WORDS, counted_encoder, counted_loss, encoder, given
from benchmarks.speed.loss import forward_and_backward, inputs, our_loss

from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.sources.phantom import PhantomConfig, PhantomSource
from crossray.files import write_whole
from crossray.freed_memory import keep_freed_memory

ENCODER_PAIRS = {TEXT: 2, "ResNet-50": 2, "ViT-B/16": 1}
LOSS_POINTS = ((16, 49), (32, 49), (64, 49), (16, 196), (16, 361))
PASSES_AT = (64, 49)
"""Where the loss's reads and writes are counted for the formula: per word, film and region they fall with the size."""

_SIDE = 1536
_LONG = 1 << 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    keep_freed_memory()
    encoders = {name: counted_encoder(name) for name in (*TRUNKS, TEXT)}
    losses = {point: counted_loss(*point) for point in LOSS_POINTS}
    passes_of, words = losses[PASSES_AT]
    content = {
        "command": f"python -m benchmarks.scale.measure --rounds {rounds}",
        "date": datetime.now(UTC).date().isoformat(),
        "torch": torch.__version__,
        "rounds": rounds,
        "encoders": {name: {**asdict(one), "weights": weights} for name, (one, weights) in encoders.items()},
        "words": {"mean": WORDS, "slots": TOKENS, "width": WIDTH, "passes": _passes(passes_of, words, *PASSES_AT)},
        "report_bytes": _report_bytes(),
        "points": _points({name: one for name, (one, _) in encoders.items()}, losses, rounds),
    }
    page.RESULTS.parent.mkdir(parents=True, exist_ok=True)
    write_whole(page.RESULTS, json.dumps(content, indent=1) + "\n")
    page.write()


def _passes(counted: Counted, words: int, pairs: int, regions: int) -> float:
    return counted.moved / (4 * words * pairs * regions)


def _points(
    encoders: dict[str, Counted], losses: dict[tuple[int, int], tuple[Counted, int]], rounds: int
) -> list[dict[str, Any]]:
    """Measured over predicted seconds, each with this machine's rates of its round."""
    sides: dict[str, tuple[Callable[[], object], float, float]] = {}
    for name, pairs in ENCODER_PAIRS.items():
        run = partial(_train, encoder(name), given(name, pairs))
        sides[f"{name}, {pairs} pairs"] = run, pairs * encoders[name].flops, pairs * encoders[name].moved
    for (pairs, regions), (counted, _) in losses.items():
        run = partial(forward_and_backward, our_loss, inputs(pairs, regions, width=WIDTH))
        sides[f"word-region loss, B = {pairs}, R = {regions}"] = run, counted.flops, counted.moved
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for turn in range(rounds + 1):  # the first warms up
        single, memory = rates()
        for name, (run, flops, moved) in sides.items():
            seconds = processor_seconds(run)
            if turn:
                figures[name].append((seconds, flops / single + moved / memory))
    return [
        {
            "name": name,
            "seconds": statistics.median(seconds for seconds, _ in found),
            "predicted": statistics.median(predicted for _, predicted in found),
            "ratios": sorted(seconds / predicted for seconds, predicted in found),
        }
        for name, found in figures.items()
    ]


def rates() -> tuple[float, float]:
    """FLOP/s of a large product in single precision, and bytes/s of an addition in memory, by one thread."""
    left, right = torch.rand(_SIDE, _SIDE), torch.rand(_SIDE, _SIDE)
    one, other = torch.rand(_LONG), torch.rand(_LONG)
    product = min(processor_seconds(lambda: left @ right) for _ in range(3))
    addition = min(processor_seconds(lambda: one.add_(other)) for _ in range(3))
    return 2 * _SIDE**3 / product, 3 * 4 * _LONG / addition


def processor_seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def _train(model: torch.nn.Module, batch: torch.Tensor) -> None:
    model.zero_grad(set_to_none=True)
    model(batch).backward()


def _report_bytes(studies: int = 64, size: int = 64) -> float:
    """Bytes of a prepared phantom study beside its pixels."""
    with tempfile.TemporaryDirectory() as place:
        store = Path(place) / "store"
        prepare_store(PhantomSource(PhantomConfig(seed=0, count=studies, size=size)), store, PrepareConfig(size=size))
        whole = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
        return (whole - studies * size * size) / studies


if __name__ == "__main__":
    main()
