"""``crossray data prepare`` on two cores, against decoding the same films alone on as many."""

from __future__ import annotations

import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import get_args

from benchmarks.speed.films import Format, write_folder
from benchmarks.speed.harness import Measured, Options, figures_row, interleaved, ratio_row, seconds_of

from crossray.data.images import FilmPixels
from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.sources.folder import FolderSource

_WORKERS = 2
# So many that starting processes, which both sides do, is little beside them.
_FILMS: dict[Format, int] = {"jpeg2000": 128, "jpeg_lossless": 256, "jpeg": 512, "uncompressed": 512}


def measure(options: Options) -> list[Measured]:
    side, rounds = options.pick(2500, 64), min(options.rounds, 3)
    measured = []
    with tempfile.TemporaryDirectory() as place:
        for kind in get_args(Format):
            films = options.pick(_FILMS[kind], 4)
            folder = write_folder(Path(place) / kind, kind, films, side)
            paths = sorted(path for path in folder.iterdir() if path.name.startswith("film"))
            runs = iter(range(2 * rounds))
            sides = {
                "prepare": lambda folder=folder, runs=runs: _prepare(folder, Path(place) / f"store{next(runs)}"),
                "decode": partial(_decode, paths),
            }
            seconds = interleaved(sides, rounds, warm_ups=0)
            per_film = [1000 * time / films for time in seconds["prepare"]]
            detail = f"{seconds_of(seconds, 's')} for {films} films, {min(per_film):.3g} ms a film"
            if kind == "uncompressed":
                measured.append(figures_row(f"prepare_{kind}", per_film, method="wall time a film", detail=detail))
            else:
                measured.append(ratio_row(f"prepare_{kind}", seconds["prepare"], seconds["decode"], detail=detail))
    return measured


def _prepare(folder: Path, store: Path) -> None:
    prepare_store(FolderSource(folder), store, PrepareConfig(size=256), workers=_WORKERS)


def _decode(paths: list[Path]) -> None:
    """Every film's pixels, in as many fresh processes as a preparation has."""
    with ProcessPoolExecutor(_WORKERS, multiprocessing.get_context("spawn")) as pool:
        for _ in pool.map(_decode_one, paths, chunksize=8):
            pass


def _decode_one(path: Path) -> int:
    return int(FilmPixels(path).read()[0, 0])
