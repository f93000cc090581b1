"""A profiled run writes a trace and a page, and is otherwise the run that it would have been."""

from __future__ import annotations

import json
import os
import re
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.data.batch import PairBatch
from crossray.files import sha256_of
from crossray.methods.base import PairFeatures
from crossray.settings import build_settings
from crossray.training.config import TrainingConfig
from crossray.training.profiling import PARTS, REST, operation_counter, shares
from crossray.training.recipe import recipe_text
from tests.training.fakes import FakeMethod, fake_fit, fake_parts, figures_of
from tests.training.stores import phantom_store, small_recipe

WAYS: dict[str, dict[str, Any]] = {"at once": {}, "cached": {"micro_batch": 3, "accumulation": "cached"}}


def config(**changes: Any) -> TrainingConfig:
    return build_settings(TrainingConfig, {"epochs": 2, "batch_size": 8, "clip_norm": 1.0, "ema_decay": 0.9, **changes})


class Stopped(FakeMethod):
    """Is asked to stop while it encodes its batch number ``stop_at``."""

    stop_at = 0

    def encode(self, batch: PairBatch) -> PairFeatures:
        self.stop_at -= 1
        if self.stop_at == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().encode(batch)


def left_behind(run: Path) -> dict[str, Any]:
    """What training leaves behind, times apart."""
    files = {path.name: sha256_of(path) for path in (run / "checkpoints").iterdir()}
    return {**files, "losses": figures_of(run, "train"), "norms": figures_of(run, "train", "gradient_norm")}


@pytest.mark.parametrize("how", list(WAYS))
def test_a_profiled_run_leaves_the_same_bytes(how: str, tmp_path: Path) -> None:
    for name, steps in (("plain", 0), ("profiled", 3)):
        fake_fit(tmp_path / name, config(**WAYS[how]), fake_parts(dropout=0.2), profile_steps=steps)
    assert left_behind(tmp_path / "profiled") == left_behind(tmp_path / "plain")
    assert (tmp_path / "profiled" / "profile" / "summary.md").is_file()
    assert not (tmp_path / "plain" / "profile").exists()


def test_a_run_that_is_stopped_goes_on_profiled_as_if_nothing_had_been(tmp_path: Path) -> None:
    fake_fit(tmp_path / "whole", config(), fake_parts(dropout=0.2))
    parts = fake_parts(dropout=0.2)
    stopping = Stopped(dropout=0.2)
    stopping.load_state_dict(parts.method.state_dict())
    stopping.stop_at = 3
    summary = fake_fit(tmp_path / "run", config(), replace(parts, method=stopping), profile_steps=20)
    assert (summary.outcome, summary.steps) == ("interrupted", 3)
    assert "# Where 2 training steps went" in (tmp_path / "run" / "profile" / "summary.md").read_text()
    assert fake_fit(tmp_path / "run", config(), fake_parts(dropout=0.2), profile_steps=2).outcome == "finished"
    assert left_behind(tmp_path / "run") == left_behind(tmp_path / "whole")


def test_the_encoders_are_as_they_were_after_profiling(tmp_path: Path) -> None:
    parts = fake_parts()
    fake_fit(tmp_path, config(epochs=1), parts, profile_steps=1)
    assert "forward" not in vars(parts.method.image_encoder) | vars(parts.method.text_encoder)


def test_the_command_writes_a_trace_and_a_page_whose_parts_make_the_whole(tmp_path: Path) -> None:
    phantom_store(tmp_path)
    recipe = small_recipe(tmp_path, training={"epochs": 1})
    (tmp_path / "recipe.yaml").write_text(recipe_text(recipe))
    run = tmp_path / "run"
    result = CliRunner().invoke(app, ["pretrain", str(tmp_path / "recipe.yaml"), "--out", str(run), "--profile", "2"])
    assert result.exit_code == 0, result.output
    page = (run / "profile" / "summary.md").read_text()
    rows = dict(re.findall(r"^\| ([a-z ]+) \| [\d.]+ \| ([\d.]+) % \|", page, re.MULTILINE))
    of_a_step = [part for part in PARTS if part not in ("averaging gradients", "validation", "saving")]
    assert list(rows) == [*of_a_step, REST, "whole step"]
    assert sum(map(float, rows.values())) == pytest.approx(200.0, abs=1.0)
    assert min(float(rows[name]) for name in ("image encoder", "text encoder", "losses", "backward")) > 0
    floating = re.search(r"([\d.]+) GFLOP a step", page)
    assert floating is not None
    assert float(floating[1]) > 0
    assert "`aten::" in page
    events = json.loads((run / "profile" / "trace.json").read_text())["traceEvents"]
    assert sum(event["name"] == "crossray: backward" for event in events) == 2


def test_products_in_place_are_counted_too() -> None:
    left, right, whole = torch.ones(2, 3, 4), torch.ones(2, 4, 5), torch.zeros(2, 3, 5)
    with operation_counter() as counter:
        whole.baddbmm_(left, right)
        whole[0].addmm_(left[0], right[0])
    assert counter.get_total_flops() == (2 + 1) * 2 * 3 * 4 * 5


@dataclass
class At:
    """A marked event from ``start`` to ``end``, in microseconds."""

    name: str
    start: float
    end: float
    thread: int = 1

    @property
    def time_range(self) -> SimpleNamespace:
        return SimpleNamespace(start=self.start, end=self.end)


def test_what_is_marked_inside_another_part_counts_once() -> None:
    events = [
        At("crossray: image encoder", 1e6, 2e6),  # inside validation
        At("crossray: validation", 0.0, 3e6),
        At("aten::mm", 3e6, 4e6),
        At("crossray: losses", 3e6, 4e6),
        At("crossray: losses", 5e6, 5.5e6),
    ]
    found = {share.name: (share.seconds, share.calls) for share in shares(events, 6.0)}
    assert found == {"losses": (1.5, 2), "validation": (3.0, 1), REST: (1.5, 0)}
