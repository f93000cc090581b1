"""A run by its name on the hub: what ``crossray export --to hub-folder`` wrote and somebody put there."""

from __future__ import annotations

import re
from pathlib import Path

from crossray.errors import CheckpointError, ConfigError
from crossray.inference.calibration import CALIBRATION_FILE
from crossray.inference.run_files import CHECKPOINTS, CONFIG_FILE, MANIFEST_FILE, read_run_manifest

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_WEIGHT_FILE = re.compile(r".*\.(ckpt|pth?|safetensors|bin)", re.IGNORECASE)
#: Folders that the documents write runs to: ``demo/run`` is a demo that was not made yet, not a model of one "demo".
_USUAL_FOLDERS = ("demo", "exported", "grids", "results", "run", "runs")
#: What a run's folder holds for inference, and nothing else that may lie beside it.
_WANTED = (CONFIG_FILE, MANIFEST_FILE, CALIBRATION_FILE, f"{CHECKPOINTS}/*.safetensors", "tokenizer/*")
#: The hub's cache keeps each commit of a model in a folder of its own.
_CACHED = re.compile(r"models--([^/]+)--([^/]+)/snapshots/([0-9a-f]{40})")

_REMEDY = (
    "Give the folder of a run; or the hub id of an export with --to hub-folder, with revision= (a commit, or 'main') "
    "if it is to be asked for whatever it looks like."
)


def local_run(run: Path | str, revision: str | None = None) -> Path:
    """The path itself; or, of a string ``owner/model`` that is no path here, the folder of that name from the hub.

    Without a revision, what looks like a path is not asked for: a mistyped path is nobody's model, and what folders
    are called here is nobody's business. ``HF_HUB_OFFLINE=1`` keeps to what was fetched before.

    Args:
        run: a path, or ``owner/model``.
        revision: commit, tag or branch on the hub; with it, ``run`` is a hub id. A commit is for ever, the others move.

    Raises:
        CheckpointError: it looks like a path and is not there; or the hub has no such folder, or cannot be reached.
        ConfigError: a revision of something that is here, or is no hub id.
    """
    path = Path(run)
    named = not isinstance(run, Path) and _HUB_ID.fullmatch(run) is not None and not path.exists()
    if revision is None:
        if not named:
            return path
        if like := _like_a_path(path):
            raise CheckpointError(
                f"there is no such file or folder in {Path.cwd()}; the hub was not asked for a model of that name, "
                f"because {like}.",
                file=run,
                remedy=_REMEDY,
            )
    elif not named:
        raise ConfigError(
            f"revision '{revision}' is one of a model on the hub, and {run} is a file or folder, or no hub id.",
            field="revision",
            remedy="Leave it out, or give owner/model.",
        )
    return _fetched(str(run), revision)


def origin_of(run: Path) -> str | None:
    """``owner/model@commit`` of a run from the hub: of a folder in the hub's cache, or of an export made of one.

    Raises:
        CheckpointError: the folder's manifest is missing or damaged.
    """
    found = _CACHED.search(run.absolute().as_posix())
    return f"{found[1]}/{found[2]}@{found[3]}" if found else read_run_manifest(run).hub


def _like_a_path(path: Path) -> str:
    """Why a name that could be a hub id is taken for a path; empty if it is not."""
    first = path.parts[0]
    if path.parent.exists():
        return f"{first}/ is a folder here"
    if first in _USUAL_FOLDERS:
        return f"{first}/ is what folders of runs are usually called"
    return "it ends as a file of weights does" if _WEIGHT_FILE.fullmatch(path.name) else ""


def _fetched(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(_WANTED)))
    except Exception as error:  # the hub's client and its transport raise what they like
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        at = f" at revision '{revision}'" if revision else ""
        raise CheckpointError(
            f"there is no such file or folder in {Path.cwd()}, and the hub gave no model of that name{at} ({reason}).",
            file=name,
            remedy=_REMEDY,
        ) from error
