"""One shard of a store, made by one worker: films read and prepared, tables written, the outcome noted last."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from crossray.data.geometry import FilmGeometry, prepare_film, prepare_mask
from crossray.data.sources.base import Rejected
from crossray.data.store import film_table_name, study_table_name
from crossray.data.store_schema import FILM_SCHEMA, STUDY_SCHEMA, FilmPixelsAndTruth, film_row, study_row
from crossray.data.store_writer import FILMS_PER_BLOCK, write_table
from crossray.data.study import Box, Film, Study
from crossray.errors import StoreError, StudyError
from crossray.files import FileEntry, explained_disk_errors, sha256_of, write_json
from crossray.settings import Settings

#: A box may leave its film by this many pixels (rounding in annotation tools); it is cut at the edge then.
BOX_TOLERANCE = 1.0


class BoxOutsideFilmError(StudyError):
    """A box does not lie on its film."""

    rule = "box_outside_film"


@dataclass(frozen=True)
class ShardJob:
    """What a worker needs to make shard ``index`` in ``folder``."""

    index: int
    folder: Path
    studies: tuple[Study, ...]
    size: int
    labels: Literal["source", "rules"]
    label_names: tuple[str, ...]

    @property
    def outcome_path(self) -> Path:
        """The note that this shard is complete; written after its tables."""
        return self.folder / f"outcome-{self.index:05d}.json"


class LeftOut(Settings):
    """A rejection as the outcome file keeps it."""

    study_id: str
    rule: str
    reason: str
    file: str | None
    row: int | str | None
    film_id: str | None


class ShardOutcome(Settings):
    """What became of a shard's studies."""

    studies: int
    films: int
    files: dict[str, FileEntry]
    left_out: tuple[LeftOut, ...]

    def rejections(self) -> list[Rejected]:
        """The studies and films that could not be used."""
        return [Rejected(**item.model_dump()) for item in self.left_out]


@dataclass
class _Progress:
    study_rows: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[Rejected] = field(default_factory=list)
    films: int = 0


def make_shard(job: ShardJob, tick: Callable[[], None]) -> ShardOutcome:
    """Prepare a shard's films and write its tables; ``tick`` is called once a film.

    The tables depend on the studies alone, so a shard made again has the same bytes. No more than a block of films
    is held in memory.

    Raises:
        StoreError: the disk is full or may not be written to.
    """
    done = _Progress()
    films, studies = film_table_name(job.index), study_table_name(job.index)
    with explained_disk_errors(StoreError, job.folder):
        film_entry = write_table(job.folder / films, FILM_SCHEMA, _film_rows(job, done, tick), FILMS_PER_BLOCK)
        study_entry = write_table(job.folder / studies, STUDY_SCHEMA, done.study_rows)
        outcome = ShardOutcome(
            studies=len(done.study_rows),
            films=done.films,
            files={films: film_entry, studies: study_entry},
            left_out=tuple(LeftOut(**asdict(problem)) for problem in done.left_out),
        )
        write_json(job.outcome_path, outcome.model_dump(mode="json"))
    return outcome


def finished_shard(job: ShardJob) -> ShardOutcome | None:
    """The outcome of a shard that an earlier run completed; ``None`` if it must be made (again)."""
    try:
        outcome = ShardOutcome.model_validate(json.loads(job.outcome_path.read_text(encoding="utf-8")))
        whole = all(sha256_of(job.folder / name) == entry.sha256 for name, entry in outcome.files.items())
    except (OSError, ValueError, ValidationError):
        return None
    return outcome if whole else None


def _film_rows(job: ShardJob, done: _Progress, tick: Callable[[], None]) -> Iterator[dict[str, Any]]:
    for study in job.studies:
        films, problems = _prepare_films(study, job.size, tick)
        done.left_out += problems
        if not films:
            reason = f"none of its films can be used: {problems[0].reason}"
            done.left_out.append(Rejected(study.study_id, "no_usable_film", reason, file=problems[0].file))
            continue
        for film in films:
            yield film_row(film, study.study_id, len(done.study_rows))
        done.films += len(films)
        done.study_rows.append(study_row(_with_phrases_on(study, films), _labels(study, job)))


def _prepare_films(
    study: Study, size: int, tick: Callable[[], None]
) -> tuple[list[FilmPixelsAndTruth], list[Rejected]]:
    films: list[FilmPixelsAndTruth] = []
    problems: list[Rejected] = []
    for film in study.films:
        try:
            films.append(_prepare(film, size))
        except StudyError as error:
            reason = " ".join(part for part in (error.problem, error.remedy) if part)
            if error.field:
                reason = f"{error.field}: {reason}"
            problems.append(Rejected(study.study_id, error.rule, reason, error.file, error.row, film.film_id))
        tick()
    return films, problems


def _prepare(film: Film, size: int) -> FilmPixelsAndTruth:
    pixels, geometry = prepare_film(film.pixels.read(), size, film.original_height, film.original_width)
    masks = {name: prepare_mask(mask.read(), geometry) for name, mask in film.masks.items()}
    boxes = tuple(_on_film(box, geometry) for box in film.boxes)
    return FilmPixelsAndTruth(film.film_id, film.view, pixels, geometry, boxes, masks)


def _on_film(box: Box, geometry: FilmGeometry) -> Box:
    height, width = geometry.original_height, geometry.original_width
    edges = (box.x_min, box.y_min, box.x_max, box.y_max)
    if not all(math.isfinite(edge) for edge in edges) or box.x_min >= box.x_max or box.y_min >= box.y_max:
        raise BoxOutsideFilmError(f"box '{box.label}' {edges} is not a box: NaN, or without area.")
    beyond = max(-box.x_min, -box.y_min, box.x_max - width, box.y_max - height)
    clipped = geometry.clip_to_film(box)
    if beyond > BOX_TOLERANCE or clipped is None:
        raise BoxOutsideFilmError(f"box '{box.label}' {edges} leaves the film of {width} x {height} pixels.")
    return clipped


def _with_phrases_on(study: Study, films: list[FilmPixelsAndTruth]) -> Study:
    kept = {film.film_id for film in films}
    return replace(study, phrase_regions=tuple(p for p in study.phrase_regions if p.film_id in kept))


def _labels(study: Study, job: ShardJob) -> list[float]:
    labels = study.labels
    if job.labels == "rules":
        from crossray.data.findings import label_report

        labels = label_report(study.report)
    return [float(labels.get(name, math.nan)) for name in job.label_names]
