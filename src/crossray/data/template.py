"""An example of the manifest format, to look at and to overwrite: four phantom films with their reports."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from PIL import Image

from crossray.data.sources.folder import LABEL_PREFIX
from crossray.data.sources.phantom import PhantomConfig, PhantomSource
from crossray.data.study import Study
from crossray.errors import DataError
from crossray.files import explained_disk_errors, whole_file, write_whole

MANIFEST_NAME, BOXES_NAME, FILMS_FOLDER = "manifest.csv", "boxes.csv", "films"

_PHANTOM = PhantomConfig(seed=2, count=4, difficulty="easy", size=192)
_LABELS = ("Cardiomegaly", "Consolidation", "Pleural Effusion", "Pneumothorax")


def write_template(folder: Path) -> Path:
    """Write ``manifest.csv``, ``boxes.csv`` and ``films/*.png``; ``crossray data prepare folder`` accepts them.

    Returns:
        The manifest.

    Raises:
        DataError: the folder holds a manifest already, or cannot be written to.
    """
    manifest = folder / MANIFEST_NAME
    if manifest.exists():
        raise DataError("is there already and is left as it is.", file=manifest, remedy="Choose another folder.")
    studies = list(PhantomSource(_PHANTOM).studies())
    with explained_disk_errors(DataError, folder):
        (folder / FILMS_FOLDER).mkdir(parents=True, exist_ok=True)
        for study in studies:
            with whole_file(folder / _film_path(study)) as file:
                Image.fromarray(study.films[0].pixels.read()).save(file, format="PNG")
        write_whole(folder / BOXES_NAME, _boxes(studies))
        write_whole(manifest, _manifest(studies))
    return manifest


def _film_path(study: Study) -> str:
    return f"{FILMS_FOLDER}/{study.study_id}.png"


def _manifest(studies: list[Study]) -> str:
    columns = ["study_id", "patient_id", "film", "view", "report", *(LABEL_PREFIX + name for name in _LABELS)]
    rows = [
        [
            study.study_id,
            study.patient_id or "",
            _film_path(study),
            study.films[0].view,
            study.report.text,
            *(f"{study.labels[name]:.0f}" for name in _LABELS),
        ]
        for study in studies
    ]
    return _csv([columns, *rows])


def _boxes(studies: list[Study]) -> str:
    rows = [
        [_film_path(study), box.label, *(f"{edge:g}" for edge in (box.x_min, box.y_min, box.x_max, box.y_max))]
        for study in studies
        for box in study.films[0].boxes
    ]
    return _csv([["film", "label", "x_min", "y_min", "x_max", "y_max"], *rows])


def _csv(rows: list[list[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()
