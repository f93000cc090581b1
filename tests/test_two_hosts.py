"""The benchmark of two hosts at a small size: equal losses, and a killed process that is gone on from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.two_hosts.hosts import why_impossible


@pytest.mark.slow
def test_two_hosts_train_as_one_process_also_over_a_kill(tmp_path: Path) -> None:
    if (reason := why_impossible()) is not None:
        pytest.skip(f"two hosts cannot be made here: {reason}")
    command = [sys.executable, "-m", "benchmarks.two_hosts", "--quick", "--out", str(tmp_path / "out")]
    subprocess.run([*command, "--work", str(tmp_path / "work")], check=True, cwd=Path(__file__).parents[1])
    results = json.loads((tmp_path / "out" / "two_hosts.json").read_text())
    (killed,) = results["recoveries"]
    assert results["steps"] == 12
    assert results["loss_difference"] < 1e-9
    assert killed["loss_difference"] < 1e-9
    assert killed["told"].startswith("crossray: killed: process ")
    assert 0 <= killed["steps_lost"] < 5
    alone, together = (speed["bytes_sent_per_process_and_step"] for speed in results["speeds"])
    assert alone < 1000 < together
