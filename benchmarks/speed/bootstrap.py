"""Bootstrap draws of AUROC against the loop over draws and labels with scikit-learn, on the same draws."""

from __future__ import annotations

import numpy as np
from benchmarks.reference.bootstrap import bootstrap_auroc
from benchmarks.speed.harness import Measured, Options, interleaved, ratio_row, seconds_of

from crossray.evaluation.metrics import auroc, per_label


def measure(options: Options) -> list[Measured]:
    draws, labels, films = options.pick((1000, 14, 5000), (5, 2, 200))
    generator = np.random.default_rng(0)
    truth = (generator.random((films, labels)) < 0.15).astype(np.float64)
    scores = generator.normal(size=(films, labels)) + truth
    drawn = generator.integers(0, films, size=(draws, films))
    results = {}

    def ours() -> None:
        offsets = films * np.arange(draws)[:, None]
        weights = np.bincount((drawn + offsets).ravel(), minlength=draws * films).reshape(draws, films)
        results["ours"] = per_label(auroc, scores, truth, weights.astype(np.float64))

    def loop() -> None:
        results["loop"] = bootstrap_auroc(scores, truth, drawn)

    seconds = interleaved({"ours": ours, "loop": loop}, min(options.rounds, 3), warm_ups=0)
    apart = float(np.abs(results["ours"] - results["loop"]).max())
    detail = f"{seconds_of(seconds, 's')}; largest difference {apart:.1e}"
    return [ratio_row("bootstrap", seconds["loop"], seconds["ours"], detail=detail)]
