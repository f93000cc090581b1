"""Every grid that ships is read, and each of its entries has a recipe that means something."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossray.data.split_files import protocol_names
from crossray.evaluation.validator import RetrievalValidator
from crossray.grid.config import load_grid
from crossray.training.recipe import Recipe
from crossray.training.validation import require_metric

GRIDS = sorted((Path(__file__).parents[1] / "recipes" / "grids").glob("*.yaml"))


def recipes(file: Path) -> dict[str, Recipe]:
    """The recipe of each entry, at the first seed and fold."""
    grid = load_grid(file)
    return {name: grid.recipe(name, grid.config.seeds[0], grid.config.folds[0]) for name in grid.config.entries}


def test_grids_ship() -> None:
    assert "iu_rr_v1" in {file.stem for file in GRIDS}


@pytest.mark.parametrize("file", GRIDS, ids=lambda file: file.stem)
def test_every_entry_has_a_recipe_that_selects_by_a_metric_that_exists(file: Path) -> None:
    for recipe in recipes(file).values():
        require_metric(recipe.training.selection, RetrievalValidator())
        assert recipe.data.split in protocol_names() or recipe.data.split.endswith(".json")


@pytest.mark.parametrize("file", GRIDS, ids=lambda file: file.stem)
def test_entries_of_a_grid_have_the_same_data_and_see_the_same_pixels(file: Path) -> None:
    found = list(recipes(file).values())
    assert all((recipe.data, recipe.image) == (found[0].data, found[0].image) for recipe in found)
