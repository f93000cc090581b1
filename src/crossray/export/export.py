"""``crossray export`` from a run to a folder that something else can use, with parity checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crossray.errors import ConfigError, CrossRayError
from crossray.evaluation.results import Results, read_results
from crossray.export.card import CARD_FILE, model_card
from crossray.export.parity import LARGEST_DIFFERENCE, Parity
from crossray.export.training_facts import TrainingFacts
from crossray.files import explained_disk_errors, write_whole
from crossray.inference.joint_model import JointModel
from crossray.inference.run_files import prepared_size_of, read_model_config

Target = Literal["safetensors", "torchvision", "onnx", "hub-folder"]


@dataclass(frozen=True)
class ExportSummary:
    """What was written, how far it is from the run, and what could not be written and why."""

    files: tuple[str, ...]
    parity: tuple[Parity, ...]
    left_out: tuple[str, ...]


def export_run(
    run: Path,
    target: Target,
    out: Path,
    *,
    checkpoint: str = "best",
    results: Path | None = None,
    licence: str | None = None,
) -> ExportSummary:
    """Write a run's model for others, with a card.

    Args:
        run: a trained run.
        target: ``safetensors`` (encoders as timm and transformers name them), ``torchvision`` (ResNets), ``onnx`` (both
            sides into the joint space), ``hub-folder`` (what ``JointModel.load`` reads).
        out: a new folder.
        checkpoint: which weights.
        results: of ``crossray evaluate`` of these weights, for the card.
        licence: for the card.

    Raises:
        ConfigError: ``out`` is not empty, the target does not fit the run, ``results`` are of other weights, or a
            package is missing.
        CheckpointError: the run cannot be used.
        DataError: ``results`` holds no table.
        CrossRayError: what was written differs from the run by more than ``LARGEST_DIFFERENCE``.
    """
    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise ConfigError("is not empty.", file=out, field="--out", remedy="Choose a new folder.")
    trained = TrainingFacts.of(run, checkpoint)
    found = None if results is None else _results_of(results, trained, run)  # before anything is written
    model, config = JointModel.load(run, checkpoint), read_model_config(run)
    with explained_disk_errors(CrossRayError, out):
        out.mkdir(parents=True, exist_ok=True)
        parity, left_out = _write(run, target, checkpoint, model, out)
        reads_reports = model.method.reads_reports
        write_whole(out / CARD_FILE, model_card(config, trained, parity, found, licence, reads_reports=reads_reports))
    apart = [str(one) for one in parity if one.difference > LARGEST_DIFFERENCE]
    if apart:
        raise CrossRayError(
            f"differs from the run: {'; '.join(apart)}.", file=out, remedy="Do not use it; report this."
        )
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    return ExportSummary(tuple(files), tuple(parity), tuple(left_out))


def _results_of(folder: Path, trained: TrainingFacts, run: Path) -> Results:
    """Results for a card, if they are of these weights: a card is not to carry another model's numbers."""
    results = read_results(folder)
    if not any(f"weights {trained.weights[:16]}" in of for of in results.provenance.runs.values()):
        of = "; ".join(results.provenance.runs.values())
        raise ConfigError(
            f"are results of {of}; the weights to export are {trained.weights[:16]}.",
            file=folder,
            field="--results",
            remedy=f"Run crossray evaluate {run} --out NEW and give that folder, or export the run that they are of.",
        )
    return results


def _write(
    run: Path, target: Target, checkpoint: str, model: JointModel, out: Path
) -> tuple[list[Parity], Sequence[str]]:
    """The target's files: how far they are from the run, and what was left out. Each imports what it needs alone."""
    prepared_size = prepared_size_of(run)
    match target:
        case "onnx":
            from crossray.export.graphs import write_graphs

            return write_graphs(model, prepared_size, out)
        case "hub-folder":
            from crossray.export.hub_folder import write_hub_folder

            return write_hub_folder(run, checkpoint, model, prepared_size, out), ()
        case "torchvision":
            from crossray.export.weights import write_torchvision

            return write_torchvision(model, prepared_size, out), ()
        case "safetensors":
            from crossray.export.weights import write_encoders

            return write_encoders(model, prepared_size, out)
