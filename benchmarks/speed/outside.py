"""The share of a training step that is neither forward, backward nor the optimiser's: one run of the real loop.

Everything between the first batch of an epoch and its last step counts: loading, augmentation, random states, logging,
clipping. Each epoch gives one figure; the first one is left out.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.speed.data import AUGMENTATIONS
from benchmarks.speed.harness import Measured, Options, figures_row
from benchmarks.speed.models import method, tokenizer

from crossray.data.augment import ImageInputConfig
from crossray.data.pairs import PairDataset
from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.sources.phantom import PhantomConfig, PhantomSource
from crossray.data.store import Store
from crossray.data.text import TextConfig
from crossray.freed_memory import keep_freed_memory
from crossray.training import loop
from crossray.training.config import RuntimeConfig, TrainingConfig
from crossray.training.distributed import start_fabric
from crossray.training.session import TrainingParts

_TEXT = {"layers": 2, "width": 128, "heads": 2}


def measure(options: Options) -> list[Measured]:
    keep_freed_memory()
    prepared, size, studies, batch = options.pick((256, 224, 256, 64), (80, 64, 12, 4))
    with tempfile.TemporaryDirectory() as place:
        source = PhantomSource(PhantomConfig(seed=0, count=studies, size=prepared))
        prepare_store(source, Path(place) / "store", PrepareConfig(size=prepared))
        store = Store.open(Path(place) / "store")
        rows = []
        for name in ("jitter", "affine"):
            config = ImageInputConfig(size=size, augmentation=AUGMENTATIONS[name])
            shares, detail = _shares(store, config, batch, options, Path(place) / name)
            rows.append(figures_row(f"outside_{name}", shares, method="share of an epoch's steps", detail=detail))
    return rows


def _shares(
    store: Store, image: ImageInputConfig, batch: int, options: Options, folder: Path
) -> tuple[list[float], str]:
    pairs = PairDataset(store, store.study_ids, tokenizer(), TextConfig())
    model = method("convirt", options, trunk="mobilenetv3_small_100", text=_TEXT)
    config = TrainingConfig(epochs=options.rounds + 1, batch_size=batch, clip_norm=1.0, use_validator=False)
    runtime = RuntimeConfig(accelerator="cpu", progress=False)
    fabric = start_fabric(runtime, config.precision)
    folder.mkdir()
    clock = Clock()
    clock.watch(loop, "backward_step", "inside")
    clock.watch(fabric.strategy, "optimizer_step", "inside")
    clock.watch(loop, "_train_epoch", "epoch")
    try:
        loop.fit(fabric, TrainingParts(model, pairs, pairs, image), config, runtime, folder, identity="bench")
    finally:
        clock.stop()
    steps = len(clock.seconds["inside"]) // len(clock.seconds["epoch"])
    shares = []
    for number, whole in enumerate(clock.seconds["epoch"][1:], start=1):
        inside = sum(clock.seconds["inside"][number * steps : (number + 1) * steps])
        shares.append(100 * (whole - inside) / whole)
    per_step = 2000 * min(clock.seconds["epoch"]) / steps
    return shares, f"{per_step:.3g} ms a step of {batch} pairs at {image.size} px"


class Clock:
    """Counts the seconds of functions while they are watched."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {"inside": [], "epoch": []}
        self._watched: list[tuple[Any, str, Callable[..., Any]]] = []

    def watch(self, owner: Any, name: str, kind: str) -> None:
        inner = getattr(owner, name)

        def timed(*given: Any, **more: Any) -> Any:
            start = time.perf_counter()
            try:
                return inner(*given, **more)
            finally:
                self.seconds[kind].append(time.perf_counter() - start)

        self._watched.append((owner, name, inner))
        setattr(owner, name, timed)

    def stop(self) -> None:
        for owner, name, inner in self._watched:
            setattr(owner, name, inner)
