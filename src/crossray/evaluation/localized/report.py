"""The HTML report of localized protocols: tables, curves, and films with true and predicted masks or boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from crossray.errors import CrossRayError
from crossray.evaluation.cells import Arrays
from crossray.evaluation.detection.froc import froc_curve
from crossray.evaluation.detection.precision_recall import precision_recall_curve
from crossray.evaluation.localized.cases import Case, chosen_cases, film_dice, film_likelihood, film_precision
from crossray.evaluation.localized.films import TaskFilms
from crossray.evaluation.localized.kinds import VALIDATION, ClassificationKind, DetectionKind, SegmentationKind
from crossray.evaluation.localized.markdown import RowTable, table_of
from crossray.evaluation.localized.operating_points import OperatingPoint, box_points, label_points
from crossray.evaluation.localized.protocol import LocalizedProtocol
from crossray.evaluation.localized.table import LocalizedResults, LocalizedRow
from crossray.evaluation.localized.task_run import Outcome
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.report import REPORT_FILE, environment
from crossray.evaluation.report.figures import box_curves, epoch_curves, froc_curves, operating_curves
from crossray.evaluation.report.operating import LabelCurves, curves_of
from crossray.evaluation.report.outlines import film_with_boxes, film_with_masks
from crossray.evaluation.segmentation.counts import MaskCounts
from crossray.files import explained_disk_errors, write_whole

_BOXES_SHOWN = 5
_NO_BOXES = np.zeros((0, 4))
_HISTORY = {"validation_epoch", "validation_metric", "validation_loss"}
_COUNTS = ("true_positive", "false_positive", "false_negative", "true_negative")


@dataclass(frozen=True)
class CasePicture:
    """A film with outlines as a data URI, and what is said of it."""

    uri: str
    caption: str


@dataclass(frozen=True)
class TaskPage:
    """What the report shows of a protocol besides its numbers: points, figures (inline SVG) and films of one run."""

    protocol: LocalizedProtocol
    seed: int
    points: list[OperatingPoint] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)
    cases: list[CasePicture] = field(default_factory=list)


def task_page(
    protocol: LocalizedProtocol,
    kind: object,
    films: TaskFilms,
    outcome: Outcome,
    rows: Sequence[LocalizedRow],
    weights: FloatArray,
    level: float,
) -> TaskPage:
    """Draw a finished protocol; curves, operating points and films are of its first run.

    ``weights`` of the test films are ``[1 + draws, n]``, as for the rows; ``level`` is that of the intervals.
    """
    page = TaskPage(protocol, outcome.seeds[0], _points(kind, films, outcome.runs[0], weights, level))
    histories = [(arrays["validation_epoch"], arrays["validation_metric"]) for arrays in outcome.runs]
    page.figures.append(epoch_curves(histories, protocol.metric, f"{protocol.id}: validation by epoch"))
    arrays = outcome.runs[0]
    if isinstance(kind, ClassificationKind):
        curves = _label_curves(kind, films, arrays, rows)
        if curves:
            page.figures.append(operating_curves(curves, f"{protocol.id}: operating curves"))
        _add_labels(page, kind, films, arrays)
    elif isinstance(kind, DetectionKind):
        _add_detection(page, kind, films, arrays)
    elif isinstance(kind, SegmentationKind) and "case_films" in arrays:  # older trainings kept no masks
        _add_masks(page, kind, films, arrays)
    return page


def write_localized_report(results: LocalizedResults, pages: Sequence[TaskPage], out: Path) -> Path:
    """Write ``report.html`` into ``out``. It shows films: where they must not be passed on, nor must the page."""
    tables: dict[str, RowTable] = {
        page.protocol.id: table_of([row for row in results.rows if row.protocol == page.protocol.id]) for page in pages
    }
    content = (
        environment()
        .get_template("localized.html.j2")
        .render(
            provenance=results.provenance,
            pages=pages,
            tables=tables,
            heads={page.protocol.id: results.headline(page.protocol.id) for page in pages},
            style=(files("crossray.evaluation.report") / "style.css").read_text(encoding="utf-8"),
        )
    )
    path = out / REPORT_FILE
    with explained_disk_errors(CrossRayError, path):
        write_whole(path, content)
    return path


def _points(kind: object, films: TaskFilms, arrays: Arrays, weights: FloatArray, level: float) -> list[OperatingPoint]:
    """None of masks, nor of trainings that are older than the points: they kept nothing of validation."""
    if not any(name.startswith(VALIDATION) for name in set(arrays) - _HISTORY):
        return []
    if isinstance(kind, DetectionKind):
        validation = kind.sets(arrays, films.validation, VALIDATION)
        return box_points(validation, kind.sets(arrays, films.test), weights, level)
    if isinstance(kind, ClassificationKind):
        sides = [
            (arrays[name].astype(np.float64), kind.truth(rows).double().numpy())
            for name, rows in ((f"{VALIDATION}logits", films.validation), ("logits", films.test))
        ]
        return label_points(sides[0], sides[1], kind.protocol.targets, weights, level)
    return []


def _label_curves(
    kind: ClassificationKind, films: TaskFilms, arrays: Arrays, rows: Sequence[LocalizedRow]
) -> list[LabelCurves]:
    labels, logits = kind.truth(films.test).double().numpy(), arrays["logits"].astype(np.float64)
    found = []
    for column, name in enumerate(kind.protocol.targets):
        known = ~np.isnan(labels[:, column])
        truth = labels[known, column] > 0.5
        if 0 < truth.sum() < len(truth):
            area = next((r for r in rows if (r.metric, r.target) == ("AUROC", name) and r.value is not None), None)
            said = f", AUROC {area.value:.3f}" if area is not None else ""
            if area is not None and area.low is not None and area.high is not None:
                said += f" [{area.low:.3f}, {area.high:.3f}]"
            scores = logits[known, column]
            found.append(curves_of(name, f"n⁺ {truth.sum()}{said}", truth, scores, log_odds=scores))
    return found


def _add_detection(page: TaskPage, kind: DetectionKind, films: TaskFilms, arrays: Arrays) -> None:
    truth, sets = kind.truth(films.test), kind.sets(arrays, films.test)
    curves = {name: precision_recall_curve(found) for name, found in sets.items()}
    chosen = {point.target: point.threshold for point in page.points if point.threshold is not None}
    page.figures.append(box_curves(curves, chosen, f"{page.protocol.id}: precision and recall of boxes"))
    walks = {name: froc_curve(found) for name, found in sets.items()}
    page.figures.append(froc_curves(walks, f"{page.protocol.id}: FROC"))
    corners = np.concatenate([truth.boxes[:, :2], truth.boxes[:, :2] + truth.boxes[:, 2:]], axis=1)
    for case in chosen_cases(film_precision(list(sets.values()), len(films.test))):
        own = np.flatnonzero(arrays["film"] == case.film)
        own = own[np.argsort(-arrays["scores"][own], kind="stable")][:_BOXES_SHOWN]
        wanted = corners[truth.film.numpy() == case.film]
        uri = film_with_boxes(_pixels(films, case), kind.protocol.size, wanted, arrays["boxes"][own])
        page.cases.append(CasePicture(uri, _caption(films, case, "mAP of this film")))


def _add_labels(page: TaskPage, kind: ClassificationKind, films: TaskFilms, arrays: Arrays) -> None:
    labels = kind.truth(films.test).double().numpy()
    for case in chosen_cases(film_likelihood(expit(arrays["logits"].astype(np.float64)), labels)):
        present = [name for name, value in zip(kind.protocol.targets, labels[case.film], strict=True) if value == 1]
        caption = _caption(films, case, "probability of what is true")
        uri = film_with_boxes(_pixels(films, case), kind.protocol.size, _NO_BOXES, _NO_BOXES)
        page.cases.append(CasePicture(uri, f"{caption}: {', '.join(present) or 'none of the labels'}"))


def _add_masks(page: TaskPage, kind: SegmentationKind, films: TaskFilms, arrays: Arrays) -> None:
    kept = {int(film): bits for film, bits in zip(arrays["case_films"], arrays["case_masks"], strict=True)}
    shape = (len(kind.protocol.targets), kind.protocol.size, kind.protocol.size)
    for case in chosen_cases(film_dice(MaskCounts(*(arrays[name] for name in _COUNTS)))):
        called = np.unpackbits(kept[case.film], count=int(np.prod(shape))).reshape(shape).max(axis=0) > 0
        truth = kind.truth(films.test[[case.film]])[0].numpy()
        wanted = (truth == (1 if truth.dtype == np.bool_ else 255)).max(axis=0) > 0
        page.cases.append(
            CasePicture(
                film_with_masks(_pixels(films, case), wanted, called), _caption(films, case, "Dice of this film")
            )
        )


def _pixels(films: TaskFilms, case: Case) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = films.store.pixels([int(films.test[case.film])])[0]
    return pixels


def _caption(films: TaskFilms, case: Case, score: str) -> str:
    study = films.store.study_ids[films.store.film(int(films.test[case.film])).study_index]
    return f"{case.rank}: {score} {case.score:.3f}, study {study}"
