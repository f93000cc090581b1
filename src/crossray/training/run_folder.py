"""A run's folder: which recipe it belongs to, what it was made from, and when it is complete."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

import crossray
from crossray.data.pairs import LeftOut
from crossray.errors import CheckpointError, ConfigError
from crossray.files import (
    FileEntry,
    damages_of,
    explained_disk_errors,
    sha256_of_json,
    write_sealed_json,
    write_whole,
)
from crossray.inference.run_files import (
    CHECKPOINTS,
    CONFIG_FILE,
    MANIFEST_FILE,
    TRAINING,
    RunManifest,
    Sitting,
    checkpoint_file,
    read_run_manifest,
)
from crossray.settings import read_yaml
from crossray.tensor_file import read_tensors
from crossray.training.logs import METRICS_FILE
from crossray.training.recipe import Recipe, differences, recipe_text
from crossray.versions import code_version, versions

LEFT_OUT_FILE = "left_out.csv"
TOKENIZER = "tokenizer"

#: Rooms that stand above training, which therefore changes nothing with them.
_WITHOUT_INFLUENCE = frozenset(
    {
        *("cli", "demo.py", "doctor", "environment.py", "export", "grid", "recipes", "reproduce.py", "serve"),
        *("plots.py", "twins", "verify.py"),
    }
)

# What may differ when a run is resumed: how it is carried out, and the store's place (its content is hashed).
_FREE = (("runtime", None), ("data", "store"))
# Keys that came later and are null unless they are used: runs begun before them go on.
_LATER = (("data", "order"),)


@dataclass(frozen=True)
class Provenance:
    """Hashes of what a run is made from, and the side of the films that it was given.

    ``initial_weights`` is the file's whose weights it begins with, if there is one.
    """

    store: str
    split: str
    prepared_size: int
    initial_weights: str | None = None

    def identity(self, recipe: Recipe) -> str:
        """sha256 of everything that must be the same for a run to be resumed."""
        content = _without_free(recipe.model_dump(mode="json"))
        return sha256_of_json({"recipe": content, "store": self.store, "split": self.split})


def open_run(folder: Path, recipe: Recipe, provenance: Provenance, sitting: Sitting) -> None:
    """Make a run's folder, or check that the one there belongs to this recipe and is whole.

    Raises:
        ConfigError: a run with another configuration is there; the message names what differs.
        CheckpointError: a file of the run was damaged, the folder holds something else, or cannot be written.
    """
    config = folder / CONFIG_FILE
    if config.is_file():
        different = config_differences(folder, recipe)
        if different:
            raise ConfigError(
                f"holds a run with another configuration: {'; '.join(different)}.",
                file=folder,
                remedy="Choose another output folder, or go back to the configuration of the run.",
            )
        _sit_down_again(folder, sitting)
        return
    # What a kill may leave before there is a configuration: hidden parts of files, and the manifest.
    if folder.exists() and any(not p.name.startswith(".") and p.name != MANIFEST_FILE for p in folder.iterdir()):
        raise CheckpointError("is not empty and holds no run.", file=folder, remedy="Choose a new folder for the run.")
    made_from = {"store": provenance.store, "split": provenance.split}
    if provenance.initial_weights is not None:
        made_from["initial_weights"] = provenance.initial_weights
    manifest = RunManifest(
        crossray=crossray.__version__,
        outcome=TRAINING,
        made_from=made_from,
        prepared_size=provenance.prepared_size,
        sittings=(sitting,),
    )
    with explained_disk_errors(CheckpointError, folder):
        folder.mkdir(parents=True, exist_ok=True)
        _write_manifest(folder, manifest)
        write_whole(config, recipe_text(recipe))  # last: its presence says that the folder is set up


def _sit_down_again(folder: Path, sitting: Sitting) -> None:
    """Check the files of the run that is there, and note with what it is gone on with.

    A run that was over and whose checkpoints were deleted is trained again from its beginning.
    """
    manifest = read_run_manifest(folder)
    if manifest.outcome != TRAINING and not (folder / CHECKPOINTS).exists():
        fixed = {name: entry for name, entry in manifest.files.items() if _is_fixed(name)}
        manifest = manifest.model_copy(update={"outcome": TRAINING, "files": fixed, "sittings": (sitting,)})
    for damage in damages_of(folder, manifest.files):
        lies = f"delete {folder / CHECKPOINTS} to train again" if CHECKPOINTS in damage.file.parts else "begin anew"
        raise CheckpointError(damage.problem, file=damage.file, remedy=f"Put back a copy, or {lies}.")
    if manifest.outcome == TRAINING:
        # Runs of earlier versions do not say with what they began, and are not to look as if all of it were known.
        if manifest.sittings and manifest.sittings[-1] != sitting:
            manifest = manifest.model_copy(update={"sittings": (*manifest.sittings, sitting)})
        _write_manifest(folder, manifest)


def _is_fixed(name: str) -> bool:
    """Whether a file of a run does not change any more while it trains."""
    return name == CONFIG_FILE or name.startswith(f"{TOKENIZER}/")


def note_inputs(folder: Path) -> None:
    """Note the hashes of configuration and tokenizer, so that a resumed run is one with the same."""
    manifest = read_run_manifest(folder)
    if manifest.outcome == TRAINING and not manifest.files:
        _write_manifest(folder, manifest.model_copy(update={"files": _entries(folder, [CONFIG_FILE], [TOKENIZER])}))


def config_differences(folder: Path, recipe: Recipe) -> list[str]:
    """Where the run in ``folder`` and a resolved recipe differ, without what may differ when a run is resumed."""
    before = _without_free(read_yaml(folder / CONFIG_FILE))
    now, chosen = recipe.model_dump(mode="json"), recipe.model_dump(mode="json", exclude_defaults=True)
    return differences(before, _without_free(now), _without_free(chosen))


def run_outcome(folder: Path) -> str | None:
    """``training``, or how the run ended (``finished``, ``stopped early``); None if there is no run."""
    return read_run_manifest(folder).outcome if (folder / CONFIG_FILE).is_file() else None


def list_left_out(folder: Path, left_out: Sequence[LeftOut]) -> None:
    """Write ``left_out.csv``: the studies of the split that make no pair, with the reason (only if there are any)."""
    if not left_out:
        return
    rows = [(left.study_id, left.reason) for left in left_out]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("study_id", "reason"), *rows])
    with explained_disk_errors(CheckpointError, folder):
        write_whole(folder / LEFT_OUT_FILE, text.getvalue())


def seal_run(folder: Path, outcome: str) -> None:
    """Write the manifest of a run that is over, with size and sha256 of its files.

    Raises:
        CheckpointError: a checkpoint was damaged since it was written, or the disk is full.
    """
    checkpoint_file(folder, "best")
    for path in sorted((folder / CHECKPOINTS).glob("*.safetensors")):
        read_tensors(path)  # a seal over damaged weights would vouch for them
    names = [CONFIG_FILE, METRICS_FILE, *([LEFT_OUT_FILE] if (folder / LEFT_OUT_FILE).is_file() else [])]
    entries = _entries(folder, names, [TOKENIZER, CHECKPOINTS])
    _write_manifest(folder, read_run_manifest(folder).model_copy(update={"outcome": outcome, "files": entries}))


def _entries(folder: Path, names: Sequence[str], parts: Sequence[str]) -> dict[str, FileEntry]:
    """Entries of files, and of all in some folders of a run."""
    below = [
        path.relative_to(folder).as_posix()
        for part in parts
        for path in sorted((folder / part).rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    ]
    return {name: FileEntry.of(folder / name) for name in [*names, *below]}


def _write_manifest(folder: Path, manifest: RunManifest) -> None:
    with explained_disk_errors(CheckpointError, folder):
        write_sealed_json(folder / MANIFEST_FILE, manifest.model_dump(mode="json", exclude_none=True))


def sitting_now(device: torch.device, processes: int) -> Sitting:
    """What this process would train with."""
    on_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if on_gpu else f"{device.type} {torch.backends.cpu.get_cpu_capability()}"
    code = code_version(files("crossray"), _WITHOUT_INFLUENCE)
    return Sitting(code=code, versions=versions(), device=name, threads=torch.get_num_threads(), processes=processes)


def _without_free(content: dict[str, Any]) -> dict[str, Any]:
    kept = {name: dict(section) if isinstance(section, dict) else section for name, section in content.items()}
    for section, key in _FREE:
        if key is None:
            kept.pop(section, None)
        elif isinstance(kept.get(section), dict):
            kept[section].pop(key, None)
    for section, key in _LATER:
        if isinstance(kept.get(section), dict) and kept[section].get(key, "") is None:
            del kept[section][key]
    return kept
