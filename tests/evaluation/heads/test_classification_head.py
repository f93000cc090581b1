"""The linear head of classification."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from crossray.evaluation.heads.classification import LinearClassification
from tests.evaluation.heads.trunks import KINDS, films, small_trunk


@pytest.mark.parametrize("name", KINDS)
def test_every_trunk_goes_through_the_classification_head(name: str) -> None:
    trunk = small_trunk(name).freeze()
    head = LinearClassification(trunk.channels, 3)
    maps = trunk(films())
    logits = head(maps)
    assert torch.equal(logits, maps.pooled @ head.classify.weight.T + head.classify.bias)
    logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())
    assert all(parameter.grad is None for parameter in trunk.parameters())


def test_what_is_dropped_is_dropped_in_training_only() -> None:
    trunk = small_trunk("test_resnet").freeze()
    head, maps = LinearClassification(trunk.channels, 1, dropout=0.5), trunk(films())
    nn.init.ones_(head.classify.weight)
    torch.manual_seed(0)
    assert not torch.equal(head(maps), head(maps))
    head.eval()
    assert torch.equal(head(maps), head(maps))
