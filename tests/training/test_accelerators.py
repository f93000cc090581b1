"""A recipe that asks for devices which are not there is refused in words."""

from __future__ import annotations

import pytest
import torch

from crossray.errors import ConfigError
from crossray.training.accelerators import accelerator_names, require_accelerators
from crossray.training.config import RuntimeConfig


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize("asked", ["cuda", "mps"])
def test_an_accelerator_that_is_not_there_is_refused_with_what_to_set(
    monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    gpus(monkeypatch, 0)
    with pytest.raises(ConfigError, match=f"asks for {asked}, and torch .* sees no such device") as refused:
        require_accelerators(RuntimeConfig.model_validate({"accelerator": asked}), {})
    assert refused.value.field == "runtime.accelerator"
    assert "runtime.accelerator=auto" in str(refused.value.remedy)


@pytest.mark.parametrize("asked", ["cuda", "auto"])
def test_more_gpus_than_there_are_are_refused(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    gpus(monkeypatch, 2)
    runtime = RuntimeConfig.model_validate({"accelerator": asked, "devices": 4})
    with pytest.raises(ConfigError, match=r"'runtime.devices': asks for 4 devices, and torch sees 2 .*devices=2;"):
        require_accelerators(runtime, {})
    launched = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "3"}
    with pytest.raises(ConfigError, match="asks for 3 devices"):
        require_accelerators(RuntimeConfig(), launched)


@pytest.mark.parametrize(
    ("count", "runtime"),
    [
        (0, RuntimeConfig()),
        (0, RuntimeConfig(devices=4)),
        (0, RuntimeConfig(accelerator="cpu", devices=4)),
        (2, RuntimeConfig(accelerator="cpu", devices=4)),
        (2, RuntimeConfig(accelerator="cuda", devices=2)),
    ],
)
def test_what_there_is_may_be_asked_for(monkeypatch: pytest.MonkeyPatch, count: int, runtime: RuntimeConfig) -> None:
    gpus(monkeypatch, count)
    require_accelerators(runtime, {})
    assert accelerator_names() == [f"GPU {index}" for index in range(count)]
