"""What a grid has to do, in order, and what of it is done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crossray.encoders.bert import resolve_text_encoder
from crossray.errors import CheckpointError, ConfigError
from crossray.evaluation.draws import DRAWS_FILE
from crossray.evaluation.runs import Run
from crossray.files import sha256_of_json
from crossray.grid.config import Grid
from crossray.inference.run_files import CONFIG_FILE
from crossray.settings import read_yaml
from crossray.training.logs import METRICS_FILE
from crossray.training.recipe import Recipe
from crossray.training.run_folder import config_differences, run_outcome

STAMP_FILE = "evaluated.json"

Status = Literal["done", "partial", "to do", "changed"]


@dataclass(frozen=True)
class State:
    """How far a piece is; ``detail`` says more."""

    status: Status
    detail: str = ""


@dataclass(frozen=True)
class Pretraining:
    """One run of the grid."""

    entry: str
    seed: int
    fold: str
    folder: Path
    recipe: Recipe

    @property
    def title(self) -> str:
        """What it is called in progress lines and tables."""
        return f"{self.entry}, seed {self.seed}, fold {self.fold}"

    def state(self) -> State:
        """Read from the run's folder."""
        outcome = run_outcome(self.folder)
        if outcome is None:
            return State("to do")
        encoder = resolve_text_encoder(self.recipe.text_encoder)
        different = config_differences(self.folder, self.recipe.model_copy(update={"text_encoder": encoder}))
        if different:
            return State("changed", "; ".join(different))
        if outcome == "training":
            return State("partial", f"in epoch {_epoch(self.folder)} of {self.recipe.training.epochs}")
        return State("done", outcome)


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of one entry at one seed: all folds together."""

    entry: str
    seed: int
    runs: tuple[Path, ...]
    folder: Path
    tasks: tuple[str, ...]
    settings: tuple[str, ...]
    checkpoint: str

    @property
    def title(self) -> str:
        """What it is called in progress lines and tables."""
        return f"{self.entry}, seed {self.seed}, evaluation"

    def state(self) -> State:
        """Done if the results were made from the weights and settings that are there now."""
        stamp = self.folder / STAMP_FILE
        if not stamp.is_file() or not (self.folder / DRAWS_FILE).is_file():
            return State("to do")
        try:
            same = json.loads(stamp.read_text(encoding="utf-8")) == self.stamp()
        except (ValueError, CheckpointError):
            same = False
        return State("done") if same else State("to do", "its runs or its settings have changed")

    def stamp(self) -> dict[str, str]:
        """A hash of what the results are made from."""
        weights = [Run(run, read_yaml(run / CONFIG_FILE), self.checkpoint).weights_hash for run in self.runs]
        content = {"weights": weights, "tasks": list(self.tasks), "settings": sorted(self.settings)}
        return {"made_from": sha256_of_json(content)}


Piece = Pretraining | Evaluation


def pieces_of(grid: Grid, out: Path, settings: Sequence[str], only: str | None = None) -> list[Piece]:
    """Everything to do, seed by seed: at each seed every entry's folds, each entry followed by its evaluation.

    Raises:
        ConfigError: ``only`` (names with commas) names something that is no entry.
    """
    config = grid.config
    chosen = list(config.entries) if only is None else only.split(",")
    for entry in chosen:
        if entry not in config.entries:
            raise ConfigError(f"there is no entry '{entry}'.", remedy=f"Entries are {', '.join(config.entries)}.")
    pieces: list[Piece] = []
    for seed in config.seeds:
        for entry in chosen:
            folders = {fold: out / "runs" / entry / f"seed{seed}-fold{fold}" for fold in config.folds}
            pieces += [
                Pretraining(entry, seed, fold, folder, grid.recipe(entry, seed, fold))
                for fold, folder in folders.items()
            ]
            pieces.append(
                Evaluation(
                    entry=entry,
                    seed=seed,
                    runs=tuple(folders.values()),
                    folder=results_folder(out, entry, seed),
                    tasks=grid.tasks(entry),
                    settings=tuple(settings),
                    checkpoint=config.evaluation.checkpoint,
                )
            )
    return pieces


def results_folder(out: Path, entry: str, seed: int) -> Path:
    """Where the results of an entry at a seed stand in the folder of a grid."""
    return out / "results" / entry / f"seed{seed}"


def table(states: Sequence[tuple[Piece, State]]) -> list[str]:
    """The plan as lines of text."""
    width = max(len(piece.title) for piece, _ in states)
    lines = [f"{piece.title:<{width}}  {state.status:<7}  {state.detail}".rstrip() for piece, state in states]
    counts = {status: sum(state.status == status for _, state in states) for status in ("done", "partial", "to do")}
    changed = len(states) - sum(counts.values())
    summary = ", ".join(f"{count} {status}" for status, count in counts.items())
    return [*lines, f"{len(states)} pieces: {summary}" + (f", {changed} changed" if changed else "")]


def refuse_changed(states: Sequence[tuple[Piece, State]]) -> None:
    """Refuse a grid of which a run is there with another configuration.

    Raises:
        ConfigError: naming each such run and what differs.
    """
    changed = [(piece, state) for piece, state in states if state.status == "changed"]
    if changed:
        told = "; ".join(f"{piece.title}: {state.detail}" for piece, state in changed)
        raise ConfigError(
            f"runs are there with another configuration: {told}.",
            remedy="Go back to that configuration, remove those runs, or choose another --out.",
        )


def _epoch(folder: Path) -> int:
    """The epoch that a run was in when it last wrote a line."""
    path = folder / METRICS_FILE
    last = 1
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            last = int(json.loads(line)["epoch"])
        except (ValueError, KeyError):
            continue  # cut short by a kill
    return last
