"""The report: one HTML file that holds everything it shows, opens offline and needs no script."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import jinja2
import yaml

from crossray.errors import CrossRayError
from crossray.evaluation.cells import Arrays
from crossray.evaluation.fold import FoldEvaluation
from crossray.evaluation.protocol import Task
from crossray.evaluation.report.cases import FindingCases, finding_cases
from crossray.evaluation.report.facts import headlines, training_facts
from crossray.evaluation.report.figures import intervals_figure, learning_curves, operating_curves, read_curves
from crossray.evaluation.report.grounding import GroundedFilm, grounded_films
from crossray.evaluation.report.neighbours import Neighbours, drawn_rows, nearest_reports
from crossray.evaluation.report.operating import label_curves
from crossray.evaluation.results import Results
from crossray.evaluation.retrieval_task import fold_ranks
from crossray.evaluation.rows import LOG_ODDS, Evaluated
from crossray.evaluation.tables import METRICS_ACROSS, TASK_TITLES, tables
from crossray.evaluation.tasks import fold_scores
from crossray.files import explained_disk_errors, write_whole
from crossray.methods.base import GroundsPhrases, GroundsWords

REPORT_FILE = "report.html"

FILM_TASKS: tuple[Task, ...] = ("zero_shot", "probe", "finetune")
"""Tasks whose best and worst films are shown: they classify by the film alone."""
FILMS_SHOWN = 12
GROUNDED_SHOWN = 6


def write_report(folds: Sequence[FoldEvaluation], results: Results, out: Path) -> Path:
    """Write ``report.html`` into ``out`` and return its path.

    Pictures are of the first fold's test films. Cells that the evaluation left are read, not made again.

    Args:
        folds: the folds that were evaluated.
        results: their table.
        out: folder of the results. The page shows films: where they must not be passed on, nor must the page.
    """
    classified = _classified(folds)
    page = environment().get_template("page.html.j2")
    content = page.render(
        method=folds[0].run.method,
        results=results,
        provenance=results.provenance,
        style=(files(__package__) / "style.css").read_text(encoding="utf-8"),
        headlines=headlines(results),
        level=f"{100 * results.provenance.level:g} %",
        log_odds=LOG_ODDS,
        facts=training_facts(folds, results),
        recipe=yaml.safe_dump(dict(folds[0].run.config), sort_keys=False, allow_unicode=True),
        curves=learning_curves([read_curves(f.run.fold, f.run.path / "metrics.jsonl") for f in folds]),
        figures=_interval_figures(results),
        operating=_operating_figures(folds, classified, results),
        tables=tables(results),
        metrics_across=METRICS_ACROSS,
        cases=_cases(folds[0], classified),
        neighbours=_neighbours(folds[0]),
        grounded=_grounded(folds[0]),
        grounding_caveat=folds[0].grounding_caveat,
        attends=isinstance(folds[0].model.joint.method, GroundsWords),
        fold=folds[0].run.fold,
    )
    path = out / REPORT_FILE
    with explained_disk_errors(CrossRayError, path):
        write_whole(path, content)
    return path


def _interval_figures(results: Results) -> dict[str, str]:
    """For each classification task, the headline models' AUROC with intervals."""
    figures = {}
    for task, title in TASK_TITLES.items():
        rows = [row for row in results.select(task=task, metric="AUROC") if row.kind in ("model", "floor")]
        if rows:
            figures[task] = intervals_figure(rows, f"{title}: AUROC with intervals", results.provenance.level)
    return figures


def _classified(folds: Sequence[FoldEvaluation]) -> dict[Task, tuple[Evaluated, list[Arrays]]]:
    """For each classification task that was done, our model's line and its cell of every fold."""
    methods: dict[Task, Callable[[FoldEvaluation], Mapping[Evaluated, Arrays]]] = {
        "zero_shot": FoldEvaluation.zero_shot,
        "probe": FoldEvaluation.probe,
        "finetune": FoldEvaluation.finetune,
        "text_probe": FoldEvaluation.text_probe,
        "joint_probe": FoldEvaluation.joint_probe,
    }
    classified: dict[Task, tuple[Evaluated, list[Arrays]]] = {}
    for task, cells_of in methods.items():
        if task not in folds[0].config.tasks or folds[0].obstacle(task):
            continue
        found = [cells_of(fold) for fold in folds]
        ours = next(who for who in found[0] if who.kind == "model")
        classified[task] = ours, [cells[ours] for cells in found]
    return classified


def _operating_figures(
    folds: Sequence[FoldEvaluation], classified: Mapping[Task, tuple[Evaluated, list[Arrays]]], results: Results
) -> dict[str, str]:
    """For each classification task, the curves of our model over all folds."""
    figures: dict[str, str] = {}
    for task, (ours, cells) in classified.items():
        scores = [fold_scores(fold.run.fold, cell) for fold, cell in zip(folds, cells, strict=True)]
        curves = label_curves(task, ours, scores, folds[0].protocol, results)
        if curves:
            figures[task] = operating_curves(curves, f"{TASK_TITLES[task]}: operating curves")
    return figures


def _cases(
    fold: FoldEvaluation, classified: Mapping[Task, tuple[Evaluated, list[Arrays]]]
) -> dict[str, list[FindingCases]]:
    """For each task that classifies films, the best and worst of the first fold's test films."""
    found = {
        TASK_TITLES[task]: finding_cases(task, fold.store, fold.cohort.test, cells[0]["scores"], fold.protocol)
        for task, (_, cells) in classified.items()
        if task in FILM_TASKS
    }
    return {title: findings for title, findings in found.items() if findings}


def _neighbours(fold: FoldEvaluation) -> list[Neighbours]:
    if "retrieval" not in fold.config.tasks or fold.obstacle("retrieval"):
        return []
    cell = fold.retrieval()[fold.pretrained]
    test = fold.cohort.test
    ranks = fold_ranks(fold.run.fold, cell)["image_to_unique_text"]
    return nearest_reports(
        fold.store, test, fold.protocol.labels, cell, ranks, drawn_rows(test, fold.protocol.labels, FILMS_SHOWN)
    )


def _grounded(fold: FoldEvaluation) -> list[GroundedFilm]:
    model = fold.model.joint
    if not (model.method.reads_reports and isinstance(model.method, GroundsPhrases)):
        return []
    test = fold.cohort.test
    return grounded_films(model, fold.store, test, drawn_rows(test, fold.protocol.labels, len(test)), GROUNDED_SHOWN)


def environment() -> jinja2.Environment:
    """Templates of the pages."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("crossray.evaluation", "report"),
        autoescape=jinja2.select_autoescape(["j2", "html"], default_for_string=True),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
