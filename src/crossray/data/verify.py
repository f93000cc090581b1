"""Whether a store is the one that was written: every file hashed again, strangers named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from crossray.data.sources.base import Source
from crossray.data.store import Store
from crossray.data.store_manifest import MANIFEST_NAME, PREPARE_AGAIN, StoreInputs, StoreManifest, read_manifest
from crossray.errors import StoreError
from crossray.files import sha256_of


@dataclass(frozen=True)
class Verification:
    """A store that is whole: how much was checked, and why it is stale if a source was given."""

    files: int
    bytes: int
    changes: tuple[str, ...]


def verify_store(
    path: Path, source: Source | None = None, show: Callable[[int, int], None] = lambda done, total: None
) -> Verification:
    """Hash every file of a store and compare with its manifest, then open it.

    Args:
        source: if given, the store is also compared with what it would be made from today.
        show: told (bytes hashed, bytes in all).

    Raises:
        StoreError: half-written, altered, of another version, or with files that do not belong to it.
    """
    manifest = read_manifest(path)
    _check_strangers(path, manifest)
    total = sum(entry.bytes for entry in manifest.files.values())
    done = 0
    for name, entry in manifest.files.items():
        _check_file(path / name, entry.bytes, entry.sha256)
        done += entry.bytes
        show(done, total)
    store = Store.open(path)
    if (len(store), store.film_count) != (manifest.studies, manifest.films):
        raise StoreError(
            f"holds {len(store)} studies and {store.film_count} films, its manifest says {manifest.studies} and "
            f"{manifest.films}.",
            file=path,
            remedy=PREPARE_AGAIN,
        )
    return Verification(len(manifest.files), total, _changes(manifest, source))


def _check_file(path: Path, size: int, sha256: str) -> None:
    if not path.is_file():
        raise StoreError("is missing: the store is not whole.", file=path, remedy=PREPARE_AGAIN)
    found = path.stat().st_size
    if found != size:
        raise StoreError(f"has {found} bytes, {size} were written.", file=path, remedy=PREPARE_AGAIN)
    if sha256_of(path) != sha256:
        raise StoreError("was altered: its sha256 is not the one that was written.", file=path, remedy=PREPARE_AGAIN)


def _check_strangers(path: Path, manifest: StoreManifest) -> None:
    known = {*manifest.files, MANIFEST_NAME}
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
    )
    return tuple(today.changes_since(manifest.inputs))
