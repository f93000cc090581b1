"""Stores of layout twins, small enough for tests: films of 64 pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.sources.build import build_source
from crossray.data.twins.build import write_twin
from crossray.data.twins.material import TwinConfig
from crossray.evaluation.localized.plan import LocalizedRequest

SIDE = 64


def twin_store(name: str, folder: Path, count: int = 24, **options: object) -> Path:
    """``folder/NAME``: the store of a twin, made if it is not there."""
    store = folder / name
    if not store.exists():
        write_twin(name, folder / "twins" / name, TwinConfig(count=count, size=SIDE))
        source = build_source(name, folder / "twins" / name, {"expected_counts": "twin", **options})
        prepare_store(source, store, PrepareConfig(size=SIDE), workers=1)
    return store


def small_request(suite: str, folder: Path, **changes: Any) -> LocalizedRequest:
    """A quick look: two epochs, two seeds, small films, a small trunk with random weights."""
    request = LocalizedRequest(
        suite=suite,
        data=folder,
        out=folder / f"out-{suite}",
        trunk="random:test_resnet",
        seeds=2,
        changes=(f"size={SIDE}", "schedule.max_epochs=2", "unet_width=32"),
        draws=20,
    )
    return replace(request, **changes)
