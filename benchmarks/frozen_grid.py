"""What is a grid of linear heads worth? ``python benchmarks/frozen_grid.py STORE SPLIT --label NAME [--label NAME]``.

Trains 4 learning rates x 5 seeds x 3 fractions of one linear task on a frozen trunk, twice: together, on maps that are
computed once, and each cell alone, with the maps of its own films computed for it alone. Prints the speed-up, and for
each fraction how many cells stopped and chose the same epoch, and how far their metrics are apart.

``--mask NAME`` segments instead, with a 1 x 1 convolution. ``--from-films`` runs the trunk in every step of the lone
runs, as the published code does, instead of once a cell. ``--lone-cells N`` trains only N cells of each fraction alone
and scales their time up, which the output says.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

import crossray
from crossray.data.augment import ImageInputConfig, evaluation_view
from crossray.data.split_files import read_split
from crossray.data.splits import nested_fractions
from crossray.data.store import Store
from crossray.encoders.image import ImageEncoder, ImageEncoderConfig
from crossray.errors import ConfigError, CrossRayError
from crossray.evaluation.heads.trunk import MapTrunk
from crossray.evaluation.localized.config import LocalizedConfig
from crossray.evaluation.localized.linear_grid import GridCell, GridCellResult, train_linear_grid
from crossray.evaluation.localized.linear_problem import LinearProblem
from crossray.evaluation.localized.parts import CachedMaps, LocalizedPart, frozen_maps
from crossray.evaluation.localized.scorers import AurocScorer, DiceScorer
from crossray.evaluation.localized.tasks import ClassificationTask, SegmentationTask
from crossray.evaluation.localized.training import LocalizedResult, train_localized

Result = TypeVar("Result")

TOLERANCE = 1e-4
SMALL_FRACTION = 0.01


def main() -> None:
    arguments = parser().parse_args()
    try:
        bench = Bench.of(arguments)
        together, results = timed(bench.train_together)
        lone = {place: timed(partial(bench.train_alone, place)) for place in bench.lone_places}
    except CrossRayError as error:
        sys.exit(str(error))
    rows = [bench.row(fraction, results, lone) for fraction in bench.fractions]
    print(table(rows))
    alone = sum(row.seconds_alone for row in rows)
    measured = "measured" if len(lone) == len(results) else f"scaled up from {len(lone)} of {len(results)} cells"
    print(
        f"\ntogether {together:.1f} s, each cell alone {alone:.1f} s ({measured}): {alone / together:.1f} times faster"
    )
    if arguments.output is not None:
        document = {
            "command": "python " + " ".join(sys.argv),
            "date": datetime.now(UTC).date().isoformat(),
            "versions": {
                "crossray": crossray.__version__,
                "python": platform.python_version(),
                "torch": torch.__version__,
            },
            "threads": torch.get_num_threads(),
            "store": bench.store.hash,
            "seconds": {"together": together, "alone": alone, "alone_is": measured},
            "speed_up": alone / together,
            "rows": [asdict(row) for row in rows],
        }
        arguments.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description="Time a grid of linear heads against each of its cells alone.")
    made.add_argument("store", type=Path, help="a prepared store")
    made.add_argument("split", help="a split list: a file, or a shipped name")
    made.add_argument("--fold", help="name of the fold; the first by default")
    made.add_argument("--label", action="append", default=[], help="a label to classify; may be repeated")
    made.add_argument("--mask", help="name of the mask to segment instead")
    made.add_argument("--encoder", default="tf_efficientnet_lite0", help="timm's name of the trunk")
    made.add_argument("--pretrained", default="imagenet", help="see image_encoder.pretrained")
    made.add_argument("--rates", type=float, nargs="+", default=[3e-2, 1e-2, 3e-3, 1e-3])
    made.add_argument("--seeds", type=int, default=5)
    made.add_argument("--fractions", type=float, nargs="+", default=[0.01, 0.1, 1.0])
    made.add_argument("--max-epochs", type=int, default=50)
    made.add_argument("--lone-cells", type=int, help="of each fraction; all by default")
    made.add_argument("--from-films", action="store_true", help="lone runs run the trunk in every step")
    made.add_argument("--output", type=Path, help="where the figures go (JSON)")
    return made


@dataclass(frozen=True)
class Row:
    """One fraction: its cells, seconds of training all of them alone, and how alike both ways ended."""

    fraction: float
    films: int
    cells: int
    compared: int
    same_stop: int
    same_best: int
    largest_difference: float
    epochs: tuple[int, int]
    metric: tuple[float, float]
    seconds_alone: float


class Bench:
    """The task, its films and the cells of the grid. Places count training films first, then validation films."""

    def __init__(
        self, arguments: argparse.Namespace, store: Store, films: list[list[int]], nested: list[Tensor]
    ) -> None:
        self.arguments, self.store = arguments, store
        self.rows = np.asarray(films[0] + films[1])
        self.view = ImageInputConfig(size=store.prepared_size)
        self.validation_places = torch.arange(len(films[0]), len(self.rows))
        self.fractions: list[float] = arguments.fractions
        torch.manual_seed(0)
        options: dict[str, int | float | bool | str] = {}
        if "vit" in arguments.encoder:
            options["img_size"] = store.prepared_size
        encoder = ImageEncoderConfig(
            name=arguments.encoder, pretrained=arguments.pretrained, local_stage=-1, trunk_options=options
        )
        self.trunk = MapTrunk(ImageEncoder(encoder))
        self.segments = arguments.mask is not None
        classes = 1 if self.segments else len(arguments.label)
        self.problem = LinearProblem(self.trunk.channels, classes, segmentation=self.segments)
        self.task = SegmentationTask() if self.segments else ClassificationTask()
        self.scorer: Callable[[], DiceScorer | AurocScorer] = DiceScorer if self.segments else AurocScorer
        self.targets = self._masks() if self.segments else self._labels()
        self.cells = [
            GridCell(self._schedule(rate, seed, len(places)), places)
            for places, rate, seed in itertools.product(nested, arguments.rates, range(arguments.seeds))
        ]

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Bench:
        if (arguments.mask is None) == (not arguments.label):
            raise ConfigError("give either --label or --mask.")
        store, split = Store.open(arguments.store), read_split(arguments.split)
        fold = split.fold(arguments.fold or split.folds[0].name)
        films: list[list[int]] = []
        for side in (fold.train, fold.validation):
            first = [store.films_of(store.index_of(study))[:1] for study in side if study in store]
            films.append([row for rows in first for row in rows])
        studies = [store.study_ids[store.film(row).study_index] for row in films[0]]
        place_of = {study: place for place, study in enumerate(studies)}
        parts = nested_fractions(studies, arguments.fractions, seed=0)
        nested = [torch.tensor([place_of[study] for study in parts[share]]) for share in arguments.fractions]
        return cls(arguments, store, films, nested)

    def train_together(self) -> list[GridCellResult]:
        maps = self._maps(torch.arange(len(self.rows)))
        pool: LocalizedPart[Tensor] = LocalizedPart(maps, self.targets.__getitem__, torch.arange(len(self.rows)))
        validation = pool.only(self.validation_places)
        return train_linear_grid(self.problem, self.task, pool, validation, self.cells, self.scorer)

    def train_alone(self, place: int) -> LocalizedResult:
        cell = self.cells[place]
        own = torch.cat([cell.places, self.validation_places])
        targets = self.targets[own]
        inputs = self._pixels_of(own) if self.arguments.from_films else self._maps(own)
        part: LocalizedPart[Tensor] = LocalizedPart(inputs, targets.__getitem__, torch.arange(len(cell.places)))
        validation = part.only(torch.arange(len(cell.places), len(own)))
        make = self.problem.make_head
        return train_localized(self.trunk, make, self.task, part, validation, self.scorer, cell.config)

    @property
    def lone_places(self) -> list[int]:
        of_fraction = len(self.cells) // len(self.fractions)
        wanted = min(self.arguments.lone_cells or of_fraction, of_fraction)
        within = [round(i * of_fraction / wanted) for i in range(wanted)]
        return [part * of_fraction + place for part in range(len(self.fractions)) for place in within]

    def row(
        self, fraction: float, results: list[GridCellResult], lone: dict[int, tuple[float, LocalizedResult]]
    ) -> Row:
        of_fraction = len(self.cells) // len(self.fractions)
        first = self.fractions.index(fraction) * of_fraction
        mine = range(first, first + of_fraction)
        pairs = [(results[place], lone[place][1]) for place in mine if place in lone]
        seconds = [lone[place][0] for place in mine if place in lone]
        epochs = [len(results[place].history) for place in mine]
        metrics = [results[place].best.validation_metric for place in mine]
        return Row(
            fraction=fraction,
            films=len(self.cells[first].places),
            cells=of_fraction,
            compared=len(pairs),
            same_stop=sum(len(grid.history) == len(alone.history) for grid, alone in pairs),
            same_best=sum(grid.best.epoch == alone.best.epoch for grid, alone in pairs),
            largest_difference=max(
                abs(grid.best.validation_metric - alone.best.validation_metric) for grid, alone in pairs
            ),
            epochs=(min(epochs), max(epochs)),
            metric=(min(metrics), max(metrics)),
            seconds_alone=sum(seconds) / len(seconds) * of_fraction,
        )

    def _schedule(self, rate: float, seed: int, films: int) -> LocalizedConfig:
        """LoVT's: small batches and long patience for its smallest fraction."""
        small = films < SMALL_FRACTION * 2 * len(self.rows) or films < 128
        return LocalizedConfig(
            learning_rate=rate,
            seed=seed,
            batch_size=min(8 if small else 64, films),
            max_epochs=self.arguments.max_epochs,
            patience=20 if small else 10,
        )

    def _maps(self, places: Tensor) -> CachedMaps:
        strides = (self.trunk.channels.coarsest,) if self.segments else ()
        return frozen_maps(self.trunk, self._pixels_of(places), len(places), strides)

    def _pixels_of(self, places: Tensor) -> Callable[[Tensor], Tensor]:
        rows = self.rows[places.numpy()]
        return lambda chosen: evaluation_view(torch.from_numpy(self.store.pixels(rows[chosen.numpy()])), self.view)

    def _masks(self) -> Tensor:
        """A film without a mask of the name counts as one where there is nothing to find."""
        name, side = self.arguments.mask, self.store.prepared_size
        masks = torch.zeros(len(self.rows), 1, side, side, dtype=torch.bool)
        for place, row in enumerate(self.rows.tolist()):
            if name in self.store.film(row).mask_names:
                masks[place, 0] = torch.from_numpy(self.store.mask(row, name)) == 255
        if not masks.any():
            raise ConfigError(f"no film of the split has a mask '{name}'.", field="--mask")
        return masks

    def _labels(self) -> Tensor:
        names = list(self.store.label_names)
        for name in self.arguments.label:
            if name not in names:
                raise ConfigError(f"the store has no label '{name}'.", field="--label", remedy=f"It has {names}.")
        columns = [names.index(name) for name in self.arguments.label]
        studies = [self.store.film(int(row)).study_index for row in self.rows]
        return torch.from_numpy(self.store.labels[studies][:, columns])


def timed(run: Callable[[], Result]) -> tuple[float, Result]:
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def table(rows: list[Row]) -> str:
    lines = [
        "| fraction | films | cells | compared | same last epoch | same best epoch | largest difference of the metric "
        f"(≤ {TOLERANCE:g}) | epochs | metric | alone, s |",
        "| ---: " * 10 + "|",
    ]
    for row in rows:
        cells = [f"{row.fraction:g}", row.films, row.cells, row.compared, row.same_stop, row.same_best]
        ends = [f"{row.epochs[0]}-{row.epochs[1]}", f"{row.metric[0]:.4f}-{row.metric[1]:.4f}"]
        lines.append(
            "| "
            + " | ".join(map(str, [*cells, f"{row.largest_difference:.1e}", *ends, f"{row.seconds_alone:.1f}"]))
            + " |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
