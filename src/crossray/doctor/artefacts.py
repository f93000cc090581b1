"""Stores, runs, indexes, results, split lists: whether they are whole, can be used, and belong together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from crossray.data.code_version import preparation_code
from crossray.data.split_files import read_split
from crossray.data.store_manifest import read_manifest as read_store_manifest
from crossray.data.streaming.settings import is_url
from crossray.doctor.finding import Finding
from crossray.errors import CrossRayError
from crossray.files import sha256_of
from crossray.inference.run_files import CONFIG_FILE, TRAINING, checkpoint_file, read_run_manifest
from crossray.inference.search.manifest import read_manifest as read_index_manifest
from crossray.settings import build_settings, read_yaml
from crossray.verify import Verdict, verify

_MEND = {
    "store": "Run crossray data prepare again: it makes the same store from its source, to the byte.",
    "run": "Put back a copy of the file; without one, train again into another folder.",
    "index": "Run crossray index build again.",
    "results": "Run crossray evaluate again: finished pieces are kept.",
    "split": "Put back a copy, or make it again with crossray data split.",
}


def examine(path: Path) -> list[Finding]:
    """What is to be said of an artefact, or of every one below a folder; each begins with whether it is whole.

    Raises:
        DataError: there is nothing that CrossRay wrote.
    """
    return [finding for verdict in verify(path) for finding in _of(verdict)]


def _of(verdict: Verdict) -> Iterator[Finding]:
    subject = f"{verdict.kind} {verdict.path}"
    for damage in verdict.damages:
        yield Finding("error", subject, f"{damage.file}: {damage.problem}", _MEND[verdict.kind])
    for note in verdict.notes:
        yield Finding("note", subject, note)
    if not verdict.damages:
        yield Finding("ok", subject, f"is whole: {verdict.files} files as written")
        if verdict.kind in _FURTHER:
            yield from _FURTHER[verdict.kind](verdict.path, subject)


def _store(path: Path, subject: str) -> Iterator[Finding]:
    inputs = read_store_manifest(path).inputs
    today = preparation_code(inputs.source)
    if inputs.code != today:
        said = f"was prepared by code {inputs.code}; this crossray ({today}) may read or draw its source otherwise."
        yield Finding("note", subject, said, "Prepare it again for new work; keep it for the runs that are tied to it.")


def _run(path: Path, subject: str) -> Iterator[Finding]:
    manifest = read_run_manifest(path)
    if manifest.outcome == TRAINING:
        remedy = "If it is not training now, the same crossray pretrain command goes on with it."
        yield Finding("note", subject, "is not over.", remedy)
        yield from _can_go_on(path, subject)
    yield from _loads(path, subject)
    data = read_yaml(path / CONFIG_FILE).get("data")
    if isinstance(data, dict):  # an exported run has none
        remedy = "Give its place where a command asks: crossray evaluate --store, crossray pretrain data.store=."
        yield from _its_store(subject, str(data.get("store")), manifest.made_from.get("store"), remedy)
        yield from _split_of_run(f"{subject}, its split", str(data.get("split")), manifest.made_from.get("split"))


def _can_go_on(path: Path, subject: str) -> Iterator[Finding]:
    """Whether this machine has the accelerators that the recipe of an unfinished run asks for."""
    from crossray.training.accelerators import require_accelerators
    from crossray.training.config import RuntimeConfig

    try:
        require_accelerators(build_settings(RuntimeConfig, read_yaml(path / CONFIG_FILE).get("runtime") or {}))
    except CrossRayError as error:
        yield Finding("note", subject, f"cannot go on here: {error.problem}", error.remedy or "")


def _loads(path: Path, subject: str) -> Iterator[Finding]:
    from crossray.inference.joint_model import JointModel

    try:
        model = JointModel.load(path)
    except CrossRayError as error:
        yield Finding("error", subject, f"cannot be loaded: {error.problem}", error.remedy or _MEND["run"])
    else:
        yield Finding("ok", subject, f"can be loaded: {model.method.name}")


def _its_store(owner: str, where: str, wanted: str | None, remedy: str) -> Iterator[Finding]:
    subject = f"{owner}, its store"
    if is_url(where):
        yield Finding("note", subject, "is at a URL, which is not looked at.", "crossray verify URL reads all of it.")
        return
    yield from _partner(subject, Path(where), wanted, lambda store: read_store_manifest(store).hash, remedy)


def _split_of_run(subject: str, where: str, wanted: str | None) -> Iterator[Finding]:
    try:
        found = read_split(where).hash
    except CrossRayError as error:
        yield Finding("note", subject, f"cannot be read: {error.message}", "Give its place: crossray evaluate --split.")
        return
    yield _compared(subject, where, found, wanted)


def _index(path: Path, subject: str) -> Iterator[Finding]:
    manifest = read_index_manifest(path)
    yield from _partner(
        f"{subject}, its run",
        Path(manifest.run),
        manifest.weights,
        lambda run: sha256_of(checkpoint_file(run, manifest.checkpoint)),
        "Give its place: crossray search --run.",
    )
    yield from _its_store(subject, manifest.store, manifest.store_hash, "Give its place: crossray search --store.")


def _partner(
    subject: str, place: Path, wanted: str | None, hash_of: Callable[[Path], str], remedy: str
) -> Iterator[Finding]:
    """What a run or an index was made from: still there, and still the same?"""
    if not place.exists():
        yield Finding("note", subject, f"is not at {place} (seen from {Path.cwd()}).", f"Was it moved? {remedy}")
        return
    try:
        found = hash_of(place)
    except CrossRayError as error:
        yield Finding("error", subject, error.message)
        return
    yield _compared(subject, str(place), found, wanted)


def _compared(subject: str, place: str, found: str, wanted: str | None) -> Finding:
    if found == wanted:
        return Finding("ok", subject, f"{place}, hash {found[:12]}")
    said = f"{place} has the hash {found[:12]}, {(wanted or 'none')[:12]} was used: it was made anew since."
    return Finding("error", subject, said, "Put back the one that was used, or make this again from the new one.")


_FURTHER: dict[str, Callable[[Path, str], Iterator[Finding]]] = {"store": _store, "run": _run, "index": _index}
