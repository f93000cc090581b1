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

from crossray.methods.base import Method, PairFeatures, SingleProcess
from crossray.methods.build import MethodConfig
from crossray.methods.convirt import ConVirtConfig
from crossray.methods.global_local import GlobalLocalConfig
from crossray.methods.joimternet.config import JoImTeRNetConfig
from crossray.methods.lovt.config import LovtConfig
from crossray.methods.prior.config import PriorConfig

from ..small_model import IMAGE, TEXT, pair_batch, reports, small_method, values
from .prior_model import config as prior_config

CONFIGS: list[MethodConfig] = [
    ConVirtConfig(),
    GlobalLocalConfig(),
    GlobalLocalConfig(preset="reference", include_sep=True),
    LovtConfig(hidden_dim=32, embed_dim=16),
    LovtConfig(preset="reference", hidden_dim=32, embed_dim=16),
    JoImTeRNetConfig(embed_dim=16),
    JoImTeRNetConfig(preset="reference", phrases=True, embed_dim=16),
    prior_config(initial_stage="align"),
    prior_config(initial_stage="prototypes"),
    prior_config(initial_stage="reconstruct"),
    prior_config(initial_stage="reconstruct", preset="reference", gumbel_in_evaluation=False),
]

# Terms that look at one pair only: LoVT's local ones have negatives there, PRIOR's have none at all.
INSIDE_A_PAIR = {"local_image", "local_report", "prototype", "reconstruction", "generation", "query"}


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
        torch.autograd.grad(total, [leaf for leaf in leaves.values() if leaf.requires_grad])
    return counter.count


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_the_number_of_operations_does_not_grow_with_the_batch(config: MethodConfig) -> None:
    model = small_method(config).eval()
    counts = []
    for size in (8, 32):
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
    features = model.encode(replace(batch, pixels=batch.pixels.double()))
    assert model.losses(features, SingleProcess()).total.dtype == torch.float64


@pytest.mark.parametrize("config", CONFIGS[:2], ids=lambda config: config.name)
def test_check_14_eight_pairs_are_learned_by_heart(config: MethodConfig) -> None:
    model = small_method(config, text=TEXT.model_copy(update={"dropout": 0.0})).train()
    batch = replace(pair_batch(reports(8)), pixels=films_with_a_block_each(8))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        total = model.losses(model.encode(batch), SingleProcess()).total
        torch.autograd.backward(total)
        optimizer.step()
    assert total.item() < 0.05
    model.eval()
    with torch.no_grad():
        images, texts = model.embed_images(batch.pixels), model.embed_texts(batch.tokens)
        scores = model.similarity(images, texts, purpose="retrieval").global_scores
    assert scores.argmax(1).tolist() == list(range(8)), "R@1 = 1 from films to reports"
    assert scores.argmax(0).tolist() == list(range(8)), "R@1 = 1 from reports to films"


@pytest.mark.parametrize("config", CONFIGS[:2], ids=lambda config: config.name)
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
