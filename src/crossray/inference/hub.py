"""A run by its name on the hub: what ``crossray export --to hub-folder`` wrote and somebody put there."""

from __future__ import annotations

import re
from pathlib import Path

from crossray.errors import CheckpointError
from crossray.inference.calibration import CALIBRATION_FILE
from crossray.inference.run_files import CHECKPOINTS, CONFIG_FILE, MANIFEST_FILE

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
#: What a run's folder holds for inference, and nothing else that may lie beside it.
_WANTED = (CONFIG_FILE, MANIFEST_FILE, CALIBRATION_FILE, f"{CHECKPOINTS}/*.safetensors", "tokenizer/*")


def local_run(run: Path | str) -> Path:
    """The path itself; or, of a string ``owner/model`` that is no path here, the folder of that name from the hub.

    Nothing is asked for where ``owner`` is a folder: then it is a mistyped path. ``HF_HUB_OFFLINE=1`` keeps to what
    was fetched before.

    Raises:
        CheckpointError: the hub has no such folder, or cannot be reached.
    """
    path = Path(run)
    if isinstance(run, Path) or path.exists() or path.parent.exists() or not _HUB_ID.fullmatch(run):
        return path
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(run, allow_patterns=list(_WANTED)))
    except Exception as error:  # the hub's client and its transport raise what they like
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise CheckpointError(
            f"there is no such file or folder here, and the hub gave none of that name ({reason}).",
            file=run,
            remedy="Give the folder of a run, or the hub id of an export with --to hub-folder.",
        ) from error
