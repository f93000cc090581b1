"""LoVT's published configurations say what section 4 of its spec says, and an ablation changes what its row says."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossray.methods.lovt.config import LovtConfig
from crossray.training.recipe import Recipe, differences, load_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
PUBLISHED = RECIPES / "published"

NO_LOCAL = {"method.local_image_weight", "method.local_report_weight"}
ONE_SENTENCE = {"training.caption", "training.sentence_order"}
TOKEN_MAXIMUM = {"method.report_pool", "text_encoder.report_pooling"}
NOT_READ = {"text_encoder.sentence_pooling"}
CLIP_STAR = NO_LOCAL | ONE_SENTENCE | TOKEN_MAXIMUM | NOT_READ
CONVIRT = CLIP_STAR | {"method.image_pool", "method.batch_norm"}
RATE = {"training.optimizer.learning_rate"}
PLATEAU = {"training.schedule"}

ABLATIONS = {
    "no_l": NO_LOCAL,
    "no_weight": {"method.weighting"},
    "no_l_scan": {"method.local_image_weight"},
    "no_l_report": {"method.local_report_weight"},
    "g_single_sent_att": CLIP_STAR,
    "convirt_lr": CONVIRT | RATE,
    "no_weight_no_att": {"method.image_pool", "method.weighting"} | TOKEN_MAXIMUM | RATE,
    "no_spatial": {"method.distance_decay"},
    "g_only": NO_LOCAL | {"method.image_pool"} | TOKEN_MAXIMUM | NOT_READ | RATE,
    "no_g": {"method.global_weight", "method.weighting"} | TOKEN_MAXIMUM,
    "no_coslr": PLATEAU | RATE,
}
RATES = {"convirt_lr": 3e-5, "no_weight_no_att": 3e-5, "g_only": 3e-4, "no_coslr": 3e-5}


def changed(name: str, other: str) -> set[str]:
    recipes = [load_recipe(PUBLISHED / f"{one}.yaml").model_dump(mode="json") for one in (name, other)]
    keys = {difference.split(" (")[0] for difference in differences(*recipes)}
    return {"training.schedule" if key.startswith("training.schedule.") else key for key in keys}


def lovt(recipe: Recipe) -> LovtConfig:
    assert isinstance(recipe.method, LovtConfig)
    return recipe.method


def test_the_ablations_are_those_of_the_table() -> None:
    assert {path.stem for path in (PUBLISHED / "lovt_ablations").glob("*.yaml")} == set(ABLATIONS)


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_changes_what_its_row_says_and_nothing_else(name: str) -> None:
    assert changed("lovt_30", f"lovt_ablations/{name}") == ABLATIONS[name]
    recipe = load_recipe(PUBLISHED / "lovt_ablations" / f"{name}.yaml")
    assert recipe.training.optimizer.learning_rate == RATES.get(name, 1e-4)


def test_thirty_percent_is_another_list_and_nothing_else() -> None:
    assert changed("lovt", "lovt_30") == {"data.split"}


def test_the_comparators_differ_as_the_table_says() -> None:
    assert changed("lovt", "lovt_clip_star") == CLIP_STAR
    optimiser = {"training.optimizer.name", "training.batch_size", "training.micro_batch", "training.epochs"}
    patience = {"training.selection.patience"}
    assert changed("lovt", "lovt_convirt") == CONVIRT | PLATEAU | optimiser | patience


def test_the_published_configuration_is_section_4() -> None:
    recipe = load_recipe(PUBLISHED / "lovt.yaml")
    training = recipe.training
    assert (training.batch_size // 16, training.contrasted, training.accumulation) == (32, 32, "plain")
    assert (training.optimizer.name, training.optimizer.weight_decay, training.optimizer.decay) == (
        "adamw",
        1e-6,
        "all",
    )
    assert (training.epochs, training.selection.patience, training.seed) == (100, 10, 12345)
    assert (training.schedule.name, training.sentence_order) == ("periodic_cosine", "swaps")
    text = recipe.text_encoder
    assert (text.max_tokens, text.truncation, text.sentence_pooling) == (512, "sentences", "max")
    assert (text.freeze_embeddings, text.frozen_layers) == (True, 6)
    assert lovt(recipe) == LovtConfig(preset="reference")


@pytest.mark.parametrize("name", ["lovt_iu", "clip_star_iu"])
def test_the_small_recipes_have_the_encoders_budget_and_data_of_the_others(name: str) -> None:
    small, other = load_recipe(RECIPES / "cpu" / f"{name}.yaml"), load_recipe(RECIPES / "cpu" / "iu_rr_v1.yaml")
    assert (small.data, small.image, small.text, small.runtime) == (other.data, other.image, other.text, other.runtime)
    own = {"image_encoder": {"local_stage"}, "text_encoder": {"sentence_pooling", "report_pooling"}}
    for block, keys in own.items():
        assert getattr(small, block).model_dump(exclude=keys) == getattr(other, block).model_dump(exclude=keys)
    of_training = {"caption", "sentence_order"}
    assert small.training.model_dump(exclude=of_training) == other.training.model_dump(exclude=of_training)
