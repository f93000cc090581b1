from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from crossray.encoders.text import TextEncoderConfig
from crossray.methods.base import PairFeatures, SingleProcess
from crossray.methods.convirt import ConVirt, ConVirtConfig

from ..small_model import TEXT, pair_batch, reports, small_method, values


def method(**options: object) -> ConVirt:
    text = TextEncoderConfig.model_validate({**TEXT.model_dump(), "report_pooling": "max"})
    built = small_method(ConVirtConfig.model_validate(options), text=text)
    assert isinstance(built, ConVirt)
    return built


def features(image: Tensor, report: Tensor) -> PairFeatures:
    count = len(image)
    return {
        "image": image,
        "report": report,
        "text_group": torch.arange(count),
        "label_codes": torch.zeros(count, 1, dtype=torch.int64),
    }


def test_check_b1_orthonormal_and_identical_pairs() -> None:
    model = method()
    basis = torch.eye(4, dtype=torch.float64)
    assert model.losses(features(basis, basis), SingleProcess()).total.item() == pytest.approx(1.3619e-4, rel=1e-4)
    same = torch.ones(4, 3)
    assert model.losses(features(same, same), SingleProcess()).total.item() == pytest.approx(math.log(4))


def test_check_b1_swapping_the_roles_is_swapping_the_weights() -> None:
    generator = torch.Generator().manual_seed(0)
    image, report = (torch.randn(5, 8, generator=generator) for _ in range(2))
    swapped = method(image_to_text_weight=0.25, text_to_image_weight=0.75)
    plain = method().losses(features(image, report), SingleProcess()).total
    torch.testing.assert_close(swapped.losses(features(report, image), SingleProcess()).total, plain)
    assert abs(method().losses(features(report, image), SingleProcess()).total - plain) > 1e-3


def test_the_temperature_divides() -> None:
    basis = torch.eye(2, dtype=torch.float64)
    loss = method(preset="mgca").losses(features(basis, basis), SingleProcess()).total
    assert loss.item() == pytest.approx(2 * math.log1p(math.exp(-1 / 0.07)), rel=1e-4)


def test_presets_are_the_published_variants() -> None:
    mgca, benchx, reference = (ConVirtConfig(preset=name) for name in ("mgca", "benchx", "reference"))
    assert (mgca.image_to_text_weight, mgca.text_to_image_weight, mgca.temperature) == (1.0, 1.0, 0.07)
    assert (benchx.image_to_text_weight, benchx.hidden_dim, benchx.embed_dim) == (0.75, 768, 768)
    assert reference.positives == "identity"
    last = list(method(preset="mgca").image_projection.children())[-1]
    assert isinstance(last, nn.BatchNorm1d)
    assert not last.affine


@pytest.mark.parametrize("projection", ["linear", "mlp", "mlp_batch_norm"])
def test_gradients_reach_every_weight(projection: str) -> None:
    model = method(projection=projection).train()
    losses = model.losses(model.encode(pair_batch(reports(4))), SingleProcess())
    gradients = torch.autograd.grad(losses.total, list(model.parameters()), allow_unused=True)
    untouched = [n for (n, _), g in zip(model.named_parameters(), gradients, strict=True) if g is None]
    assert untouched == []
    assert set(values(losses)) == {"image_to_text", "text_to_image"}


def test_there_are_places_but_no_words_and_no_local_score() -> None:
    model, batch = method().eval(), pair_batch(reports(3))
    with torch.no_grad():
        images, texts = model.embed_images(batch.pixels), model.embed_texts(batch.tokens)
        similarity = model.similarity(images, texts, purpose="zero_shot")
    assert (images.regions.shape, images.grid) == ((3, 4, 512), (2, 2))
    assert model.phrase_map(images, texts).shape == (3, 4)
    assert texts.words.shape == (3, 0, 512)
    assert similarity.local_scores is None
    assert similarity.global_scores.shape == (3, 3)
    assert model.image_features(batch.pixels).shape == (3, 96)
