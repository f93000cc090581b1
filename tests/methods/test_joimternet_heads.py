from __future__ import annotations

import pytest
import torch

from crossray.encoders.image import parameter_count
from crossray.methods.joimternet.config import JoImTeRNetConfig
from crossray.methods.joimternet.heads import (
    ClassificationHead,
    Inputs,
    JoImTeRNetClassifier,
    label_weights,
    weighted_label_loss,
)
from crossray.methods.joimternet.method import JoImTeRNet

from ..small_model import pair_batch, reports, small_method

MIMIC_STUDIES = 217_246
MIMIC_POSITIVES = torch.tensor(
    [43590, 42520, 10207, 25470, 6760, 4189, 5931, 48778, 72528, 51348, 1894, 15677, 9927, 63100]
)
EVERY_INPUT: list[Inputs] = ["image", "text", "both"]


def classifier(inputs: Inputs = "both", *, freeze: bool = False, phrases: bool = False) -> JoImTeRNetClassifier:
    model = small_method(JoImTeRNetConfig(embed_dim=16, phrases=phrases))
    assert isinstance(model, JoImTeRNet)
    return JoImTeRNetClassifier(model, 2, inputs, freeze=freeze)


def test_check_14_the_weights_of_the_fourteen_labels() -> None:
    weights = label_weights(MIMIC_POSITIVES, MIMIC_STUDIES)
    wanted = [1.664, 1.706, 5, 2.848, 5, 5, 5, 1.487, 1, 1.412, 5, 4.626, 5, 1.149]
    assert weights.positive.tolist() == pytest.approx(wanted, abs=5e-4)
    assert weights.label[8].item() == pytest.approx((MIMIC_STUDIES - 72528) / MIMIC_STUDIES)


def test_the_loss_agrees_with_the_formula_written_as_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[1, 0, -1], [0, 1, 1], [float("nan"), 1, 0], [1, 1, 1], [0, 0, 0]])
    weights = label_weights(torch.tensor([40, 10, 1]), 100)
    total = torch.zeros((), dtype=torch.float64)
    for row, known in zip(logits, labels.tolist(), strict=True):
        for k in range(3):
            p, a, y = weights.positive[k].double(), weights.label[k].double(), float(known[k] == 1)
            probability = row[k].sigmoid()
            total = total + a * (-p * y * probability.log() - (1 - y) * (1 - probability).log())
    loss = weighted_label_loss(logits, labels, weights)
    torch.testing.assert_close(loss, total / 15)
    torch.testing.assert_close(*(torch.autograd.grad(value, logits)[0] for value in (loss, total / 15)))


def test_a_label_that_is_never_present_has_a_finite_weight() -> None:
    weights = label_weights(torch.tensor([10, 0]), 20)
    assert weights.positive.tolist() == [1, 5]
    assert weights.label.tolist() == [0.5, 1]


@pytest.mark.parametrize(
    ("inputs", "wanted"),
    [
        ("image", 2 * (512 * 256 + 256) + (512 * 256 + 256) + (256 * 14 + 14)),
        ("text", 2 * (512 * 256 + 256) + (512 * 256 + 256) + (256 * 14 + 14)),
        ("both", 4 * (512 * 256 + 256) + (1024 * 512 + 512) + (512 * 256 + 256) + (256 * 14 + 14)),
    ],
)
def test_the_heads_have_the_published_layers(inputs: Inputs, wanted: int) -> None:
    head = ClassificationHead(512, 14, inputs)
    assert parameter_count(head) == wanted
    linear = [module for module in head.modules() if isinstance(module, torch.nn.Linear)]
    dropout = [module.p for module in head.modules() if isinstance(module, torch.nn.Dropout)]
    assert dropout == [0.5] * len(linear)


@pytest.mark.parametrize("inputs", EVERY_INPUT)
@pytest.mark.parametrize("count", [1, 3])
def test_every_head_gives_logits_alone_for_one_study_too(inputs: Inputs, count: int) -> None:
    model, batch = classifier(inputs).eval(), pair_batch(reports(count))
    logits = model(
        None if inputs == "text" else batch.pixels,
        None if inputs == "image" else batch.tokens,
    )
    assert isinstance(logits, torch.Tensor)
    assert logits.shape == (count, 2)


@pytest.mark.parametrize("phrases", [False, True])
def test_padding_leaves_the_logits(phrases: bool) -> None:
    model, texts = classifier("text", phrases=phrases).eval(), reports(4)
    with torch.no_grad():
        short, long = (model(tokens=pair_batch(texts, length=length).tokens) for length in (None, 24))
    torch.testing.assert_close(short, long, atol=1e-5, rtol=1e-5)


def test_what_the_head_reads_must_be_given() -> None:
    batch = pair_batch(reports(2))
    with pytest.raises(ValueError, match="reads reports"):
        classifier("both")(batch.pixels)
    with pytest.raises(ValueError, match="reads films"):
        classifier("image")(tokens=batch.tokens)


def test_a_frozen_model_stands_still_and_a_tuned_one_learns() -> None:
    batch = pair_batch(reports(8))
    weights = label_weights(torch.tensor([4, 3]), 8)
    for freeze in (True, False):
        model = classifier(freeze=freeze).train()
        before = {name: value.clone() for name, value in model.model.state_dict().items()}
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
        history = []
        for _ in range(16):
            optimizer.zero_grad()
            loss = weighted_label_loss(model(batch.pixels, batch.tokens), batch.labels, weights)
            torch.autograd.backward(loss)
            optimizer.step()
            history.append(loss.item())
        assert sum(history[-5:]) < sum(history[:5])
        moved = [name for name, value in model.model.state_dict().items() if not torch.equal(value, before[name])]
        assert bool(moved) != freeze
        assert model.model.training != freeze
