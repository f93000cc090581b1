"""A small world to disturb: films, and what each command makes of them when nothing happens, with its hash."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from benchmarks.faults.inject import Course, count_operations
from benchmarks.faults.process import Ended, crossray, start_together
from PIL import Image

STUDIES, SIDE = 136, 32  # three shards

_SENTENCES = (
    "The heart is enlarged.",
    "No pleural effusion or pneumothorax.",
    "Left lower lobe atelectasis.",
    "The lungs are clear.",
    "Small right pleural effusion.",
    "Right upper lobe consolidation.",
)

_RECIPE: dict[str, Any] = {
    "data": {"store": "store", "split": "split.csv", "fold": "fixed"},
    "image": {"size": SIDE},
    "image_encoder": {"name": "test_efficientnet", "pretrained": "none", "batch_norm": "frozen"},
    "text_encoder": {"layers": 1, "width": 32, "heads": 2, "vocabulary_size": 200, "max_tokens": 32},
    "method": {"name": "clip"},
    "training": {"epochs": 2, "batch_size": 16, "optimizer": {"learning_rate": 1e-3}},
    "runtime": {
        "accelerator": "cpu",
        "tensorboard": False,
        "progress": False,
        "log_every_steps": 1,
        "checkpoint_every_steps": 3,
    },
}

_GRID: dict[str, Any] = {
    "base": "recipe.yaml",
    "folds": ["fixed"],
    "entries": {"clip": None, "convirt": {"overrides": {"method": {"name": "convirt"}}}},
    "evaluation": {"tasks": ["retrieval"], "settings": {"protocol.draws": 20}, "report": False},
}


@dataclass(frozen=True)
class Place:
    """A command that is disturbed: its words, what it reads of the world, the one thing that it makes.

    ``processes`` of it work together.
    """

    name: str
    words: tuple[str, ...]
    reads: tuple[str, ...]
    makes: str
    processes: int = 1

    def run(self, folder: Path, before: Callable[[], None] = lambda: None) -> Ended:
        """Carry it out; ``before`` is called in its (first) process. Of several, the first that fails is returned."""
        if self.processes == 1:
            return crossray(self.words, folder, before)
        others = [lambda: None] * (self.processes - 1)
        ended = [started.end() for started in start_together(self.words, folder, [before, *others])]
        return next((one for one in ended if one.code != 0), ended[0])


_PREPARE = (
    *("data", "prepare", "folder", "films", "--out", "store", "--size", str(SIDE), "--labels", "rules"),
    *("--deidentify", "off"),  # studies keep the ids that the split names
)
PREPARE = Place("prepare", (*_PREPARE, "--workers", "1"), ("films",), "store")
PREPARE_WITH_WORKERS = Place("prepare, two workers", (*_PREPARE, "--workers", "2"), ("films",), "store")
TRAIN = Place("train", ("pretrain", "recipe.yaml", "--out", "run"), ("recipe.yaml", "split.csv", "store"), "run")
TRAIN_WITH_WORKER = Place("train, a data worker", (*TRAIN.words, "runtime.workers=1"), TRAIN.reads, "run")
TRAIN_TOGETHER = Place(
    "train, two processes", (*TRAIN.words, "runtime.timeout_seconds=5"), TRAIN.reads, "run", processes=2
)
_EVALUATE = ("evaluate", "run", "--out", "results")
EVALUATE = Place(
    "evaluate",
    (*_EVALUATE, "--tasks", "retrieval,zero_shot", "--set", "protocol.draws=20", "--no-report"),
    ("split.csv", "store", "run"),
    "results",
)
INDEX = Place("index build", ("index", "build", "run", "store", "--out", "index"), ("store", "run"), "index")
EMBED = Place("embed", ("embed", "run", "store", "--out", "films.npz"), ("store", "run"), "films.npz")
_HEADS = ("localized", "--suite", "kermany_linear_100", "--data", "kermany", "--out", "heads", "--no-report")
_FEW = ("--set", f"size={SIDE}", "--epochs", "2", "--seeds", "1", "--draws", "20")
LOCALIZED = Place("localized", (*_HEADS, "--trunk", "random:test_efficientnet", *_FEW), ("kermany",), "heads")
_TRANSFER = ("transfer", "run", "--train", "store", "--test", "store", "--split", "split.csv", "--out", "tested")
_TASKS = ("--set", "tasks=[probe,zero_shot]", "--set", "draws=20")
TRANSFER = Place("transfer", (*_TRANSFER, *_TASKS), ("split.csv", "store", "run"), "tested")
GRID = Place("grid", ("grid", "grid.yaml", "--out", "grid"), ("grid.yaml", "recipe.yaml", "split.csv", "store"), "grid")
PLACES = (PREPARE, TRAIN, EVALUATE, INDEX)
LATER_PLACES = (EMBED, LOCALIZED, TRANSFER, GRID)


class Bench:
    """The world in ``root/base``, the course and the hash of every place, and folders to disturb."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.base = root / "base"
        self.courses: dict[str, Course] = {}
        self.hashes: dict[str, str] = {}
        self._folders = 0
        self.base.mkdir(parents=True)
        _write_inputs(self.base)
        self._make_twin()
        for place in (*PLACES, *LATER_PLACES):
            self._make(place)
        for place in (PREPARE_WITH_WORKERS, TRAIN_WITH_WORKER, TRAIN_TOGETHER):
            self.learn(place, self.fresh(place))

    def _make(self, place: Place) -> None:
        folder = self.fresh(place)
        self.learn(place, folder)
        _copy(folder / place.makes, self.base / place.makes)

    def _make_twin(self) -> None:
        """A store that localized protocols know: drawn films in the layout of a public set."""
        twin = ("data", "twin", "kermany_pneumonia", "--out", "twin", "--count", "30", "--size", "64")
        prepare = ("data", "prepare", "kermany_pneumonia", "twin", "--set", "expected_counts=twin", "--out", "kermany")
        for words in (twin, (*prepare, "--size", str(SIDE), "--workers", "1")):
            ended = crossray(words, self.base)
            if ended.code != 0:
                raise RuntimeError(ended.errors)
        shutil.rmtree(self.base / "twin")

    def learn(self, place: Place, folder: Path) -> None:
        """Run a place undisturbed, and keep its course and hash."""
        counted = folder.with_name(f"{folder.name}.count")

        def count() -> None:
            count_operations(lambda number: _write_number(counted, number + 1))

        ended = place.run(folder, count)
        if ended.code != 0:
            raise RuntimeError(f"{place.name} fails undisturbed:\n{ended.errors}")
        self.courses[place.name] = Course(int(counted.read_text()), ended.seconds)
        self.hashes[place.name] = hash_of(folder)

    def fresh(self, place: Place, *also: str) -> Path:
        """A new folder with copies of what a place reads; ``also`` of what it makes, or others do."""
        self._folders += 1
        folder = self.root / f"{os.getpid()}-{self._folders:04d}" / "world"
        folder.mkdir(parents=True)
        self.fill(folder, *place.reads, *also)
        return folder

    def fill(self, folder: Path, *names: str) -> None:
        """Copy things of the base into a folder."""
        for name in names:
            _copy(self.base / name, folder / name)

    def made_by(self, place: Place) -> list[Path]:
        """The files that an undisturbed command makes."""
        made = self.base / place.makes
        return [path for path in (made, *made.rglob("*")) if path.is_file()]

    def same(self, place: Place, folder: Path) -> bool:
        """Whether a folder holds what the undisturbed command leaves, to the byte."""
        try:
            return hash_of(folder) == self.hashes[place.name]
        except (ValueError, zipfile.BadZipFile):  # a log that is not even JSON, a cell that is no archive
            return False


def _copy(source: Path, destination: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, destination)
    else:
        shutil.copy2(source, destination)


def hash_of(folder: Path) -> str:
    """sha256 over names and bytes of all files of a folder, hidden ones too, without what tells how long it took.

    A grid's list of what failed stays when all is done, and is left out too.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "failures.jsonl"):
        content = path.read_bytes()
        if path.name == "metrics.jsonl":
            content = b"\n".join(map(_without_speed, content.splitlines()))
        if path.suffix == ".npz" and "cells" in path.parts:
            content = _without_duration(content)
        if path.name == "manifest.json":
            content = _without_the_logs_hash(content)
        digest.update(f"{path.relative_to(folder)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _without_speed(line: bytes) -> bytes:
    record = json.loads(line)
    record.pop("pairs_per_second", None)
    return json.dumps(record).encode()


def _without_duration(content: bytes) -> bytes:
    """A cell's arrays but the one that says how long it took."""
    with zipfile.ZipFile(io.BytesIO(content)) as cell:
        return b"".join(name.encode() + cell.read(name) for name in cell.namelist() if name != "cell_seconds.npy")


def _without_the_logs_hash(content: bytes) -> bytes:
    manifest = json.loads(content)
    if manifest["files"].pop("metrics.jsonl", None) is not None:
        manifest.pop("seal")
    return json.dumps(manifest).encode()


def _write_number(path: Path, number: int) -> None:
    path.write_text(str(number))


def _write_inputs(folder: Path) -> None:
    (folder / "films").mkdir()
    rng = np.random.default_rng(0)
    rows: list[Sequence[str]] = [("study_id", "patient_id", "film", "view", "report")]
    sides: list[Sequence[str]] = [("study_id", "split")]
    for number in range(STUDIES):
        name = f"film{number:03d}.png"
        Image.fromarray(rng.integers(0, 255, (SIDE, SIDE), dtype=np.uint8)).save(folder / "films" / name)
        chosen = rng.choice(len(_SENTENCES), size=3, replace=False)
        report = " ".join(_SENTENCES[index] for index in chosen)
        rows.append((f"s{number:03d}", f"p{number:03d}", name, "frontal", f"FINDINGS: {report} Film {number}."))
        sides.append((f"s{number:03d}", ("train", "train", "train", "train", "validation", "test")[number % 6]))
    for path, table in ((folder / "films" / "manifest.csv", rows), (folder / "split.csv", sides)):
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(table)
    for name, content in (("recipe.yaml", _RECIPE), ("grid.yaml", _GRID)):
        (folder / name).write_text(yaml.safe_dump(content), encoding="utf-8")
