"""Whether what stands on the disk is what was written: stores, runs, search indexes, results and split lists.

Each has a manifest with size and sha256 of its files, and the manifest a seal of its own. Begin at :func:`verify`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from crossray.data.split_files import read_split
from crossray.data.store_manifest import read_manifest as read_store_manifest
from crossray.data.verify import check_content, store_damages
from crossray.errors import CrossRayError, DataError
from crossray.evaluation.result_files import TABLES, read_results_manifest
from crossray.files import Damage, FileEntry, damages_of
from crossray.inference.calibration import CALIBRATION_FILE, read_calibration
from crossray.inference.run_files import CHECKPOINTS, CONFIG_FILE, TRAINING, read_run_manifest
from crossray.inference.search.manifest import MANIFEST_FILE as INDEX_MANIFEST
from crossray.inference.search.manifest import read_manifest as read_index_manifest


@dataclass(frozen=True)
class Verdict:
    """What was found of one artefact.

    Attributes:
        path: its folder (a split list: its file).
        kind: ``store``, ``run``, ``index``, ``results`` or ``split``.
        files, bytes: how much was hashed.
        damages: what is missing, cut short or altered; of a store's films with the studies that they belong to.
        notes: what could not be checked, and why.
    """

    path: Path
    kind: str
    files: int = 0
    bytes: int = 0
    damages: tuple[Damage, ...] = ()
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For people: one line for what is whole, or one for each damage."""
        lines = [f"{damage.file}: {damage.problem}" for damage in self.damages]
        if lines:
            lines.append(f"{self.path} ({self.kind}) is damaged: {len(lines)} of its files are not as written.")
        else:
            lines.append(f"{self.path} ({self.kind}) is whole: {self.files} files, {self.bytes / 1e6:.1f} MB.")
        return lines + [f"  note: {note}" for note in self.notes]


def verify(path: Path) -> list[Verdict]:
    """Hash an artefact, or every one below a folder, again and compare with what was written.

    Raises:
        DataError: there is nothing there that could be verified.
    """
    found = [_guarded("split", _split, path)] if path.is_file() else list(_below(path))
    if not found:
        problem = "holds no store, run, index, results or split list." if path.exists() else "is not there."
        raise DataError(problem, file=path, remedy="Give a folder that crossray wrote.")
    return found


def _below(path: Path) -> Iterator[Verdict]:
    if path.is_file():
        if path.suffix == ".json" and '"crossray-split"' in path.read_text(encoding="utf-8", errors="replace")[:200]:
            yield _guarded("split", _split, path)
        return
    for kind, (marks, check) in _KINDS.items():
        if any(True for mark in marks for _ in path.glob(mark)):
            yield _guarded(kind, check, path)
            return
    for entry in sorted(path.iterdir()) if path.is_dir() else []:
        if not entry.name.startswith(".") and not entry.is_symlink():
            yield from _below(entry)


def _guarded(kind: str, check: Callable[[Path], Verdict], path: Path) -> Verdict:
    """What a reader refuses is a damage as well."""
    try:
        return check(path)
    except CrossRayError as error:
        return Verdict(path, kind, damages=(Damage(Path(error.file or path), error.problem),))


def _store(path: Path) -> Verdict:
    manifest = read_store_manifest(path)
    damages = store_damages(path, manifest)
    if not damages:
        check_content(path, manifest)
    return _verdict(path, "store", manifest.files, damages)


def _run(path: Path) -> Verdict:
    manifest = read_run_manifest(path)
    damages, notes = damages_of(path, manifest.files), []
    files = dict(manifest.files)
    if manifest.outcome == TRAINING:
        notes.append("the run is not over: its log has no checksum yet, its checkpoints have their own.")
        for checkpoint in sorted((path / CHECKPOINTS).glob("*.safetensors")):
            files[f"{CHECKPOINTS}/{checkpoint.name}"] = FileEntry("", checkpoint.stat().st_size)
            damages += _damage(checkpoint, _read_tensors)
    if (path / CALIBRATION_FILE).is_file():
        files[CALIBRATION_FILE] = FileEntry("", (path / CALIBRATION_FILE).stat().st_size)
        damages += _damage(path / CALIBRATION_FILE, lambda file: read_calibration(file.parent))
    if CONFIG_FILE not in files:
        notes.append("an earlier version wrote the run: configuration and tokenizer have no checksum until it is over.")
    return _verdict(path, "run", files, damages, notes)


def _read_tensors(checkpoint: Path) -> None:
    from crossray.tensor_file import read_tensors  # torch, which nothing else here needs

    read_tensors(checkpoint)


def _damage(file: Path, read: Callable[[Path], object]) -> list[Damage]:
    """Of a file that no manifest lists: its own seal tells."""
    try:
        read(file)
    except CrossRayError as error:
        return [Damage(file, error.problem)]
    return []


def _index(path: Path) -> Verdict:
    manifest = read_index_manifest(path)
    return _verdict(path, "index", manifest.files, damages_of(path, manifest.files))


def _results(path: Path) -> Verdict:
    manifest = read_results_manifest(path)
    if manifest is not None:
        notes = [
            f"{lost.file}, from which it was made: {lost.problem}" for lost in damages_of(Path(), manifest.made_from)
        ]
        return _verdict(path, "results", manifest.files, damages_of(path, manifest.files), notes)
    for table in (path / name for name in TABLES if (path / name).is_file()):
        try:
            json.loads(table.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"is not valid JSON ({error}).", file=table) from error
    return Verdict(path, "results", notes=("no checksums: an earlier version wrote them, or they were not finished.",))


def _split(path: Path) -> Verdict:
    read_split(path)
    return Verdict(path, "split", 1, path.stat().st_size)


def _verdict(
    path: Path, kind: str, files: Mapping[str, FileEntry], damages: list[Damage], notes: list[str] | None = None
) -> Verdict:
    return Verdict(
        path, kind, len(files), sum(entry.bytes or 0 for entry in files.values()), tuple(damages), tuple(notes or ())
    )


#: What is found in each kind of folder, also in one whose manifest is gone; the first that fits.
_KINDS: dict[str, tuple[tuple[str, ...], Callable[[Path], Verdict]]] = {
    "index": ((INDEX_MANIFEST, "films-*.faiss"), _index),
    "store": (("films-*.arrow", "studies-*.arrow", "quarantine.csv"), _store),
    "run": ((CONFIG_FILE, CHECKPOINTS), _run),
    "results": ((*TABLES, "results.csv", "localized.csv"), _results),
}
