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
    wanted = {"iu_rr_v1", "phantom_easy", "phantom_medium", "phantom_hard", "ablations", "reference_vs_clean"}
    assert wanted <= {file.stem for file in GRIDS}


@pytest.mark.parametrize("stem", ["ablations", "reference_vs_clean"])
def test_whole_methods_are_those_of_the_phantom_grid(stem: str) -> None:
    # So that a grid in the phantom grid's folder finds their runs done.
    by_name = {file.stem: recipes(file) for file in GRIDS}
    shared = by_name[stem].keys() & by_name["phantom_medium"].keys()
    assert shared == {name for name in by_name[stem] if "_without_" not in name and name in by_name["phantom_medium"]}
    assert all(by_name[stem][name] == by_name["phantom_medium"][name] for name in shared)


@pytest.mark.parametrize("stem", ["ablations", "reference_vs_clean"])
def test_every_variant_differs_from_its_method(stem: str) -> None:
    found = recipes(next(file for file in GRIDS if file.stem == stem))
    assert len({recipe.model_dump_json() for recipe in found.values()}) == len(found)


@pytest.mark.parametrize("file", GRIDS, ids=lambda file: file.stem)
def test_every_entry_has_a_recipe_that_selects_by_a_metric_that_exists(file: Path) -> None:
    for recipe in recipes(file).values():
        require_metric(recipe.training.selection, RetrievalValidator())
        assert recipe.data.split in protocol_names() or recipe.data.split.endswith(".json")


@pytest.mark.parametrize("file", GRIDS, ids=lambda file: file.stem)
def test_entries_of_a_grid_have_the_same_data_and_see_the_same_pixels(file: Path) -> None:
    found = list(recipes(file).values())
    assert all((recipe.data, recipe.image) == (found[0].data, found[0].image) for recipe in found)
