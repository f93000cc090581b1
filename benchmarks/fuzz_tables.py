"""Stores whose tables are whole Arrow, sealed, and hold what no study or film can be: for ``benchmarks.fuzz``."""

from __future__ import annotations

import json
import random
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
from benchmarks.fuzz import Attack, fit_manifest, mutated, mutated_json, seal

from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.sources.phantom import PhantomConfig, PhantomSource
from crossray.files import unsealed

MANIFEST = "manifest.json"
_NUMBERS = (-1, 0, 1, 7, 2**15, 2**31 - 1, -(2**31))
_REALS = (float("nan"), float("inf"), -1.0, 1e300, 0.0)
_TEXTS = ("", "\0", "x" * 3000, "../..", "FINDINGS:", "frontal", "phantom-medium-0-000000", "\u202e")


def attack_on_tables(folder: Path) -> Attack:
    """What describes, audits and splits a store, given one whose tables were made to mislead."""
    whole = folder / "whole"
    prepare_store(PhantomSource(PhantomConfig(count=4, size=64)), whole, PrepareConfig(size=32), workers=1)

    def attack(rng: random.Random) -> object:
        place = folder / "hostile"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(whole, place)
        if rng.random() < 0.15:
            content = mutated_json(unsealed(json.loads((place / MANIFEST).read_text(encoding="utf-8"))), rng)
            seal(place / MANIFEST, content if isinstance(content, dict) else {})
            return used(place)
        file = rng.choice(sorted(place.glob("*.arrow")))
        if rng.random() < 0.3:
            file.write_bytes(mutated(file.read_bytes(), rng))
        else:
            _rewrite(file, rng)
        fit_manifest(place, file, MANIFEST)
        return used(place)

    return attack


def used(place: Path) -> object:
    """Everything that commands which only open a store do with it."""
    from crossray.data.audit.store_audit import audit_store
    from crossray.data.describe import as_json, describe_store, description_lines
    from crossray.data.split_table import SplitTable, split_table
    from crossray.data.store import Store

    store = Store.open(place, every_value=True)
    description = describe_store(store)
    json.dumps(as_json(description))
    for row in range(store.film_count):
        film = store.film(row)
        store.films_of(film.study_index)
        [store.mask(row, name) for name in film.mask_names]
    split = split_table(SplitTable.from_store(store), test_fraction=0.5, texts="apart")
    return description_lines(description), audit_store(store, split).lines()


def _rewrite(file: Path, rng: random.Random) -> None:
    """Write the table with up to three values replaced, in batches and a compression of another choice."""
    with pa.ipc.open_stream(file.read_bytes()) as reader:
        schema, rows = reader.schema, reader.read_all().to_pylist()
    for _ in range(rng.randint(1, 3)):
        row, field = rng.choice(rows), schema.field(rng.randrange(len(schema)))
        row[field.name] = _other(row[field.name], field.type, rng)
    if rng.random() < 0.1:
        rows = rows[: rng.randrange(len(rows))] * rng.choice((1, 2))
    options = pa.ipc.IpcWriteOptions(compression=rng.choice((None, None, None, "zstd", "lz4")))
    table = pa.Table.from_pylist(rows, schema)
    with pa.ipc.new_stream(file, schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rng.choice((1, 2, 64)))


def _other(value: Any, kind: pa.DataType, rng: random.Random) -> Any:
    """Another value of a column's type, as far from what is meant as it can be."""
    if rng.random() < 0.15:
        return None
    if pa.types.is_list(kind):
        items = list(value or ())
        if not items or rng.random() < 0.3:
            return [] if items and rng.random() < 0.5 else [_other(None, kind.value_type, rng)] * rng.choice((1, 2, 40))
        place = rng.randrange(len(items))
        return [*items[:place], _other(items[place], kind.value_type, rng), *items[place + 1 :]]
    if pa.types.is_struct(kind):
        made = dict(value or {field.name: _other(None, field.type, rng) for field in kind})
        field = kind.field(rng.randrange(kind.num_fields))
        return {**made, field.name: _other(made[field.name], field.type, rng)}
    if pa.types.is_binary(kind):
        return mutated(value, rng) if value and rng.random() < 0.7 else rng.choice((b"", b"x" * 1024, _bomb()))
    if pa.types.is_string(kind):
        return rng.choice(_TEXTS)
    return rng.choice(_REALS if pa.types.is_floating(kind) else _NUMBERS)


def _bomb() -> bytes:
    """A PNG of a few kilobytes that says that it is 40,000 pixels wide and high."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")
    )
