"""A calibration of a run, as ``crossray calibrate`` writes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from crossray.files import sha256_of, write_sealed_json
from crossray.inference.calibration import CALIBRATION_FILE, Calibration, FindingCalibration

FACTS = {
    "checkpoint": "best",
    "source": "phantom",
    "store_hash": "h",
    "split_protocol": "phantom-demo",
    "split_hash": "s",
    "fold": "0",
    "protocol": "phantom-demo",
    "views": ("frontal",),
    "bank": "chexpert-v1",
    "films": 120,
    "draws": 10,
    "level": 0.95,
    "seed": 0,
    "crossray": "0",
    "date": "today",
}


def write_calibration(run: Path, findings: Mapping[str, FindingCalibration]) -> None:
    """Write the calibration of the run's best weights."""
    weights = sha256_of(run / "checkpoints" / "best.safetensors")
    made = Calibration.model_validate({**FACTS, "weights": weights, "findings": findings})
    write_sealed_json(run / CALIBRATION_FILE, made.model_dump(mode="json"))
