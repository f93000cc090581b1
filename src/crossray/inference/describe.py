"""What a run folder says of itself, in a few lines for a bug report."""

from __future__ import annotations

from pathlib import Path

from crossray.files import sha256_of
from crossray.inference.calibration import Calibrator
from crossray.inference.hub import origin_of
from crossray.inference.run_files import checkpoint_file, read_model_config, read_run_manifest


def describe_run(run: Path, checkpoint: str = "best") -> dict[str, str]:
    """Name and value of each fact, in the order in which they are shown.

    Raises:
        CheckpointError, ConfigError: the folder is no run, or is damaged.
    """
    method, made = read_model_config(run).method, read_run_manifest(run)
    calibrator = Calibrator.of_run(run, checkpoint)
    facts = {"run": str(run)}
    if origin := origin_of(run):
        facts["hub"] = origin
    facts |= {
        "method": f"{method.name}, preset {method.preset}",
        "weights": f"{checkpoint}, sha256 {sha256_of(checkpoint_file(run, checkpoint))}",
        "written by": f"crossray {made.crossray} ({made.outcome})",
    }
    if made.weights_of:
        facts["exported from"] = f"weights sha256 {made.weights_of}"
    facts |= {f"made from {name}": value for name, value in made.made_from.items()}
    fitted = calibrator.calibration
    return facts | {"calibration": fitted.of_films if fitted else calibrator.why_not}
