"""The bootstrap draws behind a table of results, kept so that models evaluated apart can be compared by pairs.

Two evaluations of the same studies under one protocol draw the same patients, so that subtracting their draws is the
paired bootstrap of the difference. ``draws.npz`` holds one line for each row of ``results.json`` that is a model or a
floor, and the hash of the file whose rows it means. Reading it takes no knowledge of tasks or metrics.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossray.errors import DataError
from crossray.evaluation.cells import DAMAGED_ARCHIVE
from crossray.evaluation.results import Results
from crossray.files import sha256_of, write_whole

DRAWS_FILE = "draws.npz"
DRAWS_FORMAT_VERSION = 1

#: Differences are made from these; variants are not compared across models.
_KEPT = ("model", "floor")

_REMEDY = "Run crossray evaluate again with the same --out: finished pieces are kept, it takes seconds."


def write_draws(results: Results, content: str, folder: Path) -> None:
    """Write the draws of ``results``, whose ``results.json`` is going to hold ``content``."""
    kept = [index for index, row in enumerate(results.rows) if row.kind in _KEPT and row.sample]
    if not kept:
        return
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        format_version=np.array(DRAWS_FORMAT_VERSION),
        results=np.array(hashlib.sha256(content.encode("utf-8")).hexdigest()),
        rows=np.array(kept, dtype=np.int64),
        draws=np.stack([results.rows[index].sample.draws for index in kept]),
    )
    write_whole(folder / DRAWS_FILE, buffer.getvalue())


def read_draws(folder: Path) -> dict[int, NDArray[np.float32]]:
    """Draws ``[draws]`` by the index of their row in ``results.json``.

    Raises:
        DataError: there are none, they are damaged, of another format, or of other results than those beside them.
    """
    path = folder / DRAWS_FILE
    if not path.is_file():
        raise DataError("is not there: nothing can be compared by pairs.", file=path, remedy=_REMEDY)
    try:
        with np.load(path, allow_pickle=False) as file:
            version, results = int(file["format_version"]), str(file["results"])
            rows, draws = file["rows"], file["draws"]
    except DAMAGED_ARCHIVE as error:
        raise DataError(f"cannot be read ({error}).", file=path, remedy=_REMEDY) from error
    if version != DRAWS_FORMAT_VERSION:
        problem = f"has format version {version}; this CrossRay reads {DRAWS_FORMAT_VERSION}."
        raise DataError(problem, file=path, remedy=_REMEDY)
    if results != sha256_of(folder / "results.json"):
        raise DataError("belongs to another results.json than the one beside it.", file=path, remedy=_REMEDY)
    return dict(zip(rows.tolist(), draws, strict=True))
