"""A tiny phantom store with one fold, and a grid of two entries on it that runs in seconds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.sources.phantom import PhantomConfig, PhantomSource
from crossray.data.split_files import write_split
from crossray.data.splits import Fold, SplitList
from crossray.data.store import Store

GridMaker = Callable[..., Path]


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``store`` and ``split.json``; the phantom's patients have neighbouring numbers."""
    folder = tmp_path_factory.mktemp("phantom")
    source = PhantomSource(PhantomConfig(seed=0, count=36, size=64, difficulty="easy"))
    prepare_store(source, folder / "store", PrepareConfig(size=64), 1)
    ids = Store.open(folder / "store").study_ids
    fold = Fold("0", tuple(ids[:16]), tuple(ids[16:24]), tuple(ids[24:]))
    write_split(SplitList("tiny", (fold,)), folder / "split.json")
    return folder


@pytest.fixture(scope="session")
def write_grid(phantom: Path) -> GridMaker:
    """Writes ``grid.yaml`` and its base recipe into a folder; keyword arguments replace keys of the grid."""
    base = {
        "data": {"store": str(phantom / "store"), "split": str(phantom / "split.json")},
        "image": {"size": 48},
        "image_encoder": {"name": "test_efficientnet", "pretrained": "none", "batch_norm": "frozen"},
        "text_encoder": {"layers": 1, "width": 32, "heads": 2, "vocabulary_size": 300, "max_tokens": 40},
        "method": {"name": "convirt", "embed_dim": 16},
        "training": {"epochs": 2, "batch_size": 4, "selection": {"metric": "recall_mean", "goal": "max"}},
        "runtime": {"accelerator": "cpu", "tensorboard": False, "progress": False},
    }

    def write(folder: Path, **changes: Any) -> Path:
        content: dict[str, Any] = {
            "base": "base.yaml",
            "folds": [0],
            "entries": {"convirt": None, "global_local": {"overrides": {"method": {"name": "global_local"}}}},
            "evaluation": {
                "tasks": ["retrieval", "probe", "floors"],
                "settings": {"protocol.draws": 20, "probe.c_grid": [0.01], "ridge.alphas": [100]},
            },
        }
        (folder / "base.yaml").write_text(yaml.safe_dump(base), encoding="utf-8")
        (folder / "grid.yaml").write_text(yaml.safe_dump(content | changes, sort_keys=False), encoding="utf-8")
        return folder / "grid.yaml"

    return write


@pytest.fixture
def make_grid(write_grid: GridMaker, tmp_path: Path) -> GridMaker:
    """The same, in the test's own folder."""
    return partial(write_grid, tmp_path)
