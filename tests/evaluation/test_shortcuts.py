"""The check for shortcuts runs on any store and tells a shortcut from none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "shortcuts.py"


def test_a_bright_patch_is_a_shortcut_and_one_shape_of_all_films_is_none(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "shortcuts.json"
    arguments = [str(trained / "store"), str(trained / "split.json"), "--output", str(out)]
    ran = subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "| chance | 62.5 | 62.5 |" in ran.stdout, "ten of sixteen reports"
    tables = json.loads(out.read_text(encoding="utf-8"))["tables"]
    findings = {row["model"]: row["value"] for row in tables["findings"] if row["target"] == "Pleural Effusion"}
    assert findings["brightness"] == 1
    assert findings["shape"] == 0.5
    pointing = {row["model"]: row["value"] for row in tables["grounding"] if row["metric"] == "pointing game"}
    assert pointing["film's centre"] == 0
    assert pointing["ridge from words to boxes"] == 1


def test_a_store_that_is_none_is_refused_in_one_message(tmp_path: Path) -> None:
    arguments = [sys.executable, str(SCRIPT), str(tmp_path), "iu-rr-v1"]
    ran = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
