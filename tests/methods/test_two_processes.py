from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from crossray.methods.base import Gather, LossTerms, Method, SingleProcess
from crossray.methods.build import MethodConfig
from crossray.methods.clip import ClipConfig
from crossray.methods.convirt import ConVirtConfig
from crossray.methods.global_local import GlobalLocalConfig
from crossray.methods.joimternet.config import JoImTeRNetConfig
from crossray.methods.lovt.config import LovtConfig
from crossray.methods.mgca.config import MgcaConfig
from crossray.methods.siglip import SiglipConfig
from crossray.methods.simclr import SimClrConfig
from crossray.methods.supervised import SupervisedConfig
from crossray.training.distributed import ProcessGather

from ..small_model import LABELS, pair_batch, reports, small_method
from ..training.processes import run_together
from .prior_model import config as prior_config

CONFIGS: list[MethodConfig] = [
    ConVirtConfig(),
    GlobalLocalConfig(),
    GlobalLocalConfig(preset="reference"),
    GlobalLocalConfig(positives="same_label"),
    LovtConfig(hidden_dim=32, embed_dim=16),
    LovtConfig(preset="reference", hidden_dim=32, embed_dim=16),
    JoImTeRNetConfig(embed_dim=16),
    JoImTeRNetConfig(preset="reference", phrases=True, embed_dim=16),
    prior_config(),
    prior_config(initial_stage="reconstruct"),
    prior_config(initial_stage="reconstruct", preset="reference", gumbel_in_evaluation=False),
    MgcaConfig(hidden_dim=32, embed_dim=16, prototypes=12),
    MgcaConfig(preset="reference", across_processes=True, hidden_dim=32, embed_dim=16, prototypes=12),
    ClipConfig(),
    SiglipConfig(),
    SiglipConfig(positives="identity"),
    SimClrConfig(),
    SupervisedConfig(labels=LABELS),
]
APART = MgcaConfig(preset="reference", hidden_dim=32, embed_dim=16, prototypes=12)
"""Processes that keep to themselves, as MGCA's published code has them: their losses are averaged."""

TEXTS = [*reports(6), reports(1)[0], ""]


def gradients_of(method: Method, rows: slice, gather: Gather) -> tuple[LossTerms, Tensor]:
    """Losses and all parameters' gradients, end to end, of ``rows`` of one global batch; encoders do not train."""
    method.eval().double()
    batch = pair_batch(TEXTS, length=24)
    assert batch.second_view is not None
    batch = replace(batch, pixels=batch.pixels.double(), second_view=batch.second_view.double())
    features = method.encode(batch.rows(rows))
    losses = method.losses(features, gather)
    parameters = list(method.parameters())
    gradients = torch.autograd.grad(losses.total, parameters, allow_unused=True, materialize_grads=True)
    return losses, torch.cat([gradient.reshape(-1) for gradient in gradients])


def half_of_the_batch_each(folder: Path) -> None:
    dist.init_process_group("gloo")
    gather, rank = ProcessGather(torch.device("cpu")), dist.get_rank()
    for number, config in enumerate([*CONFIGS, APART]):
        losses, gradient = gradients_of(small_method(config), slice(4 * rank, 4 * rank + 4), gather)
        dist.all_reduce(gradient)
        torch.save((dict(losses.terms), gradient / 2), folder / f"{number}-{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_give_the_losses_and_gradients_of_one(tmp_path: Path) -> None:
    run_together(2, half_of_the_batch_each, tmp_path)
    for number, config in enumerate(CONFIGS):
        losses, wanted = gradients_of(small_method(config), slice(0, 8), SingleProcess())
        assert_same_on_both(tmp_path, number, losses.terms, wanted)
    halves = [gradients_of(small_method(APART), slice(4 * rank, 4 * rank + 4), SingleProcess()) for rank in range(2)]
    mean_terms = {name: (term + halves[1][0].terms[name]) / 2 for name, term in halves[0][0].terms.items()}
    assert_same_on_both(tmp_path, len(CONFIGS), mean_terms, (halves[0][1] + halves[1][1]) / 2)


def assert_same_on_both(folder: Path, number: int, wanted: Mapping[str, Tensor], wanted_gradient: Tensor) -> None:
    for rank in range(2):
        terms, gradient = torch.load(folder / f"{number}-{rank}.pt", weights_only=True)
        for name, term in wanted.items():
            torch.testing.assert_close(terms[name], term.detach(), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(gradient, wanted_gradient, rtol=1e-6, atol=1e-9)
