"""``manifest.json`` of a store: what it holds, what it was made from, and the hash of every file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from crossray.data.store_schema import FORMAT_VERSION, READABLE_VERSIONS
from crossray.errors import ConfigError, StoreError
from crossray.files import FileEntry, sha256_of_json, unsealed
from crossray.settings import Settings, build_settings

MANIFEST_NAME = "manifest.json"
PREPARE_AGAIN = "Run 'crossray data prepare' again."


class StoreInputs(Settings):
    """What a store is made from; its hash is the store's key, so that a stale store is noticed.

    ``code`` changes when the same input would be prepared differently. ``pseudonym_key`` names the key that ids were
    hashed with (never the key itself); empty where they are the source's own.
    """

    source: str
    fingerprint: str
    config: dict[str, Any]
    code: str
    pseudonym_key: str = ""

    @property
    def key(self) -> str:
        """sha256 (hex) of the inputs."""
        return sha256_of_json(self.model_dump(mode="json"))

    def changes_since(self, earlier: StoreInputs) -> list[str]:
        """What differs from the inputs of an earlier store, in words."""
        changes = []
        if self.source != earlier.source:
            changes.append(f"source: {earlier.source} -> {self.source}")
        elif self.fingerprint != earlier.fingerprint:
            changes.append("the files of the source changed")
        if self.pseudonym_key != earlier.pseudonym_key:
            names = (inputs.pseudonym_key or "none, ids as the source has them" for inputs in (earlier, self))
            changes.append(f"key of pseudonyms: {' -> '.join(names)}")
        for name in sorted(self.config.keys() | earlier.config.keys()):
            old, new = earlier.config.get(name), self.config.get(name)
            if old != new:
                changes.append(f"{name}: {old} -> {new}")
        if self.code != earlier.code:
            changes.append(f"preparation code: {earlier.code} -> {self.code}")
        return changes


class StoreManifest(Settings):
    """The whole manifest. ``hash`` is :func:`content_hash` of what was written."""

    kind: Literal["crossray-store"] = "crossray-store"
    format_version: int = FORMAT_VERSION
    inputs: StoreInputs
    prepared_size: int
    label_names: tuple[str, ...]
    studies: int
    films: int
    shards: int
    files: dict[str, FileEntry]

    hash: str


def content_hash(label_names: Sequence[str], prepared_size: int, files: Mapping[str, FileEntry]) -> str:
    """sha256 (hex) of a store's tables: equal for equal content, wherever and whenever it was prepared."""
    tables = {name: entry.sha256 for name, entry in files.items() if name.endswith(".arrow")}
    return sha256_of_json({"labels": list(label_names), "size": prepared_size, "tables": tables})


def read_manifest(store: Path) -> StoreManifest:
    """The manifest of a store folder.

    Raises:
        StoreError: the folder is missing, half-written, of another version, or its manifest is not readable.
    """
    path = store / MANIFEST_NAME
    if not store.is_dir():
        raise StoreError("there is no such store.", file=store, remedy="Make it with 'crossray data prepare'.")
    if not path.is_file():
        raise StoreError(
            f"holds no {MANIFEST_NAME}: it is not a store, or one half-written.", file=store, remedy=PREPARE_AGAIN
        )
    try:
        return parse_manifest(path.read_bytes(), path)
    except OSError as error:
        raise StoreError(f"cannot be read: {error}.", file=path, remedy=PREPARE_AGAIN) from error


def parse_manifest(text: bytes, path: Path | str) -> StoreManifest:
    """The manifest in the bytes of its file; ``path`` names it in messages.

    Raises:
        StoreError: it is none, of another version, or was altered.
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise StoreError(f"cannot be read: {error}.", file=path, remedy=PREPARE_AGAIN) from error
    if not isinstance(content, Mapping) or content.get("kind") != "crossray-store":
        raise StoreError("is not the manifest of a store.", file=path, remedy="Give the folder of a prepared store.")
    version = content.get("format_version")
    if version not in READABLE_VERSIONS:
        raise StoreError(
            f"the store has format version {version}, this crossray reads {' and '.join(map(str, READABLE_VERSIONS))}.",
            file=path,
            field="format_version",
            remedy=f"{PREPARE_AGAIN} Or install the crossray that wrote it.",
        )
    try:
        manifest = build_settings(StoreManifest, unsealed(content), file=path)
        own_hash = content_hash(manifest.label_names, manifest.prepared_size, manifest.files)
    except ConfigError as error:
        raise StoreError(f"was altered: {error.problem}", file=path, field=error.field, remedy=PREPARE_AGAIN) from error
    except ValueError as error:
        raise StoreError(f"was altered: {error}.", file=path, remedy=PREPARE_AGAIN) from error
    if manifest.hash != own_hash:
        raise StoreError("was altered: its hash is not that of its entries.", file=path, remedy=PREPARE_AGAIN)
    return manifest
