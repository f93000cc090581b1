"""The benchmarks run, and their table says what was measured and nothing else. No figure is asserted."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks.speed.__main__ import BENCHES
from benchmarks.speed.harness import Measured, Options, interleaved, ratio_row
from benchmarks.speed.rows import ROWS
from benchmarks.speed.table import document, table, write

REPOSITORY = Path(__file__).parents[1]
OPTIONS = Options(quick=True, rounds=2, threads=1)

IN_PROCESSES = ("memory", "prepare", "growth", "retrieval")
"""Benchmarks that start processes of their own, each of which imports torch."""

LONGER = ("step", "prior", "caching", "outside", "data", "search")


def quick_rows(name: str) -> list[Measured]:
    threads = torch.get_num_threads()
    try:
        measured: list[Measured] = importlib.import_module(f"benchmarks.speed.{name}").measure(OPTIONS)
    finally:
        torch.set_num_threads(threads)
    return measured


def keys_of(name: str) -> set[str]:
    return {row.key for row in ROWS if row.bench == name}


@pytest.mark.parametrize("name", [name for name in BENCHES if name not in (*IN_PROCESSES, *LONGER)])
def test_each_benchmark_gives_its_rows(name: str) -> None:
    measured = quick_rows(name)
    assert {row.row for row in measured} == keys_of(name)
    assert all(row.low <= row.median <= row.high and row.n >= 1 for row in measured)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*IN_PROCESSES, *LONGER])
def test_each_longer_benchmark_gives_its_rows(name: str) -> None:
    measured = quick_rows(name)
    assert {row.row for row in measured} == keys_of(name)
    assert all(row.low <= row.median <= row.high and row.n >= 1 for row in measured)


def test_every_row_belongs_to_a_benchmark_and_has_a_key_of_its_own() -> None:
    assert {row.bench for row in ROWS} == set(BENCHES)
    assert len({row.key for row in ROWS}) == len(ROWS)


def test_sides_take_turns() -> None:
    order: list[str] = []
    seconds = interleaved({side: lambda side=side: order.append(side) for side in "ab"}, 3, warm_ups=1)  # type: ignore[misc]
    assert "".join(order) == "ab" + "ab" + "ba" + "ab"
    assert [len(times) for times in seconds.values()] == [3, 3]


def test_a_ratio_is_of_the_figures_of_one_round() -> None:
    row = ratio_row("x", [2.0, 9.0, 8.0], [1.0, 3.0, 1.0])
    assert (row.median, row.low, row.high, row.n) == (3.0, 2.0, 8.0, 3)


def test_the_table_says_measured_holds_and_not_measured(tmp_path: Path) -> None:
    measured = [
        Measured("loss_r49_b32", 6.0, 5.5, 7.0, 7, "ratio"),
        Measured("loss_r49_b64", 7.9, 7.0, 8.5, 7, "ratio", "ours 1 ms"),
    ]
    write(tmp_path, document("loss", measured, Options(quick=False, rounds=7, threads=2), 1.0))
    written = json.loads((tmp_path / "loss.json").read_text(encoding="utf-8"))
    assert written["command"] == "python -m benchmarks.speed loss --rounds 7 --threads 2"
    assert {"machine", "date", "versions", "load_before", "threads"} <= written.keys()
    lines = (tmp_path / "table.md").read_text(encoding="utf-8").splitlines()
    body = [line for line in lines[2:] if line.startswith("| ")]
    assert body[0].endswith("R = 49, B = 32 | ≥ 5× | 6× (5.5 … 7, 7) | yes |")
    assert body[1].endswith("| ≥ 8× | 7.9× (7 … 8.5, 7) | **no** |")
    assert all(line.endswith("| not measured | |") for line in body[2 : len(ROWS)])
    assert "- `loss_r49_b64`: ours 1 ms" in lines


def test_without_figures_nothing_is_said_to_be_measured(tmp_path: Path) -> None:
    assert table(tmp_path).count("not measured") == len(ROWS)


def test_quick_figures_are_not_written(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.speed", "loss", "--quick", "--out", str(tmp_path)]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "not written" in run.stderr
    assert not list(tmp_path.iterdir())
