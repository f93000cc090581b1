"""A pickle in the place of files that are opened: refused with an error of ours, and nothing of it is executed."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from benchmarks.fuzz_targets import small_run

from crossray.data.split_files import read_split
from crossray.data.store import Store
from crossray.data.streaming.streamable import make_streamable
from crossray.data.verify import open_whole
from crossray.encoders.image_weights import read_state_dict
from crossray.errors import CrossRayError
from crossray.evaluation.draws import DRAWS_FILE, read_draws
from crossray.evaluation.localized.table import read_samples
from crossray.evaluation.results import read_results
from crossray.inference.calibration import CALIBRATION_FILE, read_calibration
from crossray.inference.joint_model import JointModel
from crossray.inference.released import load_released
from crossray.inference.search.index import read_rows, read_vectors
from crossray.inference.search.manifest import MANIFEST_FILE, read_manifest
from crossray.settings import read_yaml
from crossray.tensor_file import read_tensors


class Planted:
    """Makes the file ``marker`` when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
        return Path.touch, (self.marker,)


def as_pickle(path: Path, marker: Path) -> None:
    path.write_bytes(pickle.dumps(Planted(marker)))


def as_torch(path: Path, marker: Path) -> None:
    torch.save({"state_dict": Planted(marker)}, path)


def as_old_torch(path: Path, marker: Path) -> None:
    torch.save({"state_dict": Planted(marker)}, path, _use_new_zipfile_serialization=False)


def as_arrays(path: Path, marker: Path) -> None:
    planted = np.array([Planted(marker)], dtype=object)
    with path.open("wb") as file:
        np.savez(file, format_version=planted, results=planted, rows=planted, draws=planted)


def as_yaml(path: Path, marker: Path) -> None:
    path.write_text(f"data: !!python/object/apply:os.mkdir ['{marker}']\n", encoding="utf-8")


#: Name of the file, how it is written, what opens it.
FILES: tuple[tuple[str, Callable[[Path, Path], None], Callable[[Path], object]], ...] = (
    ("state.safetensors", as_pickle, read_tensors),
    ("state.safetensors", as_torch, read_tensors),
    ("weights.safetensors", as_pickle, read_state_dict),
    ("weights.pth", as_pickle, read_state_dict),
    ("weights.pth", as_torch, read_state_dict),
    ("weights.pth", as_old_torch, read_state_dict),
    ("released.ckpt", as_torch, load_released),
    ("released.ckpt", as_old_torch, load_released),
    ("split.json", as_pickle, read_split),
    ("split.csv", as_pickle, read_split),
    (CALIBRATION_FILE, as_pickle, lambda path: read_calibration(path.parent)),
    ("results.json", as_pickle, lambda path: read_results(path.parent)),
    (DRAWS_FILE, as_pickle, lambda path: read_draws(path.parent)),
    (DRAWS_FILE, as_arrays, lambda path: read_draws(path.parent)),
    (DRAWS_FILE, as_pickle, lambda path: read_samples(path.parent)),
    (DRAWS_FILE, as_arrays, lambda path: read_samples(path.parent)),
    ("films.faiss", as_pickle, read_vectors),
    ("films.arrow", as_pickle, read_rows),
    (MANIFEST_FILE, as_pickle, lambda path: read_manifest(path.parent)),
    ("recipe.yaml", as_pickle, read_yaml),
    ("recipe.yaml", as_yaml, read_yaml),
)


@pytest.mark.parametrize(
    ("name", "plant", "read"),
    FILES,
    ids=[f"{number}-{file[0]}-{file[1].__name__}" for number, file in enumerate(FILES)],
)
def test_a_planted_file_is_refused_and_runs_nothing(
    name: str, plant: Callable[[Path, Path], None], read: Callable[[Path], object], tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    plant(tmp_path / name, marker)
    with pytest.raises(CrossRayError):
        read(tmp_path / name)
    assert not marker.exists()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    run = small_run(tmp_path_factory.mktemp("planted"))
    make_streamable(run.with_name("store"))
    return SimpleNamespace(run=run, store=run.with_name("store"))


def refused_in_every_file(folder: Path, read: Callable[[Path], object], marker: Path, pattern: str) -> int:
    files = sorted(path for path in folder.glob(pattern) if path.is_file())
    for file in files:
        whole = file.read_bytes()
        as_pickle(file, marker)
        with pytest.raises(CrossRayError):
            read(folder)
        assert not marker.exists(), file
        file.write_bytes(whole)
    read(folder)
    return len(files)


def test_no_file_of_a_store_runs_a_planted_pickle(made: SimpleNamespace, tmp_path: Path) -> None:
    assert refused_in_every_file(made.store, open_whole, tmp_path / "marker", "*") >= 4
    assert refused_in_every_file(made.store, Store.open, tmp_path / "marker", "*.arrow") >= 2


def test_no_file_that_a_model_is_loaded_from_runs_a_planted_pickle(made: SimpleNamespace, tmp_path: Path) -> None:
    for pattern in ("manifest.json", "config.yaml", "checkpoints/best.safetensors", "tokenizer/*.json"):
        assert refused_in_every_file(made.run, JointModel.load, tmp_path / "marker", pattern) > 0, pattern


def test_the_plant_would_run_where_it_is_unpickled(tmp_path: Path) -> None:
    as_pickle(tmp_path / "file", tmp_path / "marker")
    pickle.loads((tmp_path / "file").read_bytes())
    assert (tmp_path / "marker").exists()
