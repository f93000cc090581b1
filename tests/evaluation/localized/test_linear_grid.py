from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from crossray.errors import ConfigError
from crossray.evaluation.heads.maps import FeatureMaps
from crossray.evaluation.heads.segmentation_losses import SegmentationLoss
from crossray.evaluation.localized.config import LocalizedConfig
from crossray.evaluation.localized.linear_grid import GridCell, GridCellResult, train_linear_grid
from crossray.evaluation.localized.linear_problem import LinearProblem
from crossray.evaluation.localized.parts import CachedMaps, LocalizedPart, frozen_maps
from crossray.evaluation.localized.scorers import AurocScorer, DiceScorer
from crossray.evaluation.localized.tasks import ClassificationTask, SegmentationTask
from crossray.evaluation.localized.training import LocalizedResult, train_localized
from tests.evaluation.heads.trunks import small_trunk
from tests.evaluation.localized.small import CHANNELS, feature_pool, squares

RATES = (1e-1, 2e-2, 3e-3)
FILMS, VALIDATION = 48, 16


class Grid:
    """One problem, its parts and its cells: rates x seeds x three fractions, of two batch sizes."""

    def __init__(self, *, segmentation: bool, seeds: int = 2, loss: SegmentationLoss = "dice", **options: object):
        pool, masks, labels = feature_pool(FILMS + VALIDATION)
        self.segmentation, self.pool = segmentation, pool
        self.problem = LinearProblem(CHANNELS, 2, segmentation=segmentation)
        self.task = SegmentationTask(loss) if segmentation else ClassificationTask()
        self.scorer = DiceScorer if segmentation else AurocScorer
        targets = masks if segmentation else labels
        self.train = LocalizedPart(pool, targets.__getitem__, torch.arange(FILMS))
        self.validation = LocalizedPart(pool, targets.__getitem__, torch.arange(FILMS, FILMS + VALIDATION))
        self.cells = [
            GridCell(
                LocalizedConfig.model_validate(
                    {
                        "learning_rate": rate,
                        "seed": seed,
                        "batch_size": 4 if films < 20 else 8,
                        "max_epochs": 16,
                        "patience": 3,
                        "plateau_patience": 1,
                        **options,
                    }
                ),
                torch.arange(films),
            )
            for rate, seed, films in itertools.product(RATES, range(seeds), (9, 18, FILMS))
        ]

    def together(self, cells: list[GridCell] | None = None) -> list[GridCellResult]:
        return train_linear_grid(self.problem, self.task, self.train, self.validation, cells or self.cells, self.scorer)

    def alone(self, cell: GridCell) -> LocalizedResult:
        """The ordinary loop, with its convolution or linear layer and PyTorch's optimiser."""
        return train_localized(
            small_trunk("test_resnet"),
            self.problem.make_head,
            self.task,
            self.train.only(cell.places),
            self.validation,
            self.scorer,
            cell.config,
        )


@pytest.fixture(scope="module")
def segmentation_grid() -> tuple[Grid, list[GridCellResult]]:
    grid = Grid(segmentation=True, seeds=1)
    return grid, grid.together()


def check_equal(grid: GridCellResult, lone: LocalizedResult) -> None:
    assert len(grid.history) == len(lone.history)
    assert grid.best.epoch == lone.best.epoch
    for one, other in zip(grid.history, lone.history, strict=True):
        assert one.validation_metric == pytest.approx(other.validation_metric, abs=1e-4)
        assert one.validation_loss == pytest.approx(other.validation_loss, abs=1e-4)
        assert one.learning_rate == other.learning_rate
    for name, value in lone.model.head.state_dict().items():
        torch.testing.assert_close(grid.head.state_dict()[name], value, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("segmentation", [True, False])
def test_every_cell_stops_and_scores_as_the_lone_run_does(segmentation: bool) -> None:
    grid = Grid(segmentation=segmentation)
    results = grid.together()
    for cell, result in zip(grid.cells, results, strict=True):
        check_equal(result, grid.alone(cell))
    assert len({len(result.history) for result in results}) > 2  # they do not all stop together
    assert len({result.history[-1].learning_rate for result in results}) > len(RATES)  # plateaus act, each its own


@pytest.mark.parametrize("loss", ["dice_per_class", "focal_dice", "bce"])
def test_other_losses_and_adamw_agree_with_the_lone_run_too(loss: SegmentationLoss) -> None:
    grid = Grid(segmentation=True, seeds=1, loss=loss, optimizer="adamw", weight_decay=0.05, betas=(0.5, 0.999))
    for cell, result in zip(grid.cells, grid.together(), strict=True):
        check_equal(result, grid.alone(cell))


def test_the_other_cells_do_not_matter(segmentation_grid: tuple[Grid, list[GridCellResult]]) -> None:
    grid, every = segmentation_grid
    some = [3, 7, 8]
    few = grid.together([grid.cells[place] for place in some])
    for place, result in zip(some, few, strict=True):
        assert len(result.history) == len(every[place].history)
        for name, value in result.head.state_dict().items():
            torch.testing.assert_close(every[place].head.state_dict()[name], value, atol=1e-6, rtol=1e-5)


def test_cells_in_small_chunks_are_cells_all_at_once(
    segmentation_grid: tuple[Grid, list[GridCellResult]], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid, whole = segmentation_grid
    monkeypatch.setattr("crossray.evaluation.localized.linear_grid._CHUNK_NUMBERS", 1)
    for one, other in zip(whole, grid.together(), strict=True):
        assert len(one.history) == len(other.history)
        assert one.best.validation_metric == pytest.approx(other.best.validation_metric, abs=1e-6)


def test_the_trunk_runs_once_for_the_whole_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = small_trunk("test_resnet")
    films, masks, _ = squares(20)
    seen: list[int] = []
    run = trunk.forward

    def counted(pixels: Tensor) -> FeatureMaps:
        seen.append(len(pixels))
        return run(pixels)

    monkeypatch.setattr(trunk, "forward", counted)
    pool = frozen_maps(trunk, films.__getitem__, 20, strides=(32,), batch_size=8)
    part = LocalizedPart(pool, masks.__getitem__, torch.arange(14))
    config = LocalizedConfig(learning_rate=1e-2, batch_size=4, max_epochs=3)
    cells = [GridCell(config.model_copy(update={"seed": seed}), torch.arange(14)) for seed in range(4)]
    problem = LinearProblem(trunk.channels, 1, segmentation=True)
    results = train_linear_grid(problem, SegmentationTask(), part, part.only(torch.arange(14, 20)), cells, DiceScorer)
    assert sum(seen) == 20
    assert [len(result.history) for result in results] == [3] * 4


def test_a_cell_s_head_gives_what_its_validation_said(
    segmentation_grid: tuple[Grid, list[GridCellResult]],
) -> None:
    grid, results = segmentation_grid
    result = results[0]
    score = DiceScorer()
    assert isinstance(grid.pool, CachedMaps)
    score.add(result.head(grid.pool(grid.validation.places)).sigmoid(), grid.validation.targets(grid.validation.places))
    assert score.value() == pytest.approx(result.best.validation_metric, abs=1e-6)


def test_progress_names_the_cell() -> None:
    grid = Grid(segmentation=False, seeds=1)
    epochs = [0] * len(grid.cells)

    def note(cell: int, record: object) -> None:
        epochs[cell] += 1

    results = train_linear_grid(
        grid.problem, grid.task, grid.train, grid.validation, grid.cells, grid.scorer, progress=note
    )
    assert epochs == [len(result.history) for result in results]


def test_films_instead_of_maps_and_trunks_that_learn_are_refused() -> None:
    grid = Grid(segmentation=True, seeds=1)
    films, masks, _ = squares(4)
    part: LocalizedPart[Tensor] = LocalizedPart(films.__getitem__, masks.__getitem__, torch.arange(4))
    with pytest.raises(ConfigError, match="frozen_maps"):
        train_linear_grid(grid.problem, grid.task, part, part, grid.cells, grid.scorer)
    tuned = GridCell(grid.cells[0].config.model_copy(update={"trunk": "finetune"}), grid.cells[0].places)
    with pytest.raises(ConfigError, match="frozen trunk"):
        grid.together([tuned])
    short = GridCell(grid.cells[0].config, torch.arange(2))
    with pytest.raises(ConfigError, match="do not fill one batch"):
        grid.together([short])
