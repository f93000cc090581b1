from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crossray.methods.base import PairFeatures, SingleProcess
from crossray.methods.clip import Clip, ClipConfig

from ..small_model import pair_batch, reports, small_method, values


def method(**options: object) -> Clip:
    built = small_method(ClipConfig.model_validate(options))
    assert isinstance(built, Clip)
    return built.double()


def features(image: Tensor, report: Tensor) -> PairFeatures:
    return {
        "image": image,
        "report": report,
        "text_group": torch.arange(len(image)),
        "label_codes": torch.zeros(len(image), 1, dtype=torch.int64),
    }


def loss_at(scale: float, image: Tensor, report: Tensor) -> float:
    model = method(initial_temperature=1 / scale)
    return model.losses(features(image, report), SingleProcess()).total.item()


def test_b4_orthonormal_oblique_and_equal_pairs() -> None:
    basis = torch.eye(4, dtype=torch.float64)
    assert loss_at(1, basis, basis) == pytest.approx(0.743668, abs=1e-6)
    assert loss_at(10, basis, basis) == pytest.approx(1.3619e-4, rel=1e-4)
    oblique = torch.linalg.cholesky(0.5 * torch.eye(4, dtype=torch.float64) + 0.5)  # cosine 0.5 off the diagonal
    assert loss_at(10, oblique, oblique) == pytest.approx(0.0200123, abs=1e-6)
    same = torch.ones(4, 3, dtype=torch.float64)
    assert loss_at(10, same, same) == pytest.approx(math.log(4))
    many = torch.ones(588, 3, dtype=torch.float64)
    assert loss_at(10, many, many) == pytest.approx(6.376727, abs=1e-6)


def test_b4_the_scale_starts_at_the_published_value_and_is_clamped_after_a_step() -> None:
    model = method()
    assert model.log_scale.item() == pytest.approx(2.65926, abs=1e-5)
    for wild, kept in ((99.0, math.log(100)), (-3.0, 0.0), (2.0, 2.0)):
        nn.init.constant_(model.log_scale, wild)
        model.after_step()
        assert model.log_scale.item() == pytest.approx(kept)


def test_b4_local_losses_averaged_over_ranks_are_the_loss_of_the_gathered_batch() -> None:
    """open_clip's local loss: own rows against all columns, labels shifted by rank x B."""
    generator = torch.Generator().manual_seed(0)
    image, report = (torch.randn(8, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    model = method(positives="identity")
    logits = model.scale.detach() * F.normalize(image) @ F.normalize(report).T
    local = []
    for rank in range(2):
        rows, labels = slice(4 * rank, 4 * rank + 4), torch.arange(4) + 4 * rank
        ways = (F.cross_entropy(logits[rows], labels), F.cross_entropy(logits.T[rows], labels))
        local.append((ways[0] + ways[1]) / 2)
    whole = model.losses(features(image, report), SingleProcess()).total
    torch.testing.assert_close(whole, torch.stack(local).mean())


def test_the_total_is_the_mean_of_both_directions_and_the_scale_learns() -> None:
    model = method().float().train()
    losses = model.losses(model.encode(pair_batch(reports(5))), SingleProcess())
    assert losses.total.item() == pytest.approx(sum(values(losses).values()) / 2)
    gradients = torch.autograd.grad(losses.total, list(model.parameters()), allow_unused=True)
    assert all(gradient is not None for gradient in gradients)


def test_reference_treats_a_shared_text_as_a_negative() -> None:
    generator = torch.Generator().manual_seed(0)
    image, report = (torch.randn(4, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    shared = {**features(image, report), "text_group": torch.tensor([0, 1, 2, 0])}
    wanted = values(method().losses(features(image, report), SingleProcess()))
    assert values(method(preset="reference").losses(shared, SingleProcess())) == pytest.approx(wanted)
    for other_positives in ("target", "masked"):
        clean = values(method(other_positives=other_positives).losses(shared, SingleProcess()))
        assert clean != pytest.approx(wanted, rel=1e-2)


def test_heads_are_linear_to_512_and_places_ground_phrases() -> None:
    model, batch = method().float().eval(), pair_batch(reports(3))
    assert isinstance(model.image_projection, nn.Linear)
    with torch.no_grad():
        images, texts = model.embed_images(batch.pixels), model.embed_texts(batch.tokens)
    assert (images.regions.shape, texts.report.shape, texts.words.shape) == ((3, 4, 512), (3, 512), (3, 0, 512))
    assert model.phrase_map(images, texts).shape == (3, 4)
