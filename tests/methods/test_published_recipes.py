"""Every published configuration is read, built with tiny encoders, and takes a step of each of its stages and tasks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from crossray.data.batch import PairBatch
from crossray.encoders.image import ImageEncoderConfig
from crossray.encoders.text import TextEncoderConfig
from crossray.methods.base import Method, SingleProcess
from crossray.methods.build import MethodConfig, build_method
from crossray.methods.prior.config import PriorConfig
from crossray.methods.supervised import SupervisedConfig
from crossray.training.config import StageConfig
from crossray.training.distributed import start_fabric
from crossray.training.optimizers import build_optimizer
from crossray.training.recipe import Recipe, load_recipe
from crossray.training.schedules import Schedule
from crossray.training.step import backward_step

from ..small_model import pair_batch, reports, small_tokenizer
from ..training.fakes import QUIET

FOLDER = Path(__file__).parents[2] / "recipes" / "published"
RECIPES = sorted(FOLDER.rglob("*.yaml"))
LABEL_NAMES = SupervisedConfig().labels


def tiny_image(config: ImageEncoderConfig) -> ImageEncoderConfig:
    """A small trunk of the same kind (a ViT stays one) with the recipe's other choices."""
    is_vit = config.class_attention or "vit" in config.name
    return config.model_copy(
        update={
            "name": "test_vit" if is_vit else "test_resnet",
            "pretrained": "none",
            "local_stage": max(config.local_stage, -2) if config.local_stage < 0 else 0,
            "resize_to": None,
            "frozen_stages": min(config.frozen_stages, 1),
            "batch_norm": "local" if config.batch_norm == "sync" else config.batch_norm,  # sync needs GPUs
            "trunk_options": {"img_size": 64} if is_vit else {},
        }
    )


def tiny_text(config: TextEncoderConfig) -> TextEncoderConfig:
    """Two small layers with the recipe's pooling; at most the first of them frozen."""
    architecture = dict.fromkeys(("intermediate", "max_positions", "token_types", "activation", "layer_norm_eps"))
    return config.model_copy(
        update={
            **architecture,
            "pretrained": "none",
            "vocabulary_size": 240,
            "max_tokens": 24,
            "layers": 2,
            "width": 16,
            "heads": 2,
            "last_layers": min(config.last_layers, 2),
            "frozen_layers": min(config.frozen_layers, 1),
        }
    )


def tiny_method(config: MethodConfig) -> MethodConfig:
    """PRIOR's decoders have four times the weights of its encoders; the other methods are small beside them."""
    if not isinstance(config, PriorConfig):
        return config
    sizes = {"embed_dim": 32, "pool_heads": 4, "slot_layers": 1, "slot_heads": 4, "slot_hidden": 64, "slots": 4}
    return config.model_copy(update=sizes)


def tiny(recipe: Recipe) -> Recipe:
    pieces = None if recipe.training.micro_batch is None else 2
    training = recipe.training.model_copy(update={"precision": "32-true", "batch_size": 4, "micro_batch": pieces})
    encoders = {"image_encoder": tiny_image(recipe.image_encoder), "text_encoder": tiny_text(recipe.text_encoder)}
    return recipe.model_copy(update={**encoders, "method": tiny_method(recipe.method), "training": training})


def batch_for(method: Method, task: str | None) -> PairBatch:
    batch = replace(pair_batch(reports(4)), task=task)
    needs_films = next((one.needs_films for one in method.auxiliary_tasks if one.name == task), True)
    labels = torch.arange(4 * len(LABEL_NAMES)).remainder(2).view(4, -1).float()
    return replace(batch, labels=labels, pixels=batch.pixels if needs_films else batch.pixels[:, :, :0, :0])


def take_a_step(method: Method, recipe: Recipe, stage: StageConfig | None, task: str | None) -> dict[str, float]:
    """The terms of one step, after which the weights are changed and still finite."""
    config = recipe.training
    optimizer = build_optimizer(method, (stage.optimizer if stage is not None else None) or config.optimizer)
    before = {name: parameter.detach().clone() for name, parameter in method.named_parameters()}
    fabric = start_fabric(QUIET, config.precision)
    method.before_step(0)
    losses = backward_step(fabric, method, batch_for(method, task), SingleProcess(), config)
    optimizer.step()
    method.after_step()
    now = dict(method.named_parameters())
    assert any(not torch.equal(now[name], value) for name, value in before.items())
    assert all(parameter.isfinite().all() for parameter in now.values())
    method.zero_grad(set_to_none=True)
    return losses.read(1).terms


def test_published_recipes_ship() -> None:
    assert len(RECIPES) > 2


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(FOLDER).with_suffix("")))
def test_every_published_recipe_takes_a_step(path: Path) -> None:
    recipe = tiny(load_recipe(path))
    torch.manual_seed(0)
    method = build_method(
        recipe.image_encoder, recipe.text_encoder, recipe.method, small_tokenizer(), label_names=LABEL_NAMES
    ).train()
    for stage in recipe.training.stages or (None,):
        if stage is not None:
            method.enter_stage(stage.name)
        for task in (None, *(one.name for one in method.auxiliary_tasks)):
            terms = take_a_step(method, recipe, stage, task)
            assert terms


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(FOLDER).with_suffix("")))
def test_weight_decay_spares_norms_and_biases_only_where_the_source_does(path: Path) -> None:
    training = load_recipe(path).training
    optimizers = [training.optimizer, *(stage.optimizer for stage in training.stages if stage.optimizer is not None)]
    # The released optimisers are given all parameters; CLIP and SigLIP alone are recipes of our own (baselines, 4).
    expected = "weights" if path.stem in ("clip", "siglip") else "all"
    assert [optimizer.decay for optimizer in optimizers] == [expected] * len(optimizers)


def test_a_study_shows_a_film_drawn_anew_where_the_source_draws_one() -> None:
    drawn = {path.stem for path in FOLDER.glob("*.yaml") if load_recipe(path).data.film_choice == "random"}
    of_lovt = {"lovt", "lovt_30", "lovt_clip_star", "lovt_convirt", "convirt"}
    assert drawn == of_lovt | {"prior", "joimternet", "joimternet_phrase"}


@pytest.mark.parametrize("name", ["mgca_resnet", "mgca_vit", "convirt_mgca", "joimternet", "joimternet_phrase"])
def test_the_impression_is_read_first_where_the_source_puts_it_first(name: str) -> None:
    text = load_recipe(FOLDER / f"{name}.yaml").text
    assert (text.sections, text.section_order) == (("impression", "findings"), "listed")


def test_convirt_is_what_lovt_s_configuration_of_it_says_but_for_its_heads_and_budget() -> None:
    convirt, lovt = (load_recipe(FOLDER / f"{name}.yaml") for name in ("convirt", "lovt_convirt"))
    assert convirt.image == lovt.image
    assert convirt.training.optimizer == lovt.training.optimizer
    assert convirt.text_encoder.punctuation == lovt.text_encoder.punctuation == "keep"
    assert convirt.training.caption == lovt.training.caption == "sentence"


def test_runs_of_lovt_s_code_are_evaluated_on_whole_films_and_gloria_s_and_mgca_s_on_the_centre() -> None:
    shown = {path.stem: load_recipe(path).image.evaluation for path in FOLDER.rglob("*.yaml")}
    of_lovt = {path.stem for path in FOLDER.rglob("*.yaml") if "lovt" in str(path.relative_to(FOLDER))}
    of_lovt |= {"convirt", "convirt_benchx", "supervised", "simclr"}
    assert {name for name, view in shown.items() if view == "whole"} == of_lovt


@pytest.mark.parametrize("name", ["mgca_resnet", "mgca_vit", "convirt_mgca"])
def test_mgca_s_rate_rises_from_its_least_over_two_fifths_of_the_steps_and_falls_back_to_it(name: str) -> None:
    training = load_recipe(FOLDER / f"{name}.yaml").training
    schedule, rate = Schedule(training.schedule, [100] * training.epochs), training.optimizer.learning_rate
    assert rate * schedule.factor(0) == pytest.approx(1e-8)
    assert schedule.factor(1999) == 1.0  # of 5,000 steps
    assert schedule.factor(1998) < 1.0
    assert rate * schedule.factor(5000) == pytest.approx(1e-8)
