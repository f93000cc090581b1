"""From a prepared store to an augmented batch on one core, against decoding a 2,500-px JPEG and resizing each time.

Both sides end in the same augmentation, done for the whole batch; what differs is where the 256-px films come from.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from benchmarks.reference.decoded_batch import decoded_films
from benchmarks.speed.films import write_folder
from benchmarks.speed.harness import Measured, Options, interleaved, ratio_row, seconds_of

from crossray.data.augment import AugmentationConfig, ImageInputConfig, training_view
from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.sources.folder import FolderSource
from crossray.data.store import Store
from crossray.freed_memory import keep_freed_memory

_JITTER = AugmentationConfig(brightness=(0.6, 1.4), contrast=(0.6, 1.4))
AUGMENTATIONS = {
    "jitter": _JITTER,
    "affine": _JITTER.model_copy(update={"degrees": 20.0, "translate": 0.1, "scale": (0.95, 1.05)}),
    # recipes/published/lovt.yaml
    "lovt": AugmentationConfig(
        crop_scale=(0.6, 1.0),
        crop_ratio=(0.75, 4 / 3),
        degrees=20,
        translate=0.1,
        scale=(0.95, 1.05),
        brightness=(0.6, 1.4),
        contrast=(0.6, 1.4),
        blur_sigma=(0.1, 3.0),
    ),
}


def measure(options: Options) -> list[Measured]:
    keep_freed_memory()
    torch.set_num_threads(1)
    prepared, size, batch = options.pick((256, 224, 32), (32, 24, 4))
    with tempfile.TemporaryDirectory() as place:
        folder = write_folder(Path(place) / "films", "jpeg", batch, options.pick(2500, 100))
        paths = sorted(folder.glob("film*.jpg"))
        prepare_store(FolderSource(folder), Path(place) / "store", PrepareConfig(size=prepared), workers=1)
        store, rows = Store.open(Path(place) / "store"), list(range(batch))
        measured = []
        for name, augmentation in AUGMENTATIONS.items():
            view = partial(_view, config=ImageInputConfig(size=size, augmentation=augmentation))
            sides = {
                "store": lambda view=view: view(store.pixels(rows)),
                "jpeg": lambda view=view: view(decoded_films(paths, prepared)),
            }
            seconds = interleaved(sides, options.rounds)
            detail = f"{seconds_of(seconds)} for {batch} films"
            measured.append(ratio_row(f"data_{name}", seconds["jpeg"], seconds["store"], detail=detail))
    return measured


def _view(films: np.ndarray, config: ImageInputConfig) -> torch.Tensor:
    return training_view(torch.from_numpy(films), np.arange(len(films)), config, seed=0, epoch=0)
