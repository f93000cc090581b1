"""A finished run done again from what it stores, and the two compared bit for bit: weights, state and log."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from crossray.data.split_files import read_split
from crossray.data.store import Store
from crossray.errors import CheckpointError, ConfigError
from crossray.evaluation.validator import RetrievalValidator
from crossray.files import damages_of, sha256_of
from crossray.inference.run_files import CHECKPOINTS, CONFIG_FILE, TRAINING, RunManifest, Sitting, read_run_manifest
from crossray.tensor_file import read_tensors
from crossray.training.accelerators import require_accelerators
from crossray.training.checkpoint import weights_file
from crossray.training.logs import METRICS_FILE
from crossray.training.pretrain import pretrain
from crossray.training.recipe import Recipe, load_recipe
from crossray.training.run_folder import sitting_now
from crossray.training.session import RunSummary

#: Figures of the log that tell how fast the machine was, and nothing of the run.
_OF_THE_CLOCK = ("pairs_per_second",)


@dataclass(frozen=True)
class Comparison:
    """One file of a run beside that of another: equal, or what differs first, in words."""

    name: str
    difference: str | None = None

    @property
    def line(self) -> str:
        """For people."""
        return f"{self.name}: {self.difference or 'bit-equal'}"


def reproduce(
    run: Path, out: Path, *, store: str | None = None, split: str | None = None, anyway: bool = False
) -> tuple[RunSummary, list[Comparison]]:
    """Train what a run was trained from once more, and compare.

    Args:
        run: a finished run.
        out: a new folder, or that of an earlier call which was stopped; it is gone on with.
        store, split: where they are now, if they were moved.
        anyway: go on though code, data or environment are not those of the run.

    Returns:
        How the second run ended, and a comparison for each file; none on all processes but the first, and while the
        second run is not over.

    Raises:
        CheckpointError: the run is not over, or was damaged.
        ConfigError: something that decides the last digits is not as it was; the message lists all of it.
    """
    manifest = _finished(run)
    recipe = load_recipe(run / CONFIG_FILE)
    moved = {name: value for name, value in (("store", store), ("split", split)) if value is not None}
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update=moved)})
    obstacles = changes_since(manifest, recipe)
    if obstacles and not anyway:
        raise ConfigError(
            f"cannot be done again as it was: {'; '.join(obstacles)}.",
            file=run,
            remedy="Bring back what differs, or give --anyway to see what it is worth.",
        )
    summary = pretrain(recipe, out, validator=RetrievalValidator())
    if summary.outcome == "interrupted" or not summary.first_process:
        return summary, []
    return summary, compare_runs(run, out)


def _finished(run: Path) -> RunManifest:
    if not (run / CONFIG_FILE).is_file():
        raise CheckpointError("is not a run folder.", file=run, remedy="Give the folder that crossray pretrain wrote.")
    manifest = read_run_manifest(run)
    if manifest.outcome == TRAINING:
        raise CheckpointError("the run is not over.", file=run, remedy="Let crossray pretrain finish it first.")
    if METRICS_FILE not in manifest.files:
        raise CheckpointError("holds no log of a training: it was exported.", file=run, remedy="Give the run itself.")
    for damage in damages_of(run, manifest.files):
        raise CheckpointError(damage.problem, file=damage.file, remedy="There is nothing whole to compare with.")
    return manifest


def changes_since(manifest: RunManifest, recipe: Recipe) -> list[str]:
    """What is not as it was when a run was made: its data, initial weights, code and environment, in words."""
    initial = recipe.training.initial_weights
    store = Store.open(recipe.data.store, every_value=True, streaming=recipe.runtime.streaming)
    made_from = {"store": store.hash, "split": read_split(recipe.data.split).hash}
    if initial is not None:
        made_from["initial_weights"] = sha256_of(weights_file(initial))
    changes = [
        f"{name.replace('_', ' ')}: hash {str(manifest.made_from.get(name, 'unknown'))[:12]} then, {now[:12]} now"
        for name, now in made_from.items()
        if manifest.made_from.get(name) != now
    ]
    if len(manifest.sittings) != 1:
        several = "was resumed with other code or another environment" if manifest.sittings else "does not say its code"
        return [*changes, f"the run {several}"]
    return changes + _differences(manifest.sittings[0], _sitting(recipe))


def _sitting(recipe: Recipe) -> Sitting:
    runtime = recipe.runtime
    require_accelerators(runtime)
    device = Fabric(accelerator=runtime.accelerator, devices=1).device
    # Under torchrun the processes are those that it started.
    return sitting_now(device, int(os.environ.get("WORLD_SIZE", runtime.devices * runtime.nodes)))


def _differences(then: Sitting, now: Sitting) -> list[str]:
    old, new = _flat(then), _flat(now)
    return [
        f"{name}: {old.get(name, 'absent')} then, {new.get(name, 'absent')} now"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def _flat(sitting: Sitting) -> dict[str, str]:
    content = sitting.model_dump(mode="json")
    versions: dict[str, str] = content.pop("versions")
    return {name: str(value) for name, value in content.items()} | versions


def compare_runs(run: Path, again: Path) -> list[Comparison]:
    """Checkpoints, tokenizer, list of what was left out, and log of two finished runs."""
    names = [name for name in read_run_manifest(run).files if name not in (CONFIG_FILE, METRICS_FILE)]
    found = []
    for name in sorted(names, key=lambda name: (not name.startswith(CHECKPOINTS), name)):
        compare = _tensors if name.startswith(CHECKPOINTS) else _bytes
        found.append(Comparison(name, compare(run / name, again / name)))
    return [*found, Comparison(METRICS_FILE, _logs(run / METRICS_FILE, again / METRICS_FILE))]


def _bytes(one: Path, other: Path) -> str | None:
    if not other.is_file():
        return "is missing in the second run"
    return None if sha256_of(one) == sha256_of(other) else "differs"


def _tensors(one: Path, other: Path) -> str | None:
    if _bytes(one, other) is None:
        return None
    if not other.is_file():
        return "is missing in the second run"
    (own, own_facts), (theirs, their_facts) = read_tensors(one), read_tensors(other)
    if own.keys() != theirs.keys():
        return f"holds other tensors, for example {min(own.keys() ^ theirs.keys())}"
    different = [name for name in own if not torch.equal(own[name], theirs[name])]
    if different:
        largest = max((own[name].double() - theirs[name].double()).abs().max().item() for name in different)
        return f"{len(different)} of {len(own)} tensors differ, by at most {largest:.3g}, first {min(different)}"
    # The identity of a run names the place of its split, which may have been moved.
    if {**own_facts, "identity": ""} != {**their_facts, "identity": ""}:
        return "tensors are bit-equal, figures beside them differ"
    return None


def _logs(one: Path, other: Path) -> str | None:
    if not other.is_file():
        return "is missing in the second run"
    records = [[_record(line) for line in path.read_text(encoding="utf-8").splitlines()] for path in (one, other)]
    for number, (own, theirs) in enumerate(zip_longest(*records, fillvalue={}), start=1):
        keys = [key for key in {**own, **theirs} if own.get(key) != theirs.get(key)]
        if keys:
            figures = f"{own.get(keys[0], 'absent')} and {theirs.get(keys[0], 'absent')}"
            return f"differs from line {number} on (step {own.get('step', theirs.get('step'))}: {keys[0]} {figures})"
    return None


def _record(line: str) -> Mapping[str, Any]:
    record: dict[str, Any] = json.loads(line)
    return {name: value for name, value in record.items() if name not in _OF_THE_CLOCK}
