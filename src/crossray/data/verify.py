"""Whether a store is the one that was written: every file hashed again, and whose films a damage hits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from crossray.data.sources.base import Source
from crossray.data.sources.deidentified import pseudonym_key_of
from crossray.data.store import Store, film_table_name, study_table_name
from crossray.data.store_manifest import MANIFEST_NAME, PREPARE_AGAIN, StoreInputs, StoreManifest, read_manifest
from crossray.data.store_schema import study_schema
from crossray.data.store_tables import read_table
from crossray.data.streaming.kept_stores import ORIGIN_NAME
from crossray.data.streaming.mirror import damages_at, mirrored, origin_of, store_folder
from crossray.data.streaming.settings import StreamSettings
from crossray.errors import StoreError
from crossray.files import Damage, damages_of


@dataclass(frozen=True)
class Verification:
    """A store that is whole: how much was checked, and why it is stale if a source was given."""

    files: int
    bytes: int
    changes: tuple[str, ...]


def verify_store(
    path: Path | str, source: Source | None = None, show: Callable[[int, int], None] = lambda done, total: None
) -> Verification:
    """Hash every file of a store and compare with its manifest, then open it.

    Args:
        path: its folder, or a URL: then every film is fetched once, and none is kept.
        source: if given, the store is also compared with what it would be made from today.
        show: told (bytes hashed, bytes in all).

    Raises:
        StoreError: half-written, altered, of another version, or with files that do not belong to it; of several
            damages the first, and which studies it hits.
    """
    folder = store_folder(path)
    manifest = read_manifest(folder)
    damages = store_damages(folder, manifest, show)
    if damages:
        first = damages[0]
        more = f" {len(damages) - 1} more files are damaged." if damages[1:] else ""
        raise StoreError(first.problem + more, file=first.file, remedy=_REMEDY)
    check_content(folder, manifest)
    return Verification(len(manifest.files), _total(manifest), _changes(manifest, source))


def check_content(path: Path, manifest: StoreManifest) -> None:
    """Open a store whose files are whole: it holds what its manifest counts, and nothing else.

    Raises:
        StoreError: it does not.
    """
    _check_strangers(path, manifest)
    store = Store.open(path, every_value=True)
    if (len(store), store.film_count) != (manifest.studies, manifest.films):
        raise StoreError(
            f"holds {len(store)} studies and {store.film_count} films, its manifest says {manifest.studies} and "
            f"{manifest.films}.",
            file=path,
            remedy=PREPARE_AGAIN,
        )


def open_whole(place: Path | str, streaming: StreamSettings | None = None) -> Store:
    """Open a store after hashing all of it: what is computed from a flipped bit cannot be told from a finding.

    Of a store at a URL films are not hashed now but as they come.

    Raises:
        StoreError: as :func:`verify_store`.
    """
    folder = store_folder(place, streaming)
    if origin_of(folder, streaming) is None:
        verify_store(folder)
        return Store.open(folder)
    return Store.open(folder, every_value=True, streaming=streaming)


def store_damages(
    path: Path, manifest: StoreManifest, show: Callable[[int, int], None] = lambda done, total: None
) -> list[Damage]:
    """Every file of a store that is missing, cut short or altered; that of a shard with the studies it holds."""
    done, total = 0, _total(manifest)

    def tell(name: str) -> None:
        nonlocal done
        done += manifest.files[name].bytes or 0
        show(done, total)

    origin = origin_of(path)
    if origin is None:
        found = damages_of(path, manifest.files, tell)
    else:
        here = {name: manifest.files[name] for name in mirrored(manifest)}
        there = {name: entry for name, entry in manifest.files.items() if name not in here}
        found = [*damages_of(path, here, tell), *damages_at(origin, there, path, tell)]
    hit = {damage.file.name for damage in found}
    return [Damage(damage.file, damage.problem + _studies_of(damage.file, hit, manifest)) for damage in found]


_REMEDY = f"{PREPARE_AGAIN} It makes the store anew from its source, to the same bytes."


def _studies_of(file: Path, damaged: set[str], manifest: StoreManifest) -> str:
    """Which studies a damaged table of films holds, as far as its table of studies is whole."""
    shard = file.stem.removeprefix("films-")
    if not shard.isdecimal() or file.name != film_table_name(int(shard)):
        return ""
    studies = study_table_name(int(shard))
    if studies in damaged:
        return ""
    schema = study_schema(manifest.format_version)
    _, table = read_table(file.parent, studies, schema, manifest, every_value=True)
    ids = table.column("study_id").to_pylist()
    return f" It holds the films of {len(ids)} studies: {', '.join(ids)}."


def _total(manifest: StoreManifest) -> int:
    return sum(entry.bytes or 0 for entry in manifest.files.values())


def _check_strangers(path: Path, manifest: StoreManifest) -> None:
    known = {*manifest.files, MANIFEST_NAME, *([] if origin_of(path) is None else [ORIGIN_NAME])}
    strangers = sorted(entry.name for entry in path.iterdir() if entry.name not in known)
    if strangers:
        raise StoreError(
            f"{len(strangers)} entries do not belong to the store, for example '{strangers[0]}'.",
            file=path,
            remedy="Move them elsewhere; a store's folder holds nothing else.",
        )


def _changes(manifest: StoreManifest, source: Source | None) -> tuple[str, ...]:
    if source is None:
        return ()
    today = StoreInputs(
        source=source.name,
        fingerprint=source.fingerprint(),
        config=manifest.inputs.config,
        code=manifest.inputs.code,
        pseudonym_key=pseudonym_key_of(source),
    )
    return tuple(today.changes_since(manifest.inputs))
