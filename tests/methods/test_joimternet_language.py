from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from crossray.data.batch import TokenBatch
from crossray.encoders.tokenizer import ReportTokenizer
from crossray.methods.base import SingleProcess
from crossray.methods.joimternet.config import JoImTeRNetConfig
from crossray.methods.joimternet.masked_language import MaskedLanguageModel
from crossray.methods.joimternet.method import MASKED_LANGUAGE, JoImTeRNet

from ..small_model import pair_batch, reports, small_method, small_tokenizer, values


def word_level(words: int) -> ReportTokenizer:
    names = " ".join(f"word{k}" for k in range(words))
    return ReportTokenizer.learn_words([names, names], words + 5)


def language(tokenizer: ReportTokenizer, probability: float = 0.15) -> MaskedLanguageModel:
    torch.manual_seed(0)
    return MaskedLanguageModel(8, tokenizer, probability)


def tokens_of(ids: torch.Tensor) -> TokenBatch:
    return TokenBatch(ids, ids != 0, ids - 4, torch.zeros_like(ids))


def test_check_08_equal_logits_cost_the_log_of_the_answers() -> None:
    model = language(word_level(8406))
    for parameter in model.head[3].parameters():
        torch.nn.init.zeros_(parameter)
    ids = torch.tensor([[1, 4, 8409, 2]])
    loss = model(torch.randn(1, 4, 8), ids, ids > 3)
    assert (loss.total / loss.count).item() == pytest.approx(9.037177, abs=1e-5)
    assert loss.count.tolist() == [2]


def test_check_08_eighty_per_cent_are_masked_ten_replaced_ten_kept() -> None:
    model = language(word_level(200))
    ids = torch.randint(0, 204, (400, 500), generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    corrupted = model.corrupt(tokens_of(ids))
    chosen, shown = corrupted.chosen, corrupted.tokens.input_ids
    assert not (chosen & (ids <= 3)).any()
    assert torch.equal(shown[~chosen], ids[~chosen])
    assert chosen.sum().item() / (ids > 3).sum().item() == pytest.approx(0.15, abs=0.005)
    masked, kept = shown[chosen] == model.mask_id, shown[chosen] == ids[chosen]
    assert masked.float().mean().item() == pytest.approx(0.8, abs=0.01)
    assert kept.float().mean().item() == pytest.approx(0.1, abs=0.01)
    replaced = shown[chosen][~masked & ~kept]
    assert (replaced.min().item(), replaced.max().item()) == (4, 203)


@pytest.mark.parametrize("tokenizer", [word_level(50), small_tokenizer()], ids=["word_level", "wordpiece"])
def test_no_special_token_is_chosen_or_drawn_and_every_other_one_is_an_answer(tokenizer: ReportTokenizer) -> None:
    model = language(tokenizer, probability=1.0)
    ids = torch.arange(tokenizer.vocabulary_size).repeat(50, 1)
    tokens = replace(tokens_of(ids), attention_mask=torch.ones_like(ids, dtype=torch.bool))
    corrupted = model.corrupt(tokens)
    special = torch.isin(ids, torch.tensor(tokenizer.special_ids))
    assert torch.equal(corrupted.chosen, ~special)
    drawn = corrupted.tokens.input_ids[corrupted.chosen]
    assert not torch.isin(drawn[drawn != tokenizer.mask_id], torch.tensor(tokenizer.special_ids)).any()
    assert model(torch.randn(*ids.shape, 8), ids, corrupted.chosen).total.isfinite().all()


def test_the_loss_is_the_mean_over_all_chosen_places() -> None:
    model = language(word_level(20))
    states, ids = torch.randn(3, 6, 8), torch.randint(4, 24, (3, 6))
    chosen = torch.tensor([[0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]], dtype=torch.bool)
    loss = model(states, ids, chosen)
    logs = model.head(states).log_softmax(2)
    wanted = [sum(-logs[b, k, ids[b, k]] for k in range(6) if chosen[b, k]) for b in range(3)]
    torch.testing.assert_close(loss.total, torch.stack([torch.as_tensor(value) for value in wanted]))
    method = small_method(JoImTeRNetConfig(embed_dim=8))
    terms = method.losses({"language_loss": loss.total, "language_count": loss.count}, SingleProcess())
    assert values(terms)[MASKED_LANGUAGE] == pytest.approx(sum(value.item() for value in loss.total) / 4, rel=1e-5)


def test_a_batch_without_a_chosen_token_costs_nothing() -> None:
    model = small_method(JoImTeRNetConfig(embed_dim=8)).train()
    batch = replace(pair_batch(["", ""]), task=MASKED_LANGUAGE, pixels=torch.zeros(2, 1, 0, 0))
    losses = model.losses(model.encode(batch), SingleProcess())
    torch.autograd.backward(losses.total)
    assert losses.total.item() == 0


def test_the_task_takes_its_share_of_the_steps_and_reads_no_films() -> None:
    (task,) = small_method(JoImTeRNetConfig(embed_dim=8)).auxiliary_tasks
    assert (task.name, task.share, task.needs_films) == (MASKED_LANGUAGE, 0.7, False)
    without = small_method(JoImTeRNetConfig(embed_dim=8, masked_language_share=0))
    assert without.auxiliary_tasks == ()
    assert isinstance(without, JoImTeRNet)
    assert without.language is None


def test_the_language_term_falls_when_trained_alone() -> None:
    model = small_method(JoImTeRNetConfig(embed_dim=8, masked_language_probability=0.5)).train()
    batch = replace(pair_batch(reports(8)), task=MASKED_LANGUAGE, pixels=torch.zeros(8, 1, 0, 0))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    history = []
    for _ in range(40):
        optimizer.zero_grad()
        term = model.losses(model.encode(batch), SingleProcess()).total
        torch.autograd.backward(term)
        optimizer.step()
        history.append(term.item())
    assert sum(history[-5:]) < 0.7 * sum(history[:5])
    assert history[0] < 2 * math.log(240)
