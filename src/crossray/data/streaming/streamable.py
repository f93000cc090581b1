"""Make a prepared store readable by URL: an index of the films of every shard, entered in its manifest."""

from __future__ import annotations

from pathlib import Path

from crossray.data.film_table import FilmShard
from crossray.data.store import film_table_name
from crossray.data.store_manifest import MANIFEST_NAME, read_manifest
from crossray.data.store_schema import FILM_SCHEMA
from crossray.data.store_tables import read_table
from crossray.data.streaming.film_index import film_index_name, write_film_index
from crossray.data.verify import open_whole
from crossray.errors import StoreError
from crossray.files import explained_disk_errors, write_sealed_json


def make_streamable(folder: Path) -> int:
    """Write ``films-*.index`` beside a store's tables; returns how many. Done again, it changes nothing.

    The tables and the store's hash stay as they are, so runs that were trained on it belong to it still.

    Raises:
        StoreError: the store is not whole, or cannot be written to.
    """
    manifest = read_manifest(folder)
    names = {film_index_name(shard): film_table_name(shard) for shard in range(manifest.shards)}
    if names.keys() <= manifest.files.keys():
        return len(names)
    for name in names:  # of a run that was killed before it wrote the manifest
        (folder / name).unlink(missing_ok=True)
    open_whole(folder)  # an index of damaged films would vouch for them
    files = dict(manifest.files)
    with explained_disk_errors(StoreError, folder):
        for index, table in names.items():
            mapped, read = read_table(folder, table, FILM_SCHEMA, manifest)
            films = FilmShard.of(mapped, read, manifest.prepared_size, folder / table)
            files[index] = write_film_index(folder / index, read, films, manifest.prepared_size)
        content = manifest.model_copy(update={"files": files}).model_dump(mode="json")
        write_sealed_json(folder / MANIFEST_NAME, content)
    return len(names)
