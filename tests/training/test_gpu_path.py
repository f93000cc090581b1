"""What is to hold on a GPU and can be seen without one: number formats, memory layouts, page-locked batches.

How often a step waits for its device: ``test_host_syncs.py``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from crossray.data import pairs
from crossray.encoders.image import ImageEncoder, ImageEncoderConfig
from crossray.methods.base import SingleProcess
from crossray.methods.build import MethodConfig
from crossray.settings import build_settings
from crossray.training import loop
from crossray.training.config import OptimizerConfig, TrainingConfig
from crossray.training.distributed import start_fabric
from crossray.training.state import TrainingState
from crossray.training.step import encode
from crossray.training.timeline import plan_run
from crossray.training.validation import ValidationSet
from tests.small_model import IMAGE, VIT, pair_batch, reports, small_method
from tests.training.fakes import QUIET, FakeMethod, fake_dataset, fake_parts

NAMES = ("clip", "convirt", "siglip", "simclr", "mgca", "global_local", "joimternet", "lovt", "prior")
METHODS: list[dict[str, Any]] = [
    *({"name": name} for name in NAMES),
    {"name": "supervised", "labels": ["Cardiomegaly", "Edema"]},
]
PRODUCTS = {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"}
# Where half precision overflows, saturates or cancels.
DELICATE = {"aten::_softmax", "aten::_log_softmax", "aten::logsumexp", "aten::exp", "aten::log"}


class NumberFormats(TorchDispatchMode):
    """The formats of the floating tensors that each operation was given: ``given[operation]``, one for each call."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.given: dict[str, list[torch.dtype]] = defaultdict(list)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        self.given[func._schema.name] += [tensor.dtype for tensor in tensors if tensor.is_floating_point()][:1]
        return func(*args, **kwargs)


@pytest.mark.parametrize("own", METHODS, ids=lambda own: own["name"])
def test_encoders_multiply_in_bfloat16_and_pairs_are_compared_in_float32(own: dict[str, Any]) -> None:
    method = small_method(TypeAdapter(MethodConfig).validate_python(own))
    batch, fabric = pair_batch(reports(6)), start_fabric(QUIET, "bf16-mixed")
    for stage in method.stages or (None,):
        if stage is not None:
            method.enter_stage(stage)
        with NumberFormats() as encoding:
            features = encode(fabric, method, batch)
        with NumberFormats() as comparing:
            losses = method.losses(features, SingleProcess())
            torch.autograd.grad(losses.total, [f for f in features.values() if f.requires_grad], allow_unused=True)
        assert set(encoding.given["aten::convolution"]) == {torch.bfloat16}
        products = [dtype for product in PRODUCTS for dtype in encoding.given[product]]
        if method.reads_reports:
            assert products.count(torch.bfloat16) > len(products) / 2
        assert {dtype for seen in comparing.given.values() for dtype in seen} == {torch.float32}
        delicate = {name: set(encoding.given[name]) - {torch.float32} for name in DELICATE}
        assert delicate == {name: set() for name in DELICATE}
        assert {value.dtype for value in features.values() if value.is_floating_point()} == {torch.float32}
        assert {parameter.dtype for parameter in method.parameters()} == {torch.float32}


@pytest.mark.parametrize("config", [IMAGE, VIT, ImageEncoderConfig(pretrained="none", trunk_options={})])
def test_maps_lie_channels_last_through_the_whole_trunk(config: ImageEncoderConfig) -> None:
    encoder = ImageEncoder(config)
    found: list[bool] = []

    def look(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        found.append(output.is_contiguous(memory_format=torch.channels_last))

    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(look)
            assert module.weight.is_contiguous(memory_format=torch.channels_last)
    encoder(torch.randn(2, 1, 32, 32))
    assert found
    assert all(found)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_the_optimiser_updates_in_one_kernel_except_under_a_loss_scaler(
    name: Literal["adam", "adamw", "sgd"], precision: str
) -> None:
    config = build_settings(TrainingConfig, {"precision": precision, "optimizer": OptimizerConfig(name=name)})
    method = FakeMethod()
    state = TrainingState.start(method, config, plan_run(method, config, [1] * config.epochs).stages[0])
    assert {group["fused"] for group in state.optimizer.param_groups} == {precision != "16-mixed"}


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_batches_for_a_gpu_are_loaded_into_page_locked_memory(
    device: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[bool] = []

    def loader(dataset: object, *, pin_memory: bool, **others: object) -> list[object]:
        asked.append(pin_memory)
        return []

    monkeypatch.setattr(pairs, "DataLoader", loader)
    parts, config = fake_parts(), TrainingConfig()
    fabric: Any = SimpleNamespace(device=torch.device(device), global_rank=0, world_size=1)
    session: Any = SimpleNamespace(fabric=fabric, parts=parts, config=config, runtime=QUIET)
    state: Any = SimpleNamespace(method=parts.method, place=SimpleNamespace(epoch=0, batch=0))
    assert list(loop._training_batches(session, state)) == []
    assert list(ValidationSet(fake_dataset(0, 8), parts.image, 4).batches(fabric, torch.float32)) == []
    assert asked == [device == "cuda"] * 2
