"""What holds for every method."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from crossray.alignment import attended_cosine
from crossray.data.batch import PairBatch
from crossray.encoders.image import ImageEncoderConfig
from crossray.errors import ConfigError
from crossray.methods.base import Method, PairFeatures, SingleProcess, TextEmbedding
from crossray.methods.build import MethodConfig
from crossray.methods.clip import ClipConfig
from crossray.methods.convirt import ConVirtConfig
from crossray.methods.global_local import GlobalLocalConfig
from crossray.methods.joimternet.config import JoImTeRNetConfig
from crossray.methods.lovt.config import LovtConfig
from crossray.methods.mgca.config import MgcaConfig
from crossray.methods.prior.config import PriorConfig
from crossray.methods.siglip import SiglipConfig
from crossray.methods.simclr import SimClrConfig
from crossray.methods.supervised import SupervisedConfig
from crossray.training.config import OptimizerConfig
from crossray.training.optimizers import parameter_groups

from ..small_model import IMAGE, LABELS, TEXT, VIT, pair_batch, reports, small_method, values
from .prior_model import config as prior_config

TEXT_CONFIGS: list[MethodConfig] = [
    ConVirtConfig(),
    GlobalLocalConfig(),
    ClipConfig(),
    SiglipConfig(),
    MgcaConfig(hidden_dim=32, embed_dim=16, prototypes=12),
]
"""Methods that read reports and learn pairs by heart here; the others do so in tests of their own."""

IMAGE_CONFIGS: list[MethodConfig] = [SimClrConfig(), SupervisedConfig(labels=LABELS)]
"""Comparators that read none."""

CONFIGS: list[MethodConfig] = [
    *TEXT_CONFIGS,
    *IMAGE_CONFIGS,
    GlobalLocalConfig(preset="reference", include_sep=True),
    LovtConfig(hidden_dim=32, embed_dim=16),
    LovtConfig(preset="reference", hidden_dim=32, embed_dim=16),
    JoImTeRNetConfig(embed_dim=16),
    JoImTeRNetConfig(preset="reference", phrases=True, embed_dim=16),
    MgcaConfig(preset="reference", hidden_dim=32, embed_dim=16, prototypes=12),
    prior_config(initial_stage="align"),
    prior_config(initial_stage="prototypes"),
    prior_config(initial_stage="reconstruct"),
    prior_config(initial_stage="reconstruct", preset="reference", gumbel_in_evaluation=False),
]

# Terms that look at one pair only: LoVT's and MGCA's local ones have negatives there, PRIOR's have none at all; and
# questions that are answered by yes or no, SigLIP's of pairs and those of labels.
INSIDE_A_PAIR = {"local_image", "local_report", "prototype", "reconstruction", "generation", "query"}
INSIDE_A_PAIR |= {"token_words", "token_patches", "pairs", "labels"}


def name_of(config: MethodConfig) -> str:
    stage = f"-{config.initial_stage}" if isinstance(config, PriorConfig) else ""
    return f"{config.name}-{config.preset}{stage}"


class CountOperations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Counts every operation that reaches the backend."""

    count = 0

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def counting() -> CountOperations:
    make: Any = CountOperations
    counter: CountOperations = make()
    return counter


def step(model: Method, features: PairFeatures) -> int:
    """Operations of the losses and their backward pass."""
    leaves = {n: v.detach().requires_grad_(v.is_floating_point()) for n, v in features.items()}
    counter = counting()
    with counter:
        total = model.losses(leaves, SingleProcess()).total
        # Some floating features carry no gradient: MGCA's weights of words and patches.
        torch.autograd.grad(total, [leaf for leaf in leaves.values() if leaf.requires_grad], allow_unused=True)
    return counter.count


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_the_number_of_operations_does_not_grow_with_the_batch(
    config: MethodConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All pairs of words and films are compared in chunks, whose number may grow: here one holds them all.
    chunks = attended_cosine._chunks
    monkeypatch.setattr(attended_cosine, "_chunks", lambda lengths, each, limit: chunks(lengths, each, 1 << 40))
    model = small_method(config).eval()
    counts = []
    for size in (32, 128):
        batch = pair_batch(reports(size))
        encoding = counting()
        with torch.no_grad(), encoding:
            features = model.encode(batch)
        counts.append((encoding.count, step(model, features)))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_pieces_of_a_batch_join_to_the_whole(config: MethodConfig) -> None:
    model = small_method(config, image=IMAGE.model_copy(update={"batch_norm": "frozen"})).eval()
    batch = pair_batch(reports(7))
    with torch.no_grad():
        whole = model.encode(batch)
        pieces = [model.encode(piece) for piece in batch.micro_batches(3)]
    joined: dict[str, Tensor] = {name: torch.cat([piece[name] for piece in pieces]) for name in whole}
    for name, value in whole.items():
        torch.testing.assert_close(joined[name], value, atol=1e-4, rtol=1e-4)
    wanted = values(model.losses(whole, SingleProcess()))
    assert values(model.losses(joined, SingleProcess())) == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_a_batch_of_one_has_a_finite_loss(config: MethodConfig) -> None:
    model = small_method(config).eval()
    with torch.no_grad():
        losses = model.losses(model.encode(pair_batch(reports(1))), SingleProcess())
    assert all(math.isfinite(value) for value in values(losses).values())
    across = {name: value for name, value in values(losses).items() if name not in INSIDE_A_PAIR}
    assert across == pytest.approx(dict.fromkeys(across, 0.0), abs=1e-5)


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_double_precision_goes_all_the_way(config: MethodConfig) -> None:
    model = small_method(config).eval().double()
    batch = pair_batch(reports(3))
    assert batch.second_view is not None
    features = model.encode(replace(batch, pixels=batch.pixels.double(), second_view=batch.second_view.double()))
    assert model.losses(features, SingleProcess()).total.dtype == torch.float64


@pytest.mark.parametrize("image", [IMAGE, VIT], ids=lambda image: image.name)
@pytest.mark.parametrize("config", TEXT_CONFIGS, ids=lambda config: config.name)
def test_check_14_eight_pairs_are_learned_by_heart(config: MethodConfig, image: ImageEncoderConfig) -> None:
    model = small_method(config, image=image, text=TEXT.model_copy(update={"dropout": 0.0})).train()
    batch = distinct_pairs(image)
    # Pairwise sigmoids first learn a bias that says no to every pair.
    before, after = train(model, batch, steps=120 if config.name == "siglip" else 60)
    assert after < 0.1 * before
    model.eval()
    with torch.no_grad():
        images, texts = model.embed_images(batch.pixels), model.embed_texts(batch.tokens)
        scores = model.similarity(images, texts, purpose="retrieval").global_scores
    assert scores.argmax(1).tolist() == list(range(8)), "R@1 = 1 from films to reports"
    assert scores.argmax(0).tolist() == list(range(8)), "R@1 = 1 from reports to films"


@pytest.mark.parametrize("image", [IMAGE, VIT], ids=lambda image: image.name)
@pytest.mark.parametrize("config", IMAGE_CONFIGS, ids=lambda config: config.name)
def test_eight_films_are_learned_by_heart(config: MethodConfig, image: ImageEncoderConfig) -> None:
    before, after = train(small_method(config, image=image).train(), distinct_pairs(image), steps=60)
    assert after < 0.05 * before


@pytest.mark.parametrize("config", [*TEXT_CONFIGS, *IMAGE_CONFIGS], ids=lambda config: config.name)
def test_each_term_falls_when_trained_alone(config: MethodConfig) -> None:
    batch = distinct_pairs(IMAGE)
    first = small_method(config)
    for term in first.losses(first.encode(batch), SingleProcess()).terms:
        model = small_method(config, text=TEXT.model_copy(update={"dropout": 0.0})).train()
        before, after = train(model, batch, steps=12, term=term)
        assert after < 0.9 * before, term


def distinct_pairs(image: ImageEncoderConfig) -> PairBatch:
    """Eight reports and films. A ViT from random weights hardly sees where a patch is: its films differ everywhere."""
    batch = pair_batch(reports(8), size=32)
    films = batch.pixels if image is VIT else films_with_a_block_each(8)
    return replace(batch, pixels=films, second_view=0.5 * films + 0.2)


def is_vit(model: Method) -> bool:
    return any("attn" in name for name, _ in model.named_parameters())


def train(model: Method, batch: PairBatch, *, steps: int, term: str | None = None) -> tuple[float, float]:
    """The loss (or one of its terms) before the first step and at the last one."""
    rates = OptimizerConfig(learning_rate=1e-2, image_encoder_learning_rate=1e-3 if is_vit(model) else 1e-2)
    optimizer = torch.optim.Adam(parameter_groups(model, rates))
    course: list[float] = []
    for _ in range(steps):
        model.before_step(len(course))
        optimizer.zero_grad()
        losses = model.losses(model.encode(batch), SingleProcess())
        total = losses.total if term is None else losses.terms[term]
        torch.autograd.backward(total)
        optimizer.step()
        model.after_step()
        course.append(total.item())
    return course[0], course[-1]


@pytest.mark.parametrize("config", TEXT_CONFIGS, ids=lambda config: config.name)
def test_check_14_random_encoders_know_no_class(config: MethodConfig) -> None:
    films, classes = 300, 5
    batch = pair_batch(reports(classes), size=32)
    pixels = 2 * torch.rand(films, 1, 32, 32, generator=torch.Generator().manual_seed(1)) - 1
    labels = torch.rand(films, classes, generator=torch.Generator().manual_seed(2)) < 0.3
    model = small_method(config).eval()
    with torch.no_grad():
        scores = model.similarity(
            model.embed_images(pixels), model.embed_texts(batch.tokens), purpose="zero_shot"
        ).global_scores
    areas, errors = per_label_area(scores, labels)
    standard_error = errors.square().sum().sqrt().item() / classes
    assert abs(areas.mean().item() - 0.5) < 3 * standard_error


def per_label_area(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The area under the ROC curve of each column, and its standard error where a score knows nothing."""
    areas, errors = [], []
    for score, label in zip(scores.T, labels.T, strict=True):
        differences = score[label].unsqueeze(1) - score[~label].unsqueeze(0)
        areas.append((differences.sign() / 2 + 0.5).mean())
        present, absent = int(label.sum()), int((~label).sum())
        errors.append(torch.tensor((present + absent + 1) / (12 * present * absent)).sqrt())
    return torch.stack(areas), torch.stack(errors)


@pytest.mark.parametrize("config", IMAGE_CONFIGS, ids=lambda config: config.name)
def test_methods_that_read_no_reports_say_so(config: MethodConfig) -> None:
    model, batch = small_method(config).eval(), pair_batch(reports(2))
    images = model.embed_images(batch.pixels)
    nothing = torch.zeros(2, 0, dtype=torch.bool)
    texts = TextEmbedding(images.pooled, images.regions[:, :0], nothing, nothing)
    assert not model.reads_reports
    assert "text_encoder" not in dict(model.named_children())
    torch.testing.assert_close(images.pooled, model.image_features(batch.pixels))
    with pytest.raises(ConfigError, match="learns from films alone"):
        model.embed_texts(batch.tokens)
    with pytest.raises(ConfigError, match="learns from films alone"):
        model.similarity(images, texts, purpose="retrieval")


def films_with_a_block_each(count: int) -> Tensor:
    """Dark films of 32 pixels, each with a bright block in a place of its own."""
    pixels = torch.full((count, 1, 32, 32), -1.0)
    for k in range(count):
        pixels[k, 0, 16 * (k // 4) : 16 * (k // 4) + 16, 8 * (k % 4) : 8 * (k % 4) + 8] = 1.0
    return pixels


def test_the_configuration_is_chosen_by_name() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(MethodConfig)
    assert isinstance(adapter.validate_python({"name": "convirt"}), ConVirtConfig)
    assert adapter.validate_python({"name": "global_local", "preset": "reference"}).positives == "identity"
