"""CrossRay learns image and text representations together from chest X-rays and their reports.

Importing this package imports nothing heavy and does nothing: every name is found in its room
(``crossray.data``, ``crossray.alignment``, ``crossray.methods``, ...), and :func:`load` imports what it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from crossray.inference.model import Model

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(
    run: Path | str,
    checkpoint: str = "best",
    device: str = "cpu",
    vocabulary: str = "emilyalsentzer/Bio_ClinicalBERT",
    revision: str | None = None,
) -> Model:
    """A trained run for use in other programs: ``crossray.load("runs/mine").embed_images(["film.dcm"])``.

    Args:
        run: folder of ``crossray pretrain``, or of ``crossray export --to hub-folder``; the hub id of such an export,
            ``owner/model``; or a released checkpoint of GLoRIA, MGCA, PRIOR or LoVT, a file.
        checkpoint: which of the run's weights, ``best`` or ``last``.
        device: where to compute.
        vocabulary: of a released checkpoint, which holds none: folder or hub id of the BERT that it began with.
        revision: of a hub id: commit, tag or branch. Give the commit that ``crossray info owner/model`` prints to get
            the same weights at every call.

    Raises:
        CheckpointError, ConfigError: the folder is no run, or is damaged; the file is of another layout; it looks like
            a path and is not there; or the hub has nothing of that name.
    """
    from crossray.inference.hub import local_run
    from crossray.inference.model import Model

    return Model.load(local_run(run, revision), checkpoint, device=device, vocabulary=vocabulary)
