"""How fast are pairs loaded from a server, beside the disk, and what is fetched? ``python -m benchmarks.streaming``.

Writes a store of noise, its films as large as real ones (or takes one that is streamable), serves it on this host from
a process of its own, and loads two epochs of batches: films alone, no text and no training. Each way has a process of
its own, in turn, round by round. ``--latency`` is what the server waits before each answer, as one elsewhere would.
Seconds are those of the clock; what lies on the disk was just written, so it is read from memory.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.streaming.server import COUNTS, RangeServer
from numpy.typing import NDArray
from torch import Tensor, from_numpy
from torch.utils.data import DataLoader, Dataset

from crossray.data.block_order import BlockOrder, BlockOrderConfig
from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.reports import parse_report
from crossray.data.sampling import BatchRequest, GlobalBatchSampler
from crossray.data.store import Store
from crossray.data.streaming.mirror import table_bytes
from crossray.data.streaming.settings import StreamSettings
from crossray.data.streaming.streamable import make_streamable
from crossray.data.study import Film, Study
from crossray.files import write_json, write_whole

BATCH, ORDER, EPOCHS = 48, BlockOrderConfig(lanes=8, shuffle=64), 2
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Way:
    """How films are loaded: ``kept`` is the share of the store that the cache may hold, ``batches`` how many are."""

    name: str
    streamed: bool = False
    by_block: bool = True
    workers: int = 0
    kept: float = 1.0
    batches: int | None = None


WAYS = (
    Way("disk, all pairs permuted", by_block=False),
    Way("disk, block by block"),
    Way("server, block by block, half fits the cache", streamed=True, kept=0.5),
    Way("the same with two loader processes", streamed=True, kept=0.5, workers=2),
    Way("server, block by block, all fits the cache", streamed=True),
    Way("server, all pairs permuted, half fits: 30 batches", streamed=True, by_block=False, kept=0.5, batches=30),
)


def main() -> None:
    """Measure every way and show the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming", description=__doc__)
    parser.add_argument("--store", type=Path, help="a streamable store, instead of one of noise")
    parser.add_argument("--studies", type=int, default=6144)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency", type=float, default=0.02)
    parser.add_argument("--out", type=Path, help="a folder for the results")
    parser.add_argument("--load", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load is not None:
        place, store, url, cache = arguments.load
        print(json.dumps(load(WAYS[int(place)], Path(store), url, Path(cache))))
        return
    with tempfile.TemporaryDirectory() as folder:
        store = arguments.store or write_noise(Path(folder) / "store", arguments.studies, arguments.size)
        with served(store, arguments.latency) as url:
            found = measure(store, url, Path(folder), arguments.rounds)
        opened = Store.open(store)
        studies, film_bytes = len(opened), opened.film_count * opened.prepared_size**2
    which = f"--studies {arguments.studies} --size {arguments.size}" if arguments.store is None else "--store STORE"
    results = {
        "command": f"python -m benchmarks.streaming {which} --rounds {arguments.rounds} --latency {arguments.latency}",
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {name: version(name) for name in ("crossray", "numpy", "pyarrow", "fsspec", "aiohttp")}
        | {"python": platform.python_version()},
        "load_at_end": round(os.getloadavg()[0], 1),
        "studies": studies,
        "film_bytes": film_bytes,
        "ways": found,
    }
    print(table(results))
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        write_json(arguments.out / "streaming.json", results)
        write_whole(arguments.out / "table.md", table(results))


@dataclass(frozen=True)
class Noise:
    """The pixels of one film."""

    number: int
    size: int

    def read(self) -> NDArray[np.uint8]:
        return np.random.default_rng(self.number).integers(0, 256, (self.size, self.size), dtype=np.uint8)


@dataclass(frozen=True)
class NoiseSource:
    """Studies of one film each."""

    count: int
    size: int
    name: str = "noise"
    label_names: tuple[str, ...] = ()
    has_reports: bool = True

    def studies(self) -> Iterator[Study]:
        report = parse_report("FINDINGS: The lungs are clear.")
        for number in range(self.count):
            film = Film(f"f{number}", "frontal", Noise(number, self.size))
            yield Study(f"s{number}", None, (film,), report)

    def fingerprint(self) -> str:
        return f"{self.count} of {self.size}"


def write_noise(folder: Path, studies: int, size: int) -> Path:
    """A streamable store of films that no compression makes smaller."""
    prepare_store(NoiseSource(studies, size), folder, PrepareConfig(size=size))
    make_streamable(folder)
    return folder


@contextmanager
def served(store: Path, latency: float) -> Iterator[str]:
    """The URL of a store, served by another process."""
    here, there = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_serve, args=(store, latency, there), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        here.send("stop")
        process.join()


def _serve(store: Path, latency: float, to_parent: Connection) -> None:
    with RangeServer(store, latency=latency) as server:
        to_parent.send(server.url)
        to_parent.recv()


def measure(store: Path, url: str, folder: Path, rounds: int) -> dict[str, list[list[dict[str, float]]]]:
    """Of each way and round, the epochs."""
    found: dict[str, list[list[dict[str, float]]]] = {way.name: [] for way in WAYS}
    for number in range(rounds):
        for place, way in enumerate(WAYS):
            with tempfile.TemporaryDirectory(dir=folder) as cache:
                words = [sys.executable, "-m", "benchmarks.streaming", "--load", str(place), str(store), url, cache]
                said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
            epochs = json.loads(said)
            found[way.name].append(epochs)
            print(f"round {number + 1}, {place + 1}. {way.name}: {json.dumps(epochs)}", file=sys.stderr)
    return found


class Films(Dataset[Tensor]):
    """The films of batches, one a study."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.rows = np.array([store.films_of(study)[0] for study in range(len(store))])

    def __getitem__(self, request: BatchRequest) -> Tensor:
        return from_numpy(self.store.pixels(self.rows[request.places]))


def load(way: Way, store: Path, url: str, cache: Path) -> list[dict[str, float]]:
    """Load the epochs; of each the pairs a second, and what was asked of the server."""
    all_of_it = Store.open(store)
    films = all_of_it.film_count * all_of_it.prepared_size**2
    kept = way.kept * films + table_bytes(all_of_it.manifest)
    settings = StreamSettings(cache=str(cache), cache_gb=kept / 1e9)
    data = Films(Store.open(url, streaming=settings) if way.streamed else all_of_it)
    order = BlockOrder(ORDER, data.store.blocks_of(data.rows)) if way.by_block else None
    found = []
    for epoch in range(EPOCHS):
        sampler = GlobalBatchSampler(len(data.rows), BATCH, training=True, epoch=epoch, order=order)
        before, start = _counts(url), time.perf_counter()
        some = list(sampler)[: way.batches]
        loader: DataLoader[Tensor] = DataLoader(data, batch_size=None, sampler=some, num_workers=way.workers)
        pairs = sum(len(batch) for batch in loader)
        seconds, after = time.perf_counter() - start, _counts(url)
        asked = {name: float(after[name] - before[name]) for name in after}
        found.append({"pairs": float(pairs), "pairs_per_second": pairs / seconds, **asked})
    return found


def _counts(url: str) -> dict[str, int]:
    with urllib.request.urlopen(url + COUNTS) as answer:
        counts: dict[str, int] = json.load(answer)
    return counts


def table(results: dict[str, Any]) -> str:
    """Markdown, a row a way: medians of the rounds, with the least and the largest pairs a second."""
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    lines = [
        f"`{results['command']}`, {results['date']}, {versions}; load {results['load_at_end']}.",
        f"{results['studies']:,} studies, {results['film_bytes'] / 1e6:,.0f} MB of films; batches of {BATCH}, "
        f"{ORDER.lanes} lanes, shuffle {ORDER.shuffle}.",
        "",
        "| | pairs a second, first epoch | second epoch | requests | MB fetched (for each MB of the pairs) |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, rounds in results["ways"].items():
        speeds = [_spread([epochs[epoch]["pairs_per_second"] for epochs in rounds]) for epoch in range(EPOCHS)]
        requests = [statistics.median(epochs[epoch]["requests"] for epochs in rounds) for epoch in range(EPOCHS)]
        fetched = [statistics.median(epochs[epoch]["bytes"] for epochs in rounds) for epoch in range(EPOCHS)]
        asked = ", ".join(f"{number:,.0f}" for number in requests)
        loaded = rounds[0][0]["pairs"] / results["studies"] * results["film_bytes"]
        of_films = ", ".join(f"{n / 1e6:,.0f} ({n / loaded:.2f})" for n in fetched)
        lines.append(f"| {name} | {speeds[0]} | {speeds[1]} | {asked} | {of_films} |")
    return "\n".join(lines) + "\n"


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"
