"""Cells are made once, again when what they depend on changed, and again when they were damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crossray.evaluation.cells import Arrays, Cells, flatten, unflatten
from tests.damage import flip_bit


class Counted:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Arrays:
        self.calls += 1
        return {"scores": np.arange(3.0), "names": np.array(["a", "b"])}


def test_a_cell_is_made_once_and_read_back_equal(tmp_path: Path) -> None:
    make = Counted()
    first = Cells(tmp_path).get("fold0/probe", {"seed": 0}, make)
    second = Cells(tmp_path).get("fold0/probe", {"seed": 0}, make)
    assert make.calls == 1
    assert first.keys() == second.keys()
    assert all((first[name] == second[name]).all() for name in first)


def test_a_cell_is_made_again_when_its_key_changes_or_its_file_is_damaged(tmp_path: Path) -> None:
    make = Counted()
    cells = Cells(tmp_path)
    cells.get("probe", {"seed": 0}, make)
    cells.get("probe", {"seed": 1}, make)
    assert make.calls == 2
    assert len(list(tmp_path.glob("probe-*.npz"))) == 2
    for file in tmp_path.glob("probe-*.npz"):
        file.write_bytes(file.read_bytes()[:100])
    cells.get("probe", {"seed": 1}, make)
    assert make.calls == 3


def test_whichever_bit_of_a_cell_flips_it_is_read_whole_or_made_again(tmp_path: Path) -> None:
    whole = Cells(tmp_path).get("probe", {}, Counted())
    (file,) = tmp_path.glob("probe-*.npz")
    content = file.read_bytes()
    for seed in range(150):
        file.write_bytes(content)
        flip_bit(file, seed)
        found = Cells(tmp_path).get("probe", {}, Counted())
        assert found.keys() == whole.keys(), seed
        assert all((found[name] == whole[name]).all() for name in whole), seed


def test_several_sets_of_arrays_go_into_one_cell_and_back(tmp_path: Path) -> None:
    named = {"mean, global": {"scores": np.ones(2)}, "max": {"scores": np.zeros(2), "labels": np.ones(2)}}
    back = unflatten(Cells(tmp_path).get("both", {}, lambda: flatten(named)))
    assert list(back) == ["mean, global", "max"]
    assert back["max"]["labels"].tolist() == [1, 1]
