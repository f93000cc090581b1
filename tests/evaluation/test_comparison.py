"""Comparisons of results made by hand: the mean over seeds, paired intervals against an oracle, what is refused."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossray.errors import ConfigError, DataError
from crossray.evaluation.comparison.columns import Column, choose_columns, groups
from crossray.evaluation.comparison.compare import ComparisonRequest, compare
from crossray.evaluation.comparison.entries import Source, read_entries, source_of
from crossray.evaluation.comparison.latex import escape
from crossray.evaluation.comparison.table import Comparison, Number
from crossray.evaluation.draws import DRAWS_FILE, read_draws
from crossray.evaluation.intervals import bootstrap_weights, percentile_interval
from crossray.evaluation.metrics import FloatArray, weighted_mean
from crossray.evaluation.results import Provenance, Results, Row, read_results, row_of, write_results

STUDIES, DRAWS = 60, 400
WEIGHTS = bootstrap_weights([f"p{row // 2}" for row in range(STUDIES)], draws=DRAWS, seed=0, stratum="0")
R1 = Column("retrieval", "R@1", "film → report")
PROBE = Column("probe", "AUROC", "mean of all 2")
FLOOR = (np.arange(STUDIES) % 5 == 0).astype(np.float64)


def hits(share: float, seed: int) -> FloatArray:
    """Hits of 60 queries by hand: the easy ones first, some by luck."""
    luck = np.random.default_rng(seed).random(STUDIES)
    result: FloatArray = (np.linspace(0, 1, STUDIES) + 0.3 * luck < share).astype(np.float64)
    return result


def row(values: FloatArray, column: Column, **fields: Any) -> Row:
    """A row whose metric is a mean over studies: as simple as one with draws can be."""
    interval = percentile_interval(float(values.mean()), weighted_mean(values, WEIGHTS))
    named = {"task": column.task, "metric": column.metric, "target": column.target, "n": STUDIES}
    return row_of(interval, **{**named, **fields})


def write(
    folder: Path,
    values: Mapping[Column, FloatArray],
    seed: int = 0,
    *,
    model: str = "pretrained (toy)",
    floor: FloatArray = FLOOR,
    **changes: Any,
) -> Source:
    """A results folder of one model with a floor and chance."""
    rows = [Row(task="retrieval", model="chance", metric="R@1", target=R1.target, value=1 / STUDIES, kind="chance")]
    rows += [row(own, column, model=model) for column, own in values.items()]
    rows.append(row(floor, R1, model="ridge", kind="floor"))
    content: dict[str, Any] = {
        "protocol": "toy",
        "preset": "clean",
        "split_protocol": "toy",
        "split_hash": "a" * 64,
        "store_hash": "b" * 64,
        "source": "phantom",
        "folds": ("0",),
        "runs": {"0": "seed0-fold0, weights 0123"},
        "seeds": {"bootstrap": 0, "training": seed},
        "draws": DRAWS,
        "level": 0.95,
        "studies": STUDIES,
        "tested": "c" * 64,
        "labels": ("A", "B"),
        "common_labels": (),
        "choices": {},
        "settings": {"tasks": ["retrieval"], "probe": {"max_iterations": 10}},
        "command": "crossray evaluate run",
        "versions": {"torch": "1"},
        "date": "2024-01-01 00:00:00 UTC",
    }
    write_results(Results(provenance=Provenance(**{**content, **changes}), rows=tuple(rows)), folder)
    return Source(folder.parent.name, folder)


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    """Two entries with two seeds each, and one with a probe alone."""
    made = [
        write(tmp_path / name / f"seed{seed}", {R1: hits(share, seed), PROBE: hits(0.7, seed + 9)}, seed)
        for name, share in (("first", 0.4), ("se_cond", 0.6))
        for seed in (0, 1)
    ]
    return [*made, write(tmp_path / "image_only" / "seed0", {PROBE: hits(0.9, 3)})]


def test_results_from_before_a_metric_are_compared_by_the_others_and_have_none_of_it(tmp_path: Path) -> None:
    error = Column("probe", "ECE", PROBE.target)
    older = write(tmp_path / "older" / "seed0", {PROBE: hits(0.5, 1)})
    newer = write(tmp_path / "newer" / "seed0", {PROBE: hits(0.7, 2), error: 0.1 * hits(0.7, 3)})
    comparison = compare(ComparisonRequest([older, newer], tmp_path / "out"))
    assert number(comparison, "newer", PROBE).difference is not None
    asked = compare(ComparisonRequest([older, newer], tmp_path / "asked", metrics=("probe/ECE",)))
    assert asked.columns == (error,)
    assert error.lower_is_better
    assert [line.name for line in asked.lines if error in line.numbers] == ["newer"]
    assert number(asked, "newer", error).difference is None
    table = (tmp_path / "asked" / "table.md").read_text(encoding="utf-8")
    assert "| newer | 0.0" in table
    assert "| older" not in table


def number(comparison: Comparison, name: str, column: Column) -> Number:
    return next(line for line in comparison.lines if line.name == name).numbers[column]


def test_differences_are_the_paired_bootstrap_of_the_mean_over_seeds(sources: list[Source], tmp_path: Path) -> None:
    comparison = compare(ComparisonRequest(sources, tmp_path / "out"))
    found = number(comparison, "se_cond", R1)
    # The oracle: each patient's mean hit over seeds, the one minus the other, drawn patient by patient.
    first, second = (np.mean([hits(share, seed) for seed in (0, 1)], axis=0) for share in (0.4, 0.6))
    one_by_one = np.array([np.repeat(second - first, draw.astype(int)).mean() for draw in WEIGHTS])
    assert found.interval.estimate == pytest.approx(second.mean(), abs=1e-12)
    assert found.difference is not None
    assert found.difference.estimate == pytest.approx((second - first).mean(), abs=1e-12)
    assert [found.difference.low, found.difference.high] == pytest.approx(
        np.quantile(one_by_one, [0.025, 0.975]).tolist(), abs=1e-6
    )
    # Pairing is worth something: apart, the same two numbers could not be told so clearly from each other.
    reference = number(comparison, "first", R1).interval
    apart = (found.interval.high - found.interval.low) + (reference.high - reference.low)
    assert found.difference.high - found.difference.low < 0.8 * apart


def test_the_spread_between_seeds_is_told_apart_from_the_interval(sources: list[Source], tmp_path: Path) -> None:
    comparison = compare(ComparisonRequest(sources, tmp_path / "out"))
    found, values = number(comparison, "first", R1), [hits(0.4, seed).mean() for seed in (0, 1)]
    assert dict(found.by_seed) == pytest.approx(dict(enumerate(values)))
    assert found.spread == pytest.approx(np.std(values, ddof=1))
    assert number(comparison, "image_only", PROBE).spread is None


def test_an_entry_is_compared_by_what_it_has(sources: list[Source], tmp_path: Path) -> None:
    comparison = compare(ComparisonRequest(sources, tmp_path / "out"))
    line = next(line for line in comparison.lines if line.name == "image_only")
    assert set(line.numbers) == {PROBE}
    assert [line.name for line in comparison.lines] == ["first", "se_cond", "image_only", "ridge", "chance"]
    assert number(comparison, "first", R1).difference is None


def test_each_entry_may_be_compared_to_the_one_that_it_varies(sources: list[Source], tmp_path: Path) -> None:
    asked = ComparisonRequest(sources, tmp_path / "out", bases={"se_cond": "first", "image_only": "absent"})
    comparison = compare(asked)
    to_base, as_usual = (
        number(made, "se_cond", R1).difference for made in (comparison, compare(ComparisonRequest(sources, tmp_path)))
    )
    assert to_base is not None
    assert as_usual is not None
    assert (to_base.estimate, to_base.low, to_base.high) == (as_usual.estimate, as_usual.low, as_usual.high)
    assert number(comparison, "first", R1).difference is None
    assert number(comparison, "image_only", PROBE).difference is None
    assert number(comparison, "ridge", R1).difference is None
    assert "difference to the entry that each varies" in (tmp_path / "out" / "table.md").read_text()


def test_a_floor_may_be_the_reference_and_stands_there_once(sources: list[Source], tmp_path: Path) -> None:
    comparison = compare(ComparisonRequest(sources, tmp_path / "out", reference="ridge"))
    difference = number(comparison, "first", R1).difference
    assert difference is not None
    assert difference.estimate == pytest.approx(np.mean([hits(0.4, s).mean() for s in (0, 1)]) - FLOOR.mean())


def test_floors_that_differ_are_named_by_their_entries(tmp_path: Path) -> None:
    one = write(tmp_path / "one" / "seed0", {R1: hits(0.5, 0)})
    other = write(tmp_path / "other" / "seed0", {R1: hits(0.5, 0)}, floor=1 - FLOOR)
    comparison = compare(ComparisonRequest([one, other], tmp_path / "out"))
    assert [line.name for line in comparison.lines if line.kind == "floor"] == ["ridge (one)", "ridge (other)"]


def test_a_floor_made_of_the_model_itself_is_averaged_over_its_seeds(tmp_path: Path) -> None:
    floors = {seed: hits(0.2, seed + 20) for seed in (0, 1)}
    made = [
        write(tmp_path / "one" / f"seed{seed}", {R1: hits(0.5, seed)}, seed, floor=floor)
        for seed, floor in floors.items()
    ]
    comparison = compare(ComparisonRequest(made, tmp_path / "out"))
    assert [line.name for line in comparison.lines if line.kind == "floor"] == ["ridge"]
    found = number(comparison, "ridge", R1)
    assert dict(found.by_seed) == pytest.approx({seed: floor.mean() for seed, floor in floors.items()})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocol": "other"}, r"protocol \(toy and other\)"),
        ({"split_hash": "d" * 64}, r"split hash \(aaaaaaaaaaaaaaaa and dddddddddddddddd\)"),
        ({"store_hash": "d" * 64}, "store hash"),
        ({"folds": ("0", "1")}, r"folds \(0 and 0, 1\)"),
        ({"tested": "d" * 64, "studies": 59}, r"the tested studies \(60 and 59\)"),
        ({"seeds": {"bootstrap": 1}}, "seed of the bootstrap"),
        ({"settings": {"probe": {"max_iterations": 20}}}, r"probe\.max_iterations \(10 and 20\)"),
    ],
)
def test_results_that_do_not_align_are_refused_with_what_differs(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    sources = [write(tmp_path / "one" / "r", {R1: hits(0.5, 0)}), write(tmp_path / "two" / "r", {R1: FLOOR}, **changes)]
    with pytest.raises(ConfigError, match=f"cannot be compared: {message}"):
        read_entries(sources)


def test_other_tasks_are_no_obstacle(tmp_path: Path) -> None:
    settings = {"tasks": ["probe"], "probe": {"max_iterations": 10}, "batch_size": 7}
    sources = [
        write(tmp_path / "one" / "r", {R1: hits(0.5, 0)}),
        write(tmp_path / "two" / "r", {PROBE: hits(0.5, 0)}, settings=settings),
    ]
    assert [entry.name for entry in read_entries(sources)] == ["one", "two"]


def test_one_seed_twice_or_two_methods_under_one_name_are_refused(tmp_path: Path) -> None:
    one = write(tmp_path / "one" / "r", {R1: hits(0.5, 0)})
    with pytest.raises(ConfigError, match="has seed 0 twice"):
        read_entries([one, one])
    other = write(tmp_path / "two" / "r", {R1: hits(0.5, 0)}, seed=1, model="pretrained (other)")
    with pytest.raises(ConfigError, match=r"mixes pretrained \(other\) and pretrained \(toy\)"):
        read_entries([one, Source("one", other.folder)])


def test_rows_of_another_number_make_no_pair(tmp_path: Path) -> None:
    sources = [write(tmp_path / "one" / "r", {R1: hits(0.5, 0)}), write(tmp_path / "two" / "r", {R1: hits(0.6, 0)})]
    folder = sources[1].folder
    results = read_results(folder)
    fewer = tuple(row(hits(0.6, 0), R1, model=r.model, n=50) if r.kind == "model" else r for r in results.rows)
    write_results(results.model_copy(update={"rows": fewer}), folder)
    assert number(compare(ComparisonRequest(sources, tmp_path / "out")), "two", R1).difference is None


def test_draws_survive_writing_and_belong_to_their_results(tmp_path: Path) -> None:
    source = write(tmp_path / "one" / "r", {R1: hits(0.5, 0)})
    draws = read_draws(source.folder)
    np.testing.assert_allclose(draws[1], weighted_mean(hits(0.5, 0), WEIGHTS), atol=1e-6)
    assert set(draws) == {1, 2}
    content = source.folder / "results.json"
    content.write_text(content.read_text(encoding="utf-8").replace("toy", "joy"), encoding="utf-8")
    with pytest.raises(DataError, match=r"another results\.json"):
        read_draws(source.folder)
    (source.folder / DRAWS_FILE).unlink()
    with pytest.raises(DataError, match=r"is not there.*Run crossray evaluate again"):
        read_draws(source.folder)


def test_metrics_are_chosen_by_patterns(sources: list[Source]) -> None:
    entries = read_entries(sources)
    assert choose_columns(entries) == [R1, PROBE]
    assert choose_columns(entries, ["probe", "retrieval/r@1/film -> *"]) == [PROBE, R1]
    with pytest.raises(ConfigError, match=r"no metric is called 'grounding'.*retrieval/R@1/film → report"):
        choose_columns(entries, ["grounding"])


def test_columns_of_several_tasks_share_a_table() -> None:
    tuned = Column("finetune", "AUROC", PROBE.target)
    shared, alone = groups([PROBE, tuned, R1])
    assert shared.heads == ("Linear probe (frozen features): AUROC", "Fine-tuned: AUROC")
    assert (alone.title, alone.heads) == ("Retrieval: film → report", ("R@1, %",))


def test_an_unknown_reference_names_the_lines(sources: list[Source], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no 'third'.*Choose from first, se_cond, image_only, ridge"):
        compare(ComparisonRequest(sources, tmp_path / "out", reference="third"))


@pytest.mark.parametrize(
    ("written", "name", "folder"),
    [("a=b/c", "a", "b/c"), ("b/c", "c", "b/c"), ("results/clip/seed0", "clip", "results/clip/seed0")],
)
def test_a_result_is_called_by_its_folder_or_as_asked(written: str, name: str, folder: str) -> None:
    assert source_of(written) == Source(name, Path(folder))


def test_every_output_states_its_circumstances(
    sources: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["bin/crossray", "compare", "grid", "--out", "out"])
    monkeypatch.chdir(tmp_path)
    relative = [Source(source.name, source.folder.relative_to(tmp_path)) for source in sources]
    compare(ComparisonRequest(relative, Path("out")))
    texts = {name: (tmp_path / "out" / name).read_text(encoding="utf-8") for name in OUTPUTS}
    for name, text in texts.items():
        for fact in (
            "toy",
            "a" * 16,
            "60",
            "crossray compare grid --out out",
            "torch 1" if "json" not in name else "torch",
        ):
            assert fact in text.replace("\n", " "), (name, fact)
        assert str(tmp_path) not in text, name
    assert (tmp_path / "out" / "figure.png").stat().st_size > 10_000
    content = json.loads(texts["compare.json"])
    assert content["format_version"] == 1
    assert content["provenance"]["seeds"] == {"first": [0, 1], "se_cond": [0, 1], "image_only": [0]}
    rows = list(csv.DictReader(texts["table.csv"].splitlines()))
    assert {row["name"] for row in rows} == {"first", "se_cond", "image_only", "ridge", "chance"}


OUTPUTS = ("compare.json", "table.md", "table.csv", "table.tex", "figure.svg")


def test_a_caveat_of_an_entry_stands_with_the_table(tmp_path: Path) -> None:
    caveat = {"grounding": "its regions are no places"}
    marked = write(tmp_path / "marked" / "0", {R1: hits(0.5, 1)}, caveats=caveat)
    also = write(tmp_path / "marked" / "1", {R1: hits(0.5, 2)}, seed=1, caveats=caveat)
    plain = write(tmp_path / "plain" / "0", {R1: hits(0.6, 3)})
    compare(ComparisonRequest((marked, also, plain), tmp_path / "out"))
    said = (tmp_path / "out" / "table.md").read_text()
    assert said.count("marked, phrase grounding: its regions are no places") == 1
    assert said.count("no places") == 1


def test_latex_escapes_what_tex_would_read() -> None:
    assert escape(r"50 % of a_b & c#1 {x} ~ ^ \ $") == (
        r"50 \% of a\_b \& c\#1 \{x\} \textasciitilde{} \textasciicircum{} \textbackslash{} \$"
    )
    assert escape("film → report") == r"film $\rightarrow$ report"


def test_the_latex_table_is_whole(sources: list[Source], tmp_path: Path) -> None:
    compare(ComparisonRequest(sources, tmp_path / "out"))
    text = (tmp_path / "out" / "table.tex").read_text(encoding="utf-8")
    body = [line for line in text.splitlines() if not line.startswith("%")]
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == text.count(r"\toprule") > 0
    assert r"se\_cond" in text
    assert not re.search(r"(?<!\\)[%_#]", "\n".join(line for line in body))
    for line in body:
        assert line.count("{") - line.count(r"\{") == line.count("}") - line.count(r"\}"), line
        if line.endswith(r"\\"):
            assert "[" not in line.replace("{[}", "")
