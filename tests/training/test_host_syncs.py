"""How often a training step makes the host wait for its device: once, to read the losses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from crossray.data.augment import AugmentationConfig, ImageInputConfig
from crossray.data.batch import PairBatch
from crossray.data.pairs import to_pair_batch
from crossray.data.sampling import BatchRequest
from crossray.devices import to_device
from crossray.methods.base import Method, SingleProcess
from crossray.methods.build import MethodConfig
from crossray.settings import build_settings
from crossray.training import loop, optimizers, state
from crossray.training.config import TrainingConfig
from crossray.training.distributed import start_fabric
from crossray.training.logs import RunLog
from crossray.training.session import Session, TrainingParts
from crossray.training.signals import StopSignals
from crossray.training.state import TrainingState
from crossray.training.timeline import plan_run
from tests.host_syncs import DEVICE, HostSyncs
from tests.small_model import TEXT, pair_batch, reports, small_method
from tests.training.fakes import QUIET, fake_dataset

Steps = Callable[..., dict[str, int]]

METHODS: list[dict[str, Any]] = [
    {"name": "clip"},
    {"name": "convirt"},
    {"name": "siglip"},
    {"name": "simclr"},
    {"name": "supervised", "labels": ["Cardiomegaly", "Edema"]},
    {"name": "mgca"},
    {"name": "global_local"},
    {"name": "joimternet"},
    {"name": "lovt"},
    {"name": "prior"},
]


HOW: dict[str, dict[str, Any]] = {
    "at once": {},
    "in pieces": {"micro_batch": 2},
    "cached": {"micro_batch": 2, "accumulation": "cached"},
}


@pytest.fixture(autouse=True)
def _what_no_device_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autocast and fused optimisers ask for a device that computes."""
    autocast, build = torch.autocast, optimizers.build_optimizer

    def known(device_type: str, **options: Any) -> torch.autocast:
        return autocast("cpu" if device_type == DEVICE.type else device_type, **options)

    monkeypatch.setattr(torch, "autocast", known)
    monkeypatch.setattr(state, "build_optimizer", lambda model, config, fused: build(model, config, fused=False))


@pytest.fixture
def steps(tmp_path: Path) -> Iterator[Steps]:
    """Method and how to train it -> what waits in one step, as the file that asked and how often."""
    with StopSignals() as stop, RunLog(tmp_path, QUIET, total_steps=1, step=0, writes=True) as log:

        def waits(method: Method, batch: PairBatch, **changes: Any) -> dict[str, int]:
            config = build_settings(TrainingConfig, {"epochs": 1, "batch_size": 6, "clip_norm": 1.0, **changes})
            method.to(DEVICE).train()
            pairs = fake_dataset(0, 16)
            timeline = plan_run(method, config, [1])
            fabric = start_fabric(QUIET, config.precision)
            parts = TrainingParts(method, pairs, pairs, ImageInputConfig(size=20))
            session = Session(fabric, parts, config, QUIET, tmp_path, "", SingleProcess(), log, stop, timeline)
            with HostSyncs() as syncs:
                begun = TrainingState.start(method, config, timeline.stages[0])
                syncs.seen.clear()
                loop._train_step(session, begun, batch.to(DEVICE, non_blocking=True))
            return Counter(syncs.files)

        yield waits


@pytest.mark.parametrize("own", METHODS, ids=[own["name"] for own in METHODS])
def test_a_step_reads_its_losses_once_and_nothing_else(own: dict[str, Any], steps: Steps) -> None:
    method = small_method(TypeAdapter(MethodConfig).validate_python(own))
    batch = pair_batch(reports(6))
    for stage in method.stages or (None,):
        changes = {} if stage is None else {"stages": [{"name": stage, "epochs": 1}]}
        for task in (None, *(task.name for task in method.auxiliary_tasks)):
            # `prior` pairs what it wrote with sentences by a solver of the host's: the costs have to go there.
            matching = {"set_matching.py": 1} if stage == "reconstruct" else {}
            assert steps(method, replace(batch, task=task), **changes) == {"step.py": 1, **matching}


@pytest.mark.parametrize("how", list(HOW))
def test_losses_of_pieces_the_norm_and_averaged_weights_are_read_together(how: str, steps: Steps) -> None:
    method = small_method(TypeAdapter(MethodConfig).validate_python({"name": "clip"}))
    assert steps(method, pair_batch(reports(6)), ema_decay=0.9, **HOW[how]) == {"step.py": 1}


def test_what_is_remembered_of_reports_is_found_without_reading_the_device(steps: Steps) -> None:
    text = TEXT.model_copy(update={"freeze_embeddings": True, "frozen_layers": 1, "remember_frozen": True})
    method = small_method(TypeAdapter(MethodConfig).validate_python({"name": "clip"}), text=text)
    batch = pair_batch(reports(6))
    for _ in ("new", "known"):
        assert steps(method, batch, micro_batch=4) == {"step.py": 1}


@pytest.mark.parametrize("augmentation", [{}, {"degrees": 10.0, "contrast": (0.8, 1.2)}, {"blur_sigma": (0.1, 1.0)}])
def test_a_batch_is_brought_to_the_device_and_augmented_there_without_waiting(augmentation: dict[str, Any]) -> None:
    config = ImageInputConfig(size=20, augmentation=AugmentationConfig(blur_probability=0.5, **augmentation))
    raw = fake_dataset(0, 16)[BatchRequest(0, np.arange(8), slice(None))]
    with HostSyncs() as syncs:
        batch = to_pair_batch(raw, config, DEVICE, seed=0, dtype=torch.float32, views=2)
    assert syncs.seen == []
    assert {tensor.device for tensor in (batch.pixels, batch.tokens.input_ids, batch.labels)} == {DEVICE}
    source = batch.rows(slice(2, 4)).tokens.source
    assert source is not None
    assert torch.equal(source.input_ids, raw.tokens.input_ids[2:4])


def test_arrays_go_to_a_gpu_out_of_page_locked_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []

    class Recorded:
        device = torch.device("cpu")

        def pin_memory(self) -> Recorded:
            done.append("pinned")
            return self

        def to(self, device: torch.device, *, non_blocking: bool) -> Recorded:
            done.append((device.type, non_blocking))
            return self

    monkeypatch.setattr(torch, "from_numpy", lambda _: Recorded())
    to_device(np.zeros(2), torch.device("cuda"))
    to_device(np.zeros(2), torch.device("cpu"))
    assert done == ["pinned", ("cuda", True), ("cpu", True)]


def test_every_tensor_of_a_loaded_batch_is_page_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = fake_dataset(0, 16)[BatchRequest(0, np.arange(8), slice(None))]
    locked: list[torch.Tensor] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        locked.append(tensor.clone())
        return locked[-1]

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    again = raw.pin_memory()
    tensors = [again.films, again.study_index, again.text_group, again.labels, *vars(again.tokens).values()]
    assert {id(tensor) for tensor in tensors if tensor is not None} == {id(tensor) for tensor in locked}


def test_the_count_sees_each_way_of_waiting() -> None:
    here, mask = torch.zeros(3, device=DEVICE), torch.ones(3, dtype=torch.bool, device=DEVICE)
    ways: dict[str, Callable[[], object]] = {
        "item": lambda: here[0].item(),
        "branch": lambda: bool(mask.any()),
        "to the host": lambda: here.cpu(),
        "from the host": lambda: torch.zeros(3).to(DEVICE),
        "copied into": lambda: here.copy_(torch.zeros(3)),
        "made from numbers": lambda: torch.tensor([1.0], device=DEVICE),
        "mask": lambda: here[mask],
        "masked write": lambda: here.index_put_((mask,), torch.zeros((), device=DEVICE)),
        "nonzero": lambda: mask.nonzero(),
    }
    for name, way in ways.items():
        with HostSyncs() as syncs:
            way()
        assert len(syncs.seen) == 1, name
    with HostSyncs() as syncs:
        (here + torch.zeros(3).to(DEVICE, non_blocking=True)).sum()
        _ = here[0], here[torch.zeros(2, dtype=torch.int64, device=DEVICE)]
    assert syncs.seen == []
