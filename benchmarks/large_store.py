"""What do ten million studies cost beside ten thousand? ``python -m benchmarks.large_store``.

Writes simulated stores: tables with ids, patients, reports and labels of every study, films of a single pixel. Then, in
a process of its own for each, opens the store, lays a split over it, draws an epoch's batches and reads rows. No film
is decoded and no text tokenised: it is the index and the sampler that are measured. Prints seconds of processor time
(the machine may be busy), and memory that belongs to the process alone, without pages of the mapped files.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crossray.data.block_order import BlockOrder, BlockOrderConfig
from crossray.data.geometry import FilmGeometry
from crossray.data.reports import parse_report
from crossray.data.sampling import BatchRequest, GlobalBatchSampler
from crossray.data.split_files import rows_of_fold
from crossray.data.splits import Fold
from crossray.data.store import Store, film_table_name, study_table_name
from crossray.data.store_manifest import MANIFEST_NAME, StoreInputs, StoreManifest, content_hash
from crossray.data.store_schema import FILM_SCHEMA, STUDY_SCHEMA, FilmPixelsAndTruth, film_row, study_row
from crossray.data.store_writer import FILMS_PER_BLOCK
from crossray.data.study import Study
from crossray.files import FileEntry, whole_file, write_json, write_sealed_json, write_whole

Result = TypeVar("Result")

BATCH, BATCHES, READS = 256, 1000, 2000
_SHARDS = 256
_REPORT = "FINDINGS: The heart is normal in size. The lungs are clear.\nIMPRESSION: No acute disease."


def main() -> None:
    """Simulate and measure; or, for a process of its own, measure one store."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_store", description=__doc__)
    parser.add_argument("--studies", default="10000,10000000", help="sizes, with commas")
    parser.add_argument("--out", type=Path, help="a folder for the results")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments.measure)))
        return
    rows = []
    for studies in map(int, arguments.studies.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            simulate(Path(folder) / "store", studies)
            rows.append(_in_own_process(Path(folder) / "store"))
        print(json.dumps(rows[-1]), file=sys.stderr)
    results = {
        "command": f"python -m benchmarks.large_store --studies {arguments.studies}",
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {name: version(name) for name in ("crossray", "numpy", "pyarrow")}
        | {"python": platform.python_version()},
        "load_at_end": round(os.getloadavg()[0], 1),
        "rows": rows,
    }
    print(table(results))
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        write_json(arguments.out / "large_store.json", results)
        write_whole(arguments.out / "table.md", table(results))


def _in_own_process(store: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.large_store", "--measure", str(store)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def simulate(folder: Path, studies: int) -> None:
    """Write a store of so many studies, two of a patient, one film of one pixel each."""
    folder.mkdir(parents=True)
    report = parse_report(_REPORT)
    study = pa.RecordBatch.from_pylist([study_row(Study("", "", (), report), [0.0, 1.0])], schema=STUDY_SCHEMA)
    pixel = FilmPixelsAndTruth("", "frontal", np.zeros((1, 1), np.uint8), FilmGeometry(1, 1, 1, 1, 1), (), {})
    film = pa.RecordBatch.from_pylist([film_row(pixel, "", 0)], schema=FILM_SCHEMA)
    each = -(-studies // _SHARDS)
    files: dict[str, FileEntry] = {}
    starts = range(0, studies, each)
    for shard, start in enumerate(starts):
        numbers = np.arange(start, min(start + each, studies))
        names = {"study_id": _names("s", numbers), "patient_id": _names("p", numbers // 2)}
        files[study_table_name(shard)] = _write(folder / study_table_name(shard), [_many(study, names)])
        blocks = [
            _films(film, numbers[at : at + FILMS_PER_BLOCK], at) for at in range(0, len(numbers), FILMS_PER_BLOCK)
        ]
        files[film_table_name(shard)] = _write(folder / film_table_name(shard), blocks)
    manifest = StoreManifest(
        inputs=StoreInputs(source="simulated", fingerprint=str(studies), config={}, code="simulated"),
        prepared_size=1,
        label_names=("one", "other"),
        studies=studies,
        films=studies,
        shards=len(starts),
        files=files,
        hash=content_hash(("one", "other"), 1, files),
    )
    write_sealed_json(folder / MANIFEST_NAME, manifest.model_dump(mode="json"))


def _films(film: pa.RecordBatch, numbers: np.ndarray[Any, Any], at: int) -> pa.RecordBatch:
    ids = _names("s", numbers)
    rows = pa.array(np.arange(at, at + len(numbers)), pa.int32())
    return _many(film, {"film_id": ids, "study_id": ids, "study_row": rows})


def _many(row: pa.RecordBatch, columns: dict[str, pa.Array]) -> pa.RecordBatch:
    """A row again and again, but for some columns."""
    length = len(next(iter(columns.values())))
    whole = row.take(pa.array(np.zeros(length, dtype=np.int64)))
    arrays = [columns.get(name, whole.column(name)) for name in row.schema.names]
    return pa.RecordBatch.from_arrays(arrays, schema=row.schema)


def _names(letter: str, numbers: np.ndarray[Any, Any]) -> pa.Array:
    return pc.binary_join_element_wise(letter, pa.array(numbers).cast(pa.string()), "")


def _write(path: Path, batches: Sequence[pa.RecordBatch]) -> FileEntry:
    with whole_file(path) as file, pa.ipc.new_stream(file, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return FileEntry.of(path)


def measure(path: Path) -> dict[str, Any]:
    """Processor seconds and private memory of each step, in this process."""
    before = _private_megabytes()
    store, opened = _timed(lambda: Store.open(path))
    found: dict[str, Any] = {"studies": len(store), "open_seconds": opened, "open_mb": _private_megabytes() - before}
    sampler = GlobalBatchSampler(len(store), BATCH if len(store) >= BATCH else 1, training=True)
    requests = iter(sampler)
    _, found["first_batch_seconds"] = _timed(lambda: next(requests))
    drawn, seconds = _timed(
        lambda: sum(len(request.places) for request, _ in zip(requests, range(BATCHES), strict=False))
    )
    found |= {"sampler_mb": _private_megabytes() - before - found["open_mb"], "drawn_per_second": drawn / seconds}
    _, found["block_order_seconds"] = _timed(lambda: _first_batch_by_block(store))
    rows = np.random.default_rng(0).integers(0, len(store), READS).tolist()
    _, seconds = _timed(lambda: [(store.films_of(row), store.report(row)) for row in rows])
    found |= {"read_per_second": READS / seconds}
    held = _private_megabytes()
    ids = list(store.study_ids)
    cut = len(ids) // 10 * 8
    fold = Fold("fixed", tuple(ids[:cut]), tuple(ids[cut:]), ())
    del ids
    found["split_list_mb"] = _private_megabytes() - held
    sides, found["split_seconds"] = _timed(lambda: rows_of_fold(fold, store))
    if len(sides.train) + len(sides.validation) != len(store):
        raise AssertionError("studies were lost between split and store")
    return {name: float(f"{value:.4g}") for name, value in found.items()} | {"peak_mb": round(_peak_megabytes())}


def _first_batch_by_block(store: Store) -> BatchRequest:
    order = BlockOrder(BlockOrderConfig(lanes=1), store.blocks_of(np.arange(store.film_count)))
    return next(iter(GlobalBatchSampler(len(store), min(BATCH, len(store)), training=True, order=order)))


def _timed(action: Callable[[], Result]) -> tuple[Result, float]:
    start = time.process_time()
    result = action()
    return result, max(time.process_time() - start, 1e-9)


def _private_megabytes() -> float:
    return _status("RssAnon")


def _peak_megabytes() -> float:
    return _status("VmHWM")


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024.0


def table(results: dict[str, Any]) -> str:
    """Markdown, a column for each size."""
    names = {
        "open_seconds": "open the store, s",
        "open_mb": "memory of the opened store, MB",
        "first_batch_seconds": "order of an epoch and its first batch, s",
        "block_order_seconds": "the same block by block, s",
        "sampler_mb": "memory of the order, MB",
        "drawn_per_second": "places drawn a second",
        "read_per_second": "studies looked up a second (films, report)",
        "split_list_mb": "memory of the split's ids, MB",
        "split_seconds": "split to rows, patients checked, s",
        "peak_mb": "peak, pages of mapped files included, MB",
    }
    rows = results["rows"]
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    lines = [
        f"`{results['command']}`, {results['date']}, {versions}; processor time, load {results['load_at_end']}.",
        "",
        "| | " + " | ".join(f"{row['studies']:,.0f} studies" for row in rows) + " |",
        "| --- |" + " --- |" * len(rows),
    ]
    lines += [f"| {text} | " + " | ".join(_shown(row[name]) for row in rows) + " |" for name, text in names.items()]
    return "\n".join(lines) + "\n"


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100.0 else f"{value:.3g}"


if __name__ == "__main__":
    main()
