"""Figures of the report as inline SVG, drawn by matplotlib, coloured by the page's own style (light and dark)."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossray.evaluation.detection.froc import FrocCurve
from crossray.evaluation.detection.precision_recall import PrecisionRecallCurve
from crossray.evaluation.figure_style import STYLE
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.report.operating import LabelCurves
from crossray.evaluation.results import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours that stand for variables of the page's style: replaced once the SVG is drawn.
_INK, _MUTED, _GRID = "#010203", "#020304", "#030405"
_SERIES = ("#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04")
_VARIABLES = {
    _INK: "var(--ink)",
    _MUTED: "var(--muted)",
    _GRID: "var(--line)",
    **{colour: f"var(--series-{place})" for place, colour in enumerate(_SERIES, start=1)},
}

_STYLE: dict[str, Any] = {
    **STYLE,
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _MUTED,
    "axes.titlecolor": _INK,
    "axes.titlesize": 10,
    "grid.color": _GRID,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
}


@dataclass(frozen=True)
class Curves:
    """A run's ``metrics.jsonl``: for each figure the epochs (a fraction inside an epoch) and its values."""

    fold: str
    train: Mapping[str, list[tuple[float, float]]]
    validation: Mapping[str, list[tuple[float, float]]]


def read_curves(fold: str, path: Path) -> Curves:
    """Read the lines that a run wrote; a line cut short by a kill is left out."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    last = max((r["step"] for r in records), default=1)
    epochs = max((r["epoch"] for r in records), default=1)
    series: dict[str, dict[str, list[tuple[float, float]]]] = {"train": {}, "validation": {}}
    for record in records:
        for name, value in record.items():
            if name not in ("kind", "step", "epoch") and record["kind"] in series and isinstance(value, int | float):
                series[record["kind"]].setdefault(name, []).append((epochs * record["step"] / last, float(value)))
    return Curves(fold, series["train"], series["validation"])


#: Of figures whose names do not say what they are.
_TITLES = {
    "recall_mean": "mean of R@K, both ways",
    "map": "mAP",
    "auroc": "AUROC",
    "f1": "F1",
    "froc": "FROC",
    "dice": "Dice",
    "dice_empty_is_one": "Dice, empty = 1",
}


def learning_curves(runs: Sequence[Curves]) -> str:
    """Loss in training and validation, and whatever retrieval figure the validation printed, one line a fold."""
    extra = [name for name in _validation_names(runs) if name.startswith("recall")][:1]
    panels = ["loss", *extra]
    with _figure(3.4 * len(panels) + 0.6, 2.6) as figure:
        for place, name in enumerate(panels, start=1):
            axes = figure.add_subplot(1, len(panels), place)
            for run in runs:
                if name in run.train:
                    _line(axes, _smooth(run.train[name]), 0, "training" if run is runs[0] else None)
                if name in run.validation:
                    _line(axes, run.validation[name], 1, "validation" if run is runs[0] else None, marker="o")
            axes.set_title(_TITLES.get(name, name.replace("_", " ")))
            axes.set_xlabel("epoch")
            axes.legend()
        return _svg(figure, "Learning curves: loss in training and validation by epoch")


def intervals_figure(rows: Sequence[Row], title: str, level: float = 0.95) -> str:
    """Estimates with their intervals of ``level``: labels down, one colour a model; a line at chance (0.5)."""
    models = list(dict.fromkeys((row.model, row.variant) for row in rows))
    targets = list(dict.fromkeys(row.target for row in rows))
    with _figure(7.4, 0.34 * len(targets) + 1.2) as figure:
        axes = figure.add_subplot()
        for number, model in enumerate(models):
            shift = 0.22 * (number - (len(models) - 1) / 2)
            for row in rows:
                if (row.model, row.variant) == model and row.value is not None:
                    y = targets.index(row.target) + shift
                    if row.low is not None and row.high is not None:
                        axes.plot([row.low, row.high], [y, y], color=_SERIES[number % 4], linewidth=1.6)
                    axes.plot(row.value, y, "o", markersize=4.5, color=_SERIES[number % 4])
            axes.plot([], [], "o-", color=_SERIES[number % 4], label=model[0])
        axes.axvline(0.5, color=_MUTED, linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(targets)), targets)
        axes.invert_yaxis()
        axes.set_xlabel(f"AUROC with its {100 * level:g} % interval")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(models), borderaxespad=0)
        return _svg(figure, title)


def operating_curves(curves: Sequence[LabelCurves], title: str) -> str:
    """ROC, precision and recall, and reliability where scores are probabilities; dashed from the fifth label."""
    with_reliability = any(curve.reliable is not None for curve in curves)
    panels = 3 if with_reliability else 2
    with _figure(3.3 * panels, 3.3 + 0.2 * len(curves)) as figure:
        axes = [figure.add_subplot(1, panels, place + 1) for place in range(panels)]
        axes[0].plot([0, 1], [0, 1], color=_MUTED, linewidth=0.8, linestyle=":")
        for number, curve in enumerate(curves):
            style: dict[str, Any] = {
                "color": _SERIES[number % 4],
                "linewidth": 1.4,
                "linestyle": "-" if number < len(_SERIES) else "--",
            }
            axes[0].plot(*curve.roc.T, label=f"{curve.label} ({curve.note})", **style)
            axes[1].plot(*curve.precision_recall.T, **style)
            axes[1].axhline(curve.prevalence, color=style["color"], linewidth=0.7, linestyle=":")
            if curve.reliable is not None:
                error = f"ECE {curve.calibration_error:.3f}"
                axes[2].plot(
                    curve.reliable.probability, curve.reliable.frequency, marker="o", markersize=3, label=error, **style
                )
        names = [("ROC", "false positives", "true positives"), ("Precision and recall", "recall", "precision")]
        names += [("Reliability", "said probability", "share with the finding")] if with_reliability else []
        for own, (name, x, y) in zip(axes, names, strict=True):
            own.set(title=name, xlabel=x, ylabel=y)
        if with_reliability:
            _square_of_probabilities(axes[2], curves)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left", fontsize=8)
        return _svg(figure, title)


def box_curves(curves: Mapping[str, PrecisionRecallCurve], chosen: Mapping[str, float], title: str) -> str:
    """Precision by recall of boxes, one line a class; a dot at the confidence that was chosen on validation."""
    with _figure(5.4, 3.0 + 0.12 * len(curves)) as figure:
        axes = figure.add_subplot()
        for number, (name, curve) in enumerate(curves.items()):
            colour, style = _SERIES[number % 4], "-" if number < len(_SERIES) else "--"
            axes.plot(curve.recall, curve.precision, style, color=colour, linewidth=1.4, label=name)
            called = int((curve.confidence >= chosen.get(name, float("inf"))).sum())
            if called:
                axes.plot(curve.recall[called - 1], curve.precision[called - 1], "o", color=colour, markersize=5)
        axes.set(
            title="Precision and recall", xlabel="recall", ylabel="precision", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02)
        )
        axes.legend(loc="best", fontsize=8)
        return _svg(figure, title)


def froc_curves(curves: Mapping[str, FrocCurve], title: str) -> str:
    """Sensitivity by false positives an image, up to eight, one line a class."""
    with _figure(5.4, 3.0 + 0.12 * len(curves)) as figure:
        axes = figure.add_subplot()
        for number, (name, curve) in enumerate(curves.items()):
            style = "-" if number < len(_SERIES) else "--"
            axes.plot(
                curve.false_per_image, curve.sensitivity, style, color=_SERIES[number % 4], linewidth=1.4, label=name
            )
        axes.set(title="FROC", xlabel="false positives an image", ylabel="sensitivity", xlim=(0, 8), ylim=(0, 1.02))
        axes.legend(loc="best", fontsize=8)
        return _svg(figure, title)


def epoch_curves(runs: Sequence[tuple[FloatArray, FloatArray]], metric: str, title: str) -> str:
    """The validation metric by epoch: epochs and values, one line a run."""
    from matplotlib.ticker import MaxNLocator

    with _figure(5.4, 2.4) as figure:
        axes = figure.add_subplot()
        for epochs, values in runs:
            axes.plot(epochs, values, marker="o", markersize=2.5, color=_SERIES[1], linewidth=1.2)
        axes.set(title="Validation", xlabel="epoch", ylabel=_TITLES[metric])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return _svg(figure, title)


def _square_of_probabilities(axes: Axes, curves: Sequence[LabelCurves]) -> None:
    """As far as the bins reach: rare findings have small probabilities."""
    drawn = [curve.reliable for curve in curves if curve.reliable is not None]
    ends = [float(values.max()) for own in drawn for values in (own.probability, own.frequency)]
    limit = max([0.05, *ends])
    axes.plot([0, limit], [0, limit], color=_MUTED, linewidth=0.8, linestyle=":")
    axes.legend(fontsize=8)


def _validation_names(runs: Sequence[Curves]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in run.validation))


def _line(
    axes: Axes, points: Sequence[tuple[float, float]], colour: int, label: str | None, marker: str | None = None
) -> None:
    x, y = zip(*points, strict=True)
    axes.plot(x, y, color=_SERIES[colour], linewidth=1.4, marker=marker, markersize=2.5, label=label)


def _smooth(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A running mean over a fiftieth of the points: single steps are noisy."""
    width = max(1, len(points) // 50)
    return [
        (points[end - 1][0], sum(value for _, value in points[end - width : end]) / width)
        for end in range(width, len(points) + 1)
    ]


@contextmanager
def _figure(width: float, height: float) -> Iterator[Figure]:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: Any = _STYLE  # matplotlib types the keys one by one
    with mpl.rc_context(style):
        yield Figure(figsize=(width, height), layout="constrained")


def _svg(figure: Figure, description: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawing = buffer.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    # Two figures on one page must not share ids, and text takes the page's font.
    prefix = re.sub(r"\W+", "-", description.lower())
    drawing = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{prefix}-", drawing)
    drawing = re.sub(r"font-family:[^;\"']*|font: ?([\d.]+px)[^;\"]*", r"font-size: \1; font-family: inherit", drawing)
    for colour, variable in _VARIABLES.items():
        drawing = drawing.replace(colour, variable)
    return drawing.replace("<svg", f'<svg role="img" aria-label="{description}"', 1)
