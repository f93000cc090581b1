"""Every recipe that ships is read, and means what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossray.data.split_files import protocol_names
from crossray.errors import ConfigError
from crossray.evaluation.validator import RetrievalValidator
from crossray.settings import read_yaml
from crossray.training.recipe import Recipe, differences, load_recipe, recipe_text
from crossray.training.validation import require_metric

ROOT = Path(__file__).parents[1]
GRIDS = ROOT / "recipes" / "grids"
RECIPES = sorted(
    path
    for folder in (ROOT / "recipes", ROOT / "src" / "crossray" / "recipes")
    for path in folder.rglob("*.yaml")
    if path.parent != GRIDS
)
ONE = ROOT / "recipes" / "cpu" / "global_local_iu.yaml"


def test_recipes_ship() -> None:
    assert {"global_local_iu.yaml", "convirt_iu.yaml", "demo.yaml"} <= {path.name for path in RECIPES}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_recipe_is_read_and_selects_by_a_metric_that_exists(path: Path) -> None:
    recipe = load_recipe(path)
    require_metric(recipe.training.selection, RetrievalValidator())
    assert recipe.data.split in protocol_names() or recipe.data.split.endswith(".json")


def test_no_recipe_mirrors_films() -> None:
    assert [path for path in RECIPES if load_recipe(path).image.augmentation.horizontal_flip > 0] == []


def test_overrides_lie_over_the_file() -> None:
    recipe = load_recipe(ONE, ["training.epochs=3", "data.fold=2", "training.schedule={name: constant}"])
    assert (recipe.training.epochs, recipe.data.fold, recipe.training.schedule.name) == (3, "2", "constant")


def test_the_resolved_recipe_reads_back_as_itself(tmp_path: Path) -> None:
    recipe = load_recipe(ONE)
    (tmp_path / "config.yaml").write_text(recipe_text(recipe))
    assert load_recipe(tmp_path / "config.yaml") == recipe
    assert set(read_yaml(tmp_path / "config.yaml")) == set(Recipe.model_fields)


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("training.epoch=5", "training.epochs"),
        ("training.optimizer.learnin_rate=1", "training.optimizer.learning_rate"),
        ("image.augmentation.rotate_degrees=1", "degrees"),
        ("method.gama1=4", "gamma1"),
        ("training.schedule.warm_fraction=0.1", "warmup_fraction"),
        ("methods={}", "method"),
    ],
)
def test_an_unknown_key_names_the_nearest(override: str, nearest: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"'{override.split('=')[0]}': is not a known key.*Did you mean '.*{nearest}"
    ):
        load_recipe(ONE, [override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epochs=0", r"training\.epochs"),
        ("training.epochs=many", r"training\.epochs.*many"),
        ("training.accumulation=cached", "needs micro_batch"),
        ("training.schedule.name=linear", r"training\.schedule.*linear"),
        ("method.name=clipp", r"method.*clipp"),
        ("data.views=[side]", r"data\.views"),
        ("training.precision=8", r"training\.precision"),
    ],
)
def test_a_wrong_value_is_told_with_its_key(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe(ONE, [override])


def test_differences_are_told_key_by_key() -> None:
    before, now = {"training": {"epochs": 5, "seed": 1}, "x": 1}, {"training": {"epochs": 6, "seed": 1}}
    assert differences(before, now) == ["training.epochs (5 before, 6 now)", "x (1 before, not set now)"]


def test_ablations_of_prior_differ_from_it_in_the_method_or_the_length_of_the_last_stage() -> None:
    published = ROOT / "recipes" / "published"
    whole = load_recipe(published / "prior.yaml").model_dump(mode="json")
    found = sorted((published / "prior_ablations").glob("*.yaml"))
    assert len(found) == 5
    for path in found:
        keys = [line.split(" ")[0] for line in differences(whole, load_recipe(path).model_dump(mode="json"))]
        assert all(key.startswith("method.") or key in ("training.stages", "training.epochs") for key in keys)
        assert keys


def test_the_small_prior_has_the_data_encoders_and_budget_of_the_run_behind_the_figures() -> None:
    ours, theirs = (load_recipe(ROOT / "recipes" / "cpu" / name) for name in ("prior_iu.yaml", "iu_rr_v1.yaml"))
    for block in ("data", "image", "image_encoder", "text_encoder"):
        assert getattr(ours, block) == getattr(theirs, block)
    assert (ours.training.epochs, ours.training.batch_size) == (theirs.training.epochs, theirs.training.batch_size)
