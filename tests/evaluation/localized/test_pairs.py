"""Two trunks under one protocol: differences are paired, folds are averaged, and what was run otherwise is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from crossray.errors import ConfigError, DataError
from crossray.evaluation.localized.pairs import compare_trunks, pairs_markdown
from crossray.evaluation.localized.suite import run_localized
from crossray.evaluation.localized.table import DRAWS_FILE, read_localized, read_samples
from crossray.evaluation.segmentation.scores import MODEL

from .stores import small_request, twin_store

PROTOCOL = "nih_opacity_boxes_linear"


def _run(folder: Path, name: str, trunk: str, fold: str = "0") -> Path:
    request = small_request(PROTOCOL, folder, trunk=trunk, fold=fold, out=folder / f"{name}-{fold}")
    run_localized(replace(request, cells=folder / "cells"))
    return request.out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results ``one-0``, ``one-1`` (a CNN) and ``two-0``, ``two-1`` (another) on two folds of a twin."""
    folder = tmp_path_factory.mktemp("pairs")
    twin_store("nih_cxr14_sample", folder, count=60)
    for fold in ("0", "1"):
        _run(folder, "one", "random:test_resnet", fold)
        _run(folder, "two", "random:resnet10t", fold)
    return folder


def _headline_sample(place: Path) -> NDArray[np.float64]:
    rows = read_localized(place).rows
    headline = next(index for index, row in enumerate(rows) if row.headline and row.predictor == MODEL)
    return np.asarray(read_samples(place)[headline])


def test_a_row_keeps_its_estimate_and_draws(folder: Path) -> None:
    results, samples = read_localized(folder / "one-0"), read_samples(folder / "one-0")
    assert samples.shape == (len(results.rows), 21)
    for row, sample in zip(results.rows, samples, strict=True):
        if row.value is not None:
            assert sample[0] == pytest.approx(row.value, rel=1e-5)


def test_draws_whose_packing_is_damaged_are_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / DRAWS_FILE, results=np.array("x" * 64))
    content = bytearray((tmp_path / DRAWS_FILE).read_bytes())
    packed = 30 + int.from_bytes(content[26:28], "little") + int.from_bytes(content[28:30], "little")
    content[packed] = 0xFF  # a kind of block that there is not
    (tmp_path / DRAWS_FILE).write_bytes(content)
    with pytest.raises(DataError, match="holds no draws"):
        read_samples(tmp_path)


def test_a_difference_is_of_the_same_draws_and_the_mean_over_folds(folder: Path) -> None:
    ones, twos = ([folder / f"{name}-{fold}" for fold in "01"] for name in ("one", "two"))
    rows = compare_trunks(ones, twos)
    row = next(row for row in rows if row.headline)
    assert (row.folds, row.runs, row.protocol) == (2, 2, PROTOCOL)
    of_fold = [[_headline_sample(place) for place in places] for places in (ones, twos)]
    difference = np.mean(of_fold[0], axis=0) - np.mean(of_fold[1], axis=0)
    assert row.values[2] == pytest.approx(difference[0], abs=1e-6)
    assert row.lows[2] == pytest.approx(np.quantile(difference[1:], 0.025), abs=1e-6)
    assert row.n == sum(read_localized(place).headline(PROTOCOL).n for place in ones)
    assert row.baseline is not None
    text = pairs_markdown(rows)
    assert f"| {PROTOCOL} | Dice, whole split | opacity | {row.n} (" in text


def test_a_trunk_does_not_differ_from_itself(folder: Path) -> None:
    rows = compare_trunks([folder / "one-0"], [folder / "one-0"])
    assert {row.values[2] for row in rows if row.values[0] is not None} == {0.0}
    assert "*" not in pairs_markdown(rows)


def test_other_films_and_other_draws_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="was run differently"):
        compare_trunks([folder / "one-0"], [folder / "two-1"])
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "localized.json").write_bytes((folder / "one-0" / "localized.json").read_bytes() + b" ")
    with pytest.raises(DataError, match="holds no draws"):
        compare_trunks([folder / "one-0"], [tmp_path / "copy"])
    (tmp_path / "copy" / DRAWS_FILE).write_bytes((folder / "one-0" / DRAWS_FILE).read_bytes())
    with pytest.raises(DataError, match="of another table"):
        compare_trunks([folder / "one-0"], [tmp_path / "copy"])
