from __future__ import annotations

import pytest
import torch

from crossray.errors import ConfigError
from crossray.training.config import OptimizerConfig
from crossray.training.optimizers import build_optimizer, parameter_groups, set_learning_rates
from tests.training.fakes import FakeMethod

RATES = OptimizerConfig(
    learning_rate=1e-3, image_encoder_learning_rate=1e-4, text_encoder_learning_rate=1e-5, weight_decay=0.1
)


def test_every_trainable_parameter_is_in_one_group_by_part_and_decay() -> None:
    model = FakeMethod(batch_norm=True)
    groups = parameter_groups(model, RATES)
    of = {name: (group["lr"], group["weight_decay"]) for group in groups for name in group["names"]}
    assert of.keys() == dict(model.named_parameters()).keys()
    assert sum(len(group["params"]) for group in groups) == len(of)
    assert of["image_encoder.0.weight"] == (1e-4, 0.1)
    assert of["image_encoder.0.bias"] == (1e-4, 0.0)
    assert of["image_encoder.1.weight"] == (1e-4, 0.0)
    assert of["text_encoder.weight"] == (1e-5, 0.1)
    assert of["head.weight"] == (1e-3, 0.1)
    assert of["log_scale"] == (1e-3, 0.0)


def test_everything_is_decayed_where_asked_for() -> None:
    groups = parameter_groups(FakeMethod(batch_norm=True), RATES.model_copy(update={"decay": "all"}))
    assert {group["weight_decay"] for group in groups} == {0.1}
    assert len(groups) == 3


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)]
)
def test_the_named_optimiser_is_built_and_scaled(name: str, kind: type[torch.optim.Optimizer]) -> None:
    optimizer = build_optimizer(FakeMethod(), RATES.model_copy(update={"name": name}))
    assert isinstance(optimizer, kind)
    set_learning_rates(optimizer, 0.5)
    set_learning_rates(optimizer, 0.1)
    assert sorted({group["lr"] for group in optimizer.param_groups}) == pytest.approx([1e-6, 1e-5, 1e-4])


def test_frozen_parameters_are_left_out_and_a_frozen_model_is_refused() -> None:
    model = FakeMethod()
    model.text_encoder.requires_grad_(False)
    names = [name for group in parameter_groups(model, RATES) for name in group["names"]]
    assert not [name for name in names if name.startswith("text_encoder")]
    model.requires_grad_(False)
    with pytest.raises(ConfigError, match="nothing is left to train"):
        parameter_groups(model, RATES)
