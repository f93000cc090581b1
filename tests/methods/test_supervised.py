from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nan
from torch.nn import functional as F

from crossray.errors import ConfigError
from crossray.methods.base import SingleProcess
from crossray.methods.build import build_method
from crossray.methods.supervised import SupervisedConfig
from crossray.settings import build_settings

from ..small_model import IMAGE, LABELS, TEXT, pair_batch, reports, small_method, small_tokenizer

UNKNOWN = torch.tensor([[1.0, nan], [0.0, 1.0], [nan, nan]])


def test_unknown_labels_leave_the_mean() -> None:
    model = small_method(SupervisedConfig(labels=LABELS)).eval()
    features = model.encode(replace(pair_batch(reports(3)), labels=UNKNOWN))
    logits = features["logits"]
    wanted = F.binary_cross_entropy_with_logits(
        torch.stack([logits[0, 0], logits[1, 0], logits[1, 1]]), torch.tensor([1.0, 0.0, 1.0])
    )
    loss = model.losses(features, SingleProcess()).total
    torch.testing.assert_close(loss, wanted)
    (gradient,) = torch.autograd.grad(loss, [logits])
    assert torch.equal(gradient != 0, ~UNKNOWN.isnan())


def test_a_batch_without_a_known_label_teaches_nothing() -> None:
    model = small_method(SupervisedConfig(labels=LABELS)).eval()
    loss = model.losses(
        model.encode(replace(pair_batch(reports(3)), labels=torch.full((3, 2), nan))), SingleProcess()
    ).total
    assert loss.item() == 0


def test_labels_are_chosen_by_name_in_any_order() -> None:
    batch = replace(pair_batch(reports(3)), labels=UNKNOWN)
    turned = small_method(SupervisedConfig(labels=LABELS[::-1])).encode(batch)
    assert torch.equal(turned["known"], ~UNKNOWN.isnan().flip(1))
    assert small_method(SupervisedConfig(labels=LABELS[1:])).encode(batch)["logits"].shape == (3, 1)


def test_wrong_labels_are_explained() -> None:
    with pytest.raises(ConfigError, match=r"no label 'Fracture'.*Cardiomegaly, Edema"):
        small_method(SupervisedConfig(labels=("Fracture",)))
    for labels in ([], ["Edema", "Edema"]):
        with pytest.raises(ConfigError, match="at least one label"):
            build_settings(SupervisedConfig, {"labels": labels})


def test_a_model_that_is_only_used_needs_no_label_names() -> None:
    model = build_method(IMAGE, TEXT, SupervisedConfig(), small_tokenizer()).eval()
    batch = pair_batch(reports(2))
    assert model.image_features(batch.pixels).shape == (2, 96)
    with pytest.raises(ConfigError, match="built to be used"):
        model.encode(batch)
