"""What is remembered of a report is what the frozen layers make of it, whatever it is padded to."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from crossray.data.batch import TokenBatch
from crossray.encoders.frozen_text import FrozenStates
from crossray.encoders.text import TextEncoder, TextEncoderConfig
from crossray.errors import ConfigError

from ..small_model import TEXT, small_tokenizer

TEXTS = ["The heart is enlarged. No effusion.", "", "Clear lungs.", "Clear lungs.", "Small left effusion."]


def batch(texts: list[str], length: int | None = None) -> TokenBatch:
    tokenizer = small_tokenizer()
    return tokenizer.collate(tokenizer.encode(texts), length)


def encoder(*, remember: bool, **options: Any) -> TextEncoder:
    torch.manual_seed(0)
    frozen = {"layers": 3, "freeze_embeddings": True, "frozen_layers": 2, "remember_frozen": remember}
    config = TextEncoderConfig.model_validate({**TEXT.model_dump(), **frozen, **options})
    return TextEncoder(config, small_tokenizer().vocabulary_size)


def test_features_and_gradients_are_those_of_the_whole_model() -> None:
    plain, remembering = encoder(remember=False).eval(), encoder(remember=True).eval()
    for texts in (TEXTS, TEXTS[::-1], TEXTS[2:], TEXTS):  # some known, some new
        wanted, found = plain(batch(texts)), remembering(batch(texts, 20))
        for model, features in ((plain, wanted), (remembering, found)):
            model.zero_grad()
            (features.report.sum() + features.words.square().sum()).backward()
        longest = wanted.words.shape[1]
        torch.testing.assert_close(found.report, wanted.report, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.words[:, :longest], wanted.words, atol=1e-5, rtol=1e-5)
        for (name, left), right in zip(plain.named_parameters(), remembering.parameters(), strict=True):
            assert (left.grad is None) == (right.grad is None), name
            if left.grad is not None and right.grad is not None:
                torch.testing.assert_close(right.grad, left.grad, atol=1e-4, rtol=1e-4)


def test_a_report_goes_through_the_frozen_layers_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, read, compute = encoder(remember=True).train(), list[int](), FrozenStates._compute

    def counted(states: FrozenStates, ids: Tensor, mask: Tensor) -> Tensor:
        read.append(len(ids))
        return compute(states, ids, mask)

    monkeypatch.setattr(FrozenStates, "_compute", counted)
    for _ in range(3):
        model(batch(TEXTS))
    assert sum(read) == 4  # two of the five are the same


def test_what_is_remembered_has_no_dropout_in_it_and_what_learns_has() -> None:
    model = encoder(remember=True, dropout=0.5).train()
    assert not any(module.training for module in model.bert.encoder.layer[1].modules())
    first, second = model(batch(TEXTS)).report, model(batch(TEXTS)).report
    assert not torch.allclose(first, second)
    states = [model._frozen_states.of(batch(TEXTS)) for _ in range(2) if model._frozen_states is not None]
    assert torch.equal(*states)


def test_other_weights_are_another_memory() -> None:
    model, other = encoder(remember=True).eval(), encoder(remember=True).eval()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model(batch(TEXTS))
    model.load_state_dict(other.state_dict())
    torch.testing.assert_close(model(batch(TEXTS)).report, other(batch(TEXTS)).report)


def test_beyond_its_bound_nothing_more_is_kept_and_nothing_changes() -> None:
    model = encoder(remember=True).eval()
    whole = FrozenStates(model.bert, 2)
    bounded = FrozenStates(model.bert, 2, most_tokens=15)
    for texts in (TEXTS[:2], TEXTS, TEXTS[:2]):
        torch.testing.assert_close(bounded.of(batch(texts)), whole.of(batch(texts)))
    assert bounded._used <= 15 < whole._used


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"freeze_embeddings": False}, "needs freeze_embeddings"),
        ({"last_layers": 3}, "the last 3 states are wanted, and of the layers that learn there are 1"),
    ],
)
def test_what_cannot_be_remembered_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, ValueError), match=message):
        encoder(remember=True, **options)
