"""The recipe: one YAML file that says everything a run depends on, made of typed blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, field_validator, model_validator

from crossray.data.augment import ImageInputConfig
from crossray.data.block_order import BlockOrderConfig
from crossray.data.pairs import FilmChoice
from crossray.data.study import View
from crossray.data.text import TextConfig
from crossray.encoders.image import ImageEncoderConfig
from crossray.encoders.text import TextEncoderConfig
from crossray.methods.build import MethodConfig
from crossray.settings import Settings, apply_overrides, build_settings, read_yaml
from crossray.training.config import RuntimeConfig, TrainingConfig


class DataConfig(Settings):
    """The pairs: a prepared store, and one fold of a split of it.

    Attributes:
        store: folder of the store, or its URL; a relative path starts at the working directory.
        split: a protocol that ships with CrossRay (``iu-rr-v1``) or the path of a split list.
        fold: the fold's name; its ``train`` side is trained on, its ``validation`` side selects, ``test`` is not read.
        views: views of the films.
        film_choice: of a study with several such films, always the first or each time any.
        order: in training, go through the store block by block and mix a few blocks at a time, as a store at a URL
            asks for; ``null``: a permutation of all pairs.
    """

    store: str
    split: str
    fold: str = "0"
    views: tuple[View, ...] = ("frontal",)
    film_choice: FilmChoice = "first"
    order: BlockOrderConfig | None = None

    @field_validator("fold", mode="before")
    @classmethod
    def _a_number_is_a_name_too(cls, value: object) -> object:
        return str(value) if isinstance(value, int) else value


class Recipe(Settings):
    """All of a run. ``runtime`` alone does not change its result."""

    data: DataConfig
    image: ImageInputConfig = ImageInputConfig()
    text: TextConfig = TextConfig()
    image_encoder: ImageEncoderConfig = ImageEncoderConfig()
    text_encoder: TextEncoderConfig = TextEncoderConfig()
    method: MethodConfig
    training: TrainingConfig = TrainingConfig()
    runtime: RuntimeConfig = Field(default_factory=RuntimeConfig)

    @model_validator(mode="after")
    def _lanes_share_a_batch(self) -> Recipe:
        order, batch_size = self.data.order, self.training.batch_size
        if order is not None and batch_size % order.lanes:
            raise ValueError(f"data.order.lanes ({order.lanes}) must divide training.batch_size ({batch_size})")
        return self


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe from its file, with ``section.key=value`` overrides laid over it.

    Raises:
        ConfigError: the file cannot be read, or a key or value is wrong; an unknown key names the nearest valid one.
    """
    return build_settings(Recipe, apply_overrides(read_yaml(path), overrides), file=path)


def recipe_text(recipe: Recipe) -> str:
    """The whole recipe as YAML, defaults included: what ``config.yaml`` of a run holds."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], chosen: Mapping[str, Any] | None = None
) -> list[str]:
    """The keys whose values differ, each as ``training.epochs (5 before, 6 now)``.

    Args:
        before: a resolved configuration, perhaps of an older version.
        now: another.
        chosen: ``now`` without what stands at its default. A key that ``before`` does not know and that is not in
            here came with a newer version and changes nothing. Without it every key counts.
    """
    old, new = dict(_leaves(before)), dict(_leaves(now))
    set_now = new if chosen is None else dict(_leaves(chosen))
    new = {key: value for key, value in new.items() if key in old or key in set_now}
    return [
        f"{key} ({old.get(key, 'not set')} before, {new.get(key, 'not set')} now)"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def _leaves(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
