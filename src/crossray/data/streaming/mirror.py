"""What of a store at a URL is kept on the local disk: all but its films, in a folder that opens like a store.

The folder is named by the store's hash and the URL, so a store that was changed there gets another one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from crossray.data.store_manifest import MANIFEST_NAME, StoreManifest, parse_manifest
from crossray.data.streaming.cache_room import CacheRoom
from crossray.data.streaming.film_index import film_index_name
from crossray.data.streaming.kept_stores import ORIGIN_NAME, fetching, hold
from crossray.data.streaming.remote import AbsentError, RemoteFolder
from crossray.data.streaming.settings import STORES, StreamSettings, is_url
from crossray.errors import StoreError
from crossray.files import (
    Damage,
    FileEntry,
    damages_of,
    explained_disk_errors,
    write_json,
    write_sealed_json,
    write_whole,
)
from crossray.settings import build_settings

_PIECE_BYTES = 16_000_000
_PLAIN_NAME = re.compile(r"\w[\w.-]*", re.ASCII)


def store_folder(place: Path | str, settings: StreamSettings | None = None) -> Path:
    """The folder of a store: a path as it is; for a URL the mirror of it, made or completed.

    Raises:
        StoreError: there is no store at the URL, it has no index of its films, or a file cannot be fetched.
        ConfigError: the URL cannot be read with what is installed, or the cache has no room for the tables.
    """
    if not is_url(place):
        return Path(place)
    chosen = settings or build_settings(StreamSettings, {})
    remote = RemoteFolder(str(place), chosen)
    place_of_manifest = f"{remote.shown}/{MANIFEST_NAME}"
    manifest = parse_manifest(remote.read(MANIFEST_NAME), place_of_manifest)
    remote.require_ranges(MANIFEST_NAME)
    if film_index_name(0) not in manifest.files:
        raise StoreError(
            "the store has no index of its films, so it cannot be read over a network.",
            file=remote.shown,
            remedy="Run 'crossray data streamable STORE' where it lies, and upload its new files.",
        )
    name = f"{manifest.hash[:32]}-{hashlib.sha256(str(place).encode()).hexdigest()[:8]}"
    room = CacheRoom(chosen)
    folder = room.stores / name
    with explained_disk_errors(StoreError, folder), fetching(folder):
        folder.mkdir(exist_ok=True)
        with room.writing():
            hold(folder, table_bytes(manifest))
            room.require()
        with changes_told(remote, manifest.hash):
            _complete(folder, manifest, remote, chosen.connections)
        write_json(folder / ORIGIN_NAME, {"url": str(place)})
        write_sealed_json(folder / MANIFEST_NAME, manifest.model_dump(mode="json"))
    return folder


def has_store(place: Path | str) -> bool:
    """Whether there is a store in a folder or at a URL.

    Raises:
        StoreError: the URL cannot be read.
    """
    if not is_url(place):
        return (Path(place) / MANIFEST_NAME).is_file()
    try:
        RemoteFolder(str(place), build_settings(StreamSettings, {})).read(MANIFEST_NAME)
    except AbsentError:
        return False
    return True


def below(place: Path | str, name: str) -> Path | str:
    """A folder or URL in a folder or at a URL."""
    return f"{str(place).rstrip('/')}/{name}" if is_url(place) else Path(place) / name


def origin_of(folder: Path, settings: StreamSettings | None = None) -> str | None:
    """The URL that a folder is the mirror of; ``None`` for a store that is all there.

    Mirrors lie in the cache of the settings. Elsewhere a file that came with a store makes nobody ask a server.

    Raises:
        StoreError: it was a mirror, and does not say of what any more.
    """
    path = folder / ORIGIN_NAME
    if not path.is_file():
        return None
    cache = (settings or build_settings(StreamSettings, {})).folder
    if folder.resolve().parent != (cache / STORES).resolve():
        return None
    try:
        return str(json.loads(path.read_bytes())["url"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StoreError(f"cannot be read: {error}.", file=path, remedy="Open the store by its URL again.") from error


@contextmanager
def changes_told(remote: RemoteFolder, store_hash: str) -> Iterator[None]:
    """Where a file of a store cannot be read because another store lies there by now, say that instead.

    Raises:
        StoreError: another store lies there; or what the block raises.
    """
    try:
        yield
    except StoreError:
        try:
            now = parse_manifest(remote.read(MANIFEST_NAME), f"{remote.shown}/{MANIFEST_NAME}").hash
        except StoreError:
            now = store_hash  # the server is away, and its store may be the same
        if now == store_hash:
            raise
        raise StoreError(
            f"there is another store now (hash {store_hash[:12]} when it was opened, {now[:12]} now).",
            file=remote.shown,
            remedy="Run the command again to read the new one; what belongs to the old one needs that again.",
        ) from None


def mirrored(manifest: StoreManifest) -> list[str]:
    """The files of a store that its mirror holds: all but the tables of films."""
    return [name for name in manifest.files if not (name.startswith("films-") and name.endswith(".arrow"))]


def table_bytes(manifest: StoreManifest) -> int:
    """What a mirror takes of the disk."""
    return sum(manifest.files[name].bytes or 0 for name in mirrored(manifest))


def damages_at(url: str, files: Mapping[str, FileEntry], mirror: Path, done: Callable[[str], None]) -> list[Damage]:
    """Hash files of a store where it is, in pieces of which none is kept, and list what is not as it was written.

    Args:
        url: of the store.
        files: which, and what was written.
        mirror: the folder of its mirror, in which damages are named.
        done: told each name when it has been looked at.
    """
    remote = RemoteFolder(url, build_settings(StreamSettings, {}))
    found = []
    for name, entry in files.items():
        digest, length = hashlib.sha256(), entry.bytes or 0
        try:
            for start in range(0, length, _PIECE_BYTES):
                digest.update(remote.read(name, start, min(_PIECE_BYTES, length - start)))
        except StoreError as error:
            found.append(Damage(mirror / name, f"{error.problem} (at {remote.shown})"))
        else:
            if digest.hexdigest() != entry.sha256:
                found.append(Damage(mirror / name, f"was altered at {remote.shown}: its sha256 is another."))
        done(name)
    return found


def _complete(folder: Path, manifest: StoreManifest, remote: RemoteFolder, at_once: int) -> None:
    """Fetch the files that are missing in a mirror, or damaged."""
    entries = {name: manifest.files[name] for name in mirrored(manifest)}
    strangers = [name for name in entries if not _PLAIN_NAME.fullmatch(name) or name in (ORIGIN_NAME, MANIFEST_NAME)]
    if strangers:
        raise StoreError(
            f"names a file that is none of a store: '{strangers[0]}'.",
            file=f"{remote.shown}/{MANIFEST_NAME}",
            remedy="Read no store of that server, or upload it again.",
        )

    def fetch(name: str) -> None:
        write_whole(folder / name, remote.read(name, 0, entries[name].bytes, entries[name].sha256))

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(fetch, [damage.file.name for damage in damages_of(folder, entries)]))
