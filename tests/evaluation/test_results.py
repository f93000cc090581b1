"""The results table survives writing and reading, and its Markdown carries protocol, hashes and intervals."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from crossray.errors import DataError
from crossray.evaluation.intervals import Interval
from crossray.evaluation.results import Provenance, Results, Row, read_results, row_of, write_results
from crossray.evaluation.tables import number, tables
from crossray.versions import versions


def _results() -> Results:
    probe = {"task": "probe", "model": "ours", "metric": "AUROC"}
    rows = [
        row_of(Interval(0.91, 0.88, 0.94, 0.95, 100), target="Edema", n=50, positives=7, **probe),
        row_of(Interval(float("nan"), float("nan"), float("nan"), 0.95, 100), target="Fracture", **probe),
        Row(task="retrieval", model="chance", metric="R@1", target="film → report", value=0.02, n=50, kind="chance"),
        Row(task="retrieval", model="ours", metric="R@1", target="film → report", value=0.3, low=0.2, high=0.4, n=50),
    ]
    provenance = Provenance(
        protocol="toy",
        preset="clean",
        split_protocol="toy",
        split_hash="a" * 64,
        store_hash="b" * 64,
        source="phantom",
        folds=("0",),
        runs={"0": "run"},
        seeds={"bootstrap": 0},
        draws=100,
        level=0.95,
        studies=50,
        labels=("Edema", "Fracture"),
        common_labels=(),
        choices={},
        settings={},
        command="crossray evaluate run",
        versions=versions(),
        date="2024-01-01 00:00:00 UTC",
    )
    return Results(provenance=provenance, rows=tuple(rows))


def test_results_read_back_equal(tmp_path: Path) -> None:
    write_results(_results(), tmp_path)
    assert read_results(tmp_path) == _results()
    with (tmp_path / "results.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 4


def test_markdown_names_protocol_hashes_counts_and_intervals(tmp_path: Path) -> None:
    write_results(_results(), tmp_path)
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    for expected in ("# Results: toy", "a" * 16, "n⁺ 7 of 50", "0.910 [0.880 to 0.940]", "30.0 [20.0 to 40.0]", "–"):
        assert expected in text
    assert "Research only" in text


def test_an_undefined_number_is_empty_rather_than_nan() -> None:
    row = _results().one(target="Fracture")
    assert row.value is None
    assert number(row.value, "AUROC") == "–"


def test_selecting_one_row_of_several_is_refused() -> None:
    with pytest.raises(KeyError):
        _results().one(task="retrieval")


def test_retrieval_has_a_line_for_each_model_and_classification_one_for_each_label() -> None:
    titles = {table.title: [line.title for line in table.lines] for table in tables(_results())}
    assert titles["Linear probe (frozen features): area under the ROC curve"] == ["Edema", "Fracture"]
    assert titles["Retrieval: film → report (50 queries)"] == ["chance", "ours"]


def test_a_folder_without_results_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no results"):
        read_results(tmp_path)


def test_a_variant_of_several_models_says_whose_it_is() -> None:
    own = [
        Row(task="finetune", model=model, metric="AUROC", target="Edema", value=0.9, variant=variant, kind="variant")
        for model, variant in (("ours", "mean with the probe"), ("ImageNet", "mean with the probe"), ("ours", "global"))
    ]
    results = _results().model_copy(update={"rows": tuple(own)})
    (table,) = tables(results)
    assert [head.title for head in table.columns] == [
        "ours, mean with the probe",
        "ImageNet, mean with the probe",
        "global",
    ]
