"""The results page of the docs is made by a command from result files, and by nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


def _results_page(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = folder / "benchmarks" / "results_page.py"
    return subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, check=False)


def test_the_results_page_says_what_the_result_files_say() -> None:
    checked = _results_page(REPOSITORY, "--check")
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("change", ["0.9", "| 1423 | 136 |"])
def test_a_figure_changed_by_hand_is_noticed(tmp_path: Path, change: str) -> None:
    for name in ("benchmarks/results_page.py", "docs/results.md", "docs/results/labeller_iu.json"):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((REPOSITORY / name).read_bytes())
    assert _results_page(tmp_path).returncode == 0
    page = tmp_path / "docs" / "results.md"
    text = page.read_text(encoding="utf-8")
    assert change in text
    page.write_text(text.replace(change, change.replace("9", "8").replace("3", "4"), 1), encoding="utf-8")
    checked = _results_page(tmp_path, "--check")
    assert checked.returncode != 0
    assert "results_page.py" in checked.stderr


def test_the_method_cards_say_what_the_comparisons_say(tmp_path: Path) -> None:
    script = "benchmarks/method_cards.py"
    for folder in ("benchmarks", "docs/methods"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder)
    for file in (REPOSITORY / "docs" / "results").glob("*/compare.json"):
        copy = tmp_path / file.relative_to(REPOSITORY)
        copy.parent.mkdir(parents=True)
        shutil.copy(file, copy)
    checked = subprocess.run([sys.executable, tmp_path / script, "--check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    card = tmp_path / "docs" / "methods" / "clip.md"
    card.write_text(card.read_text(encoding="utf-8").replace("<!-- /numbers -->", "99.9\n<!-- /numbers -->"), "utf-8")
    checked = subprocess.run([sys.executable, tmp_path / script, "--check"], capture_output=True, text=True)
    assert checked.returncode == 1
    assert "clip.md is not what docs/results/ says" in checked.stderr
