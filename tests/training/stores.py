"""A small prepared store of phantom studies with a split, and a recipe of the smallest real parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.sources.phantom import PhantomConfig, PhantomSource
from crossray.data.split_files import write_split
from crossray.data.splits import Fold, SplitList
from crossray.data.store import Store
from crossray.settings import build_settings
from crossray.training.recipe import Recipe


def phantom_store(folder: Path, studies: int = 24) -> Store:
    """``folder/store`` with films of 64 pixels, and ``folder/split.json``: every fourth patient validates."""
    source = PhantomSource(PhantomConfig(seed=0, count=studies, size=64))
    prepare_store(source, folder / "store", PrepareConfig(size=64), 1)
    store = Store.open(folder / "store")
    patients = sorted({str(patient) for patient in store.patient_ids})
    held_out = set(patients[::4])
    sides: dict[bool, list[str]] = {True: [], False: []}
    for study_id, patient in zip(store.study_ids, store.patient_ids, strict=True):
        sides[str(patient) in held_out].append(study_id)
    fold = Fold("0", tuple(sides[False]), tuple(sides[True]), ())
    write_split(SplitList("small", (fold,)), folder / "split.json")
    assert np.isfinite(store.labels).any()
    return store


def small_recipe(folder: Path, **changes: Any) -> Recipe:
    """Two epochs of batches of four; ``changes`` replace whole sections or lie over their keys."""
    content: dict[str, Any] = {
        "data": {"store": str(folder / "store"), "split": str(folder / "split.json")},
        "image": {"size": 48},
        "image_encoder": {"name": "test_efficientnet", "pretrained": "none", "batch_norm": "frozen"},
        "text_encoder": {"layers": 1, "width": 32, "heads": 2, "vocabulary_size": 300, "max_tokens": 40},
        "method": {"name": "global_local"},
        "training": {"epochs": 2, "batch_size": 4, "optimizer": {"learning_rate": 1e-3}},
        "runtime": {"accelerator": "cpu", "tensorboard": False, "progress": False, "log_every_steps": 1},
    }
    for section, values in changes.items():
        content[section] = {**content[section], **values}
    return build_settings(Recipe, content)
