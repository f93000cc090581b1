from __future__ import annotations

import csv
import errno
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from crossray.data import store_writer
from crossray.data.prepare import PrepareConfig, PrepareSummary, prepare_store, read_funnel
from crossray.data.publish import partial_folder, previous_folder
from crossray.data.sources.base import Rejected, Remark
from crossray.data.store import Store
from crossray.data.study import Box, Study
from crossray.errors import DataError, StoreError
from crossray.files import whole_file
from tests.damage import flip_bit, truncate
from tests.data.studies import (
    Broken,
    MemorySource,
    make_film,
    make_store,
    make_study,
    studies,
    with_films,
    with_report,
)

CONFIG = PrepareConfig(size=16)


def prepare(source: MemorySource, path: Path, config: PrepareConfig = CONFIG) -> PrepareSummary:
    return prepare_store(source, path, config, workers=1)


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def quarantine(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "quarantine.csv").read_text().splitlines()))


def odd_studies() -> list[Study | Rejected | Remark]:
    good = make_study(0)
    return [
        good,
        Rejected("x1", "unreadable_report", "is not XML.", "x1.xml", 3),
        good,
        with_report(make_study(2), "  "),
        with_report(make_study(3), "FINDINGS: XXXX ___"),
        with_report(make_study(4), "INDICATION: Cough."),
        with_films(make_study(5)),
        with_films(make_study(6), make_film(6, "lateral")),
        with_films(make_study(7), make_film(7, "unknown")),
        with_films(make_study(8), replace(make_film(8), pixels=Broken())),
        with_films(make_study(9), replace(make_film(9), pixels=Broken()), make_film(90), make_film(91, "lateral")),
        Remark("s10", "shape_unknown", "no shape.", "film-10-frontal"),
        make_study(10),
    ]


def test_the_funnel_counts_every_study_and_film_by_the_rule_that_took_it(tmp_path: Path) -> None:
    funnel = prepare(MemorySource(odd_studies()), tmp_path / "s").funnel
    assert funnel.study_rules == {
        "unreadable_report": 1,
        "duplicate_study_id": 1,
        "empty_report": 2,
        "no_findings_or_impression": 1,
        "no_film": 1,
        "no_film_of_wanted_view": 1,
        "view_unknown": 1,
        "no_usable_film": 1,
    }
    assert (funnel.studies_in, funnel.studies_out) == (12, 3)
    assert funnel.film_rules == {"unreadable_film": 2, "view_not_wanted": 1, "of_a_study_left_out": 6}
    assert (funnel.films_in, funnel.films_out) == (12, 3)
    assert funnel.studies_in - sum(funnel.study_rules.values()) == funnel.studies_out
    assert funnel.films_in - sum(funnel.film_rules.values()) == funnel.films_out
    assert funnel.remarks == {"shape_unknown": 1}
    assert read_funnel(tmp_path / "s") == funnel
    assert "  empty_report: -2" in funnel.lines()


def test_everything_left_out_is_listed_with_place_and_reason(tmp_path: Path) -> None:
    prepare(MemorySource(odd_studies()), tmp_path / "s")
    rows = quarantine(tmp_path / "s")
    assert sum(row["what"] == "study left out" for row in rows) == 9
    assert {**rows[0]} == {
        "what": "study left out",
        "study_id": "x1",
        "film_id": "",
        "rule": "unreadable_report",
        "reason": "is not XML.",
        "file": "x1.xml",
        "row": "3",
    }
    (broken,) = (row for row in rows if row["study_id"] == "s9")
    assert (broken["what"], broken["rule"]) == ("film left out", "unreadable_film")
    assert broken["file"] == "films/broken.png"
    assert "Export it again" in broken["reason"]
    assert all(row["reason"] for row in rows)


def test_views_are_an_option(tmp_path: Path) -> None:
    items = [make_study(0, ("frontal", "lateral")), make_study(1, ("unknown",))]
    both = PrepareConfig(size=16, views=("frontal", "lateral", "unknown"))
    prepare(MemorySource(items), tmp_path / "s", both)
    store = Store.open(tmp_path / "s")
    assert [store.film(row).view for row in range(store.film_count)] == ["frontal", "lateral", "unknown"]


def test_phrases_of_a_film_that_is_left_out_go_with_it(tmp_path: Path) -> None:
    study = make_study(0, ("lateral", "frontal"))
    assert study.phrase_regions[0].film_id == "film-0-lateral"
    assert make_store(tmp_path / "s", [study]).phrase_regions(0) == ()


@pytest.mark.parametrize(
    "box",
    [
        Box("a", float("nan"), 0, 5, 5),
        Box("a", 0, 0, 5, float("inf")),
        Box("a", 5, 0, 5, 5),
        Box("a", -3, 0, 5, 5),
        Box("a", 0, 0, 20, 26),
        Box("a", 30, 30, 40, 40),
    ],
)
def test_a_box_that_is_none_or_leaves_its_film_takes_the_film_out(tmp_path: Path, box: Box) -> None:
    bad = with_films(make_study(0), replace(make_film(0), boxes=(box,)))
    prepare(MemorySource([bad, make_study(1)]), tmp_path / "s")
    film, study = quarantine(tmp_path / "s")
    assert (film["rule"], study["rule"]) == ("box_outside_film", "no_usable_film")
    assert "'a'" in film["reason"]


def test_a_box_over_the_edge_by_rounding_is_cut_at_the_edge(tmp_path: Path) -> None:
    film = replace(make_film(0), boxes=(Box("a", -0.5, 0.0, 20.9, 24.0),))
    store = make_store(tmp_path / "s", [with_films(make_study(0), film)])
    assert store.film(0).boxes == (Box("a", 0.0, 0.0, 20.0, 24.0),)


def test_labels_by_rule_are_read_from_the_report(tmp_path: Path) -> None:
    config = PrepareConfig(size=16, labels="rules")
    study = with_report(make_study(0), "FINDINGS: The heart is enlarged. No pleural effusion.")
    prepare(MemorySource([study]), tmp_path / "s", config)
    store = Store.open(tmp_path / "s")
    assert len(store.label_names) == 14
    assert store.labels[0, store.label_names.index("Cardiomegaly")] == 1
    assert store.labels[0, store.label_names.index("Pleural Effusion")] == 0


def test_a_store_that_is_up_to_date_is_left_alone(tmp_path: Path) -> None:
    prepare(MemorySource(studies(3)), tmp_path / "s")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").iterdir()}
    again = prepare(MemorySource(studies(3)), tmp_path / "s")
    assert again.up_to_date
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "s").iterdir()} == before


def test_a_stale_store_is_made_anew_and_the_change_is_named(tmp_path: Path) -> None:
    prepare(MemorySource(studies(3)), tmp_path / "s")
    changed = prepare(MemorySource(studies(4), version="2"), tmp_path / "s", PrepareConfig(size=24))
    assert changed.changes == ("the files of the source changed", "size: 16 -> 24")
    assert len(Store.open(tmp_path / "s")) == 4


def test_a_run_is_not_replaced_by_a_store(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text('{"kind": "run"}')  # it has a manifest as well
    with pytest.raises(StoreError, match="other things in it"):
        prepare(MemorySource(studies(3)), tmp_path / "run")
    assert (tmp_path / "run" / "manifest.json").read_text() == '{"kind": "run"}'


@pytest.mark.parametrize("damage", [truncate, flip_bit])
def test_a_damaged_store_is_not_taken_for_up_to_date(tmp_path: Path, damage: Callable[[Path, int], None]) -> None:
    prepare(MemorySource(studies(3)), tmp_path / "s")
    before = hashes(tmp_path / "s")
    damage(tmp_path / "s" / "films-00000.arrow", 3)
    assert not prepare(MemorySource(studies(3)), tmp_path / "s").up_to_date
    assert hashes(tmp_path / "s") == before


def test_workers_change_nothing_but_the_time(tmp_path: Path) -> None:
    prepare_store(MemorySource(odd_studies() + studies(200)[11:]), tmp_path / "one", CONFIG, workers=1)
    prepare_store(MemorySource(odd_studies() + studies(200)[11:]), tmp_path / "two", CONFIG, workers=2)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


def test_progress_counts_every_film_once(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    prepare_store(MemorySource(studies(70)), tmp_path / "s", CONFIG, 1, lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 70)
    assert seen[-1] == (70, 70)


def test_a_source_without_a_usable_study_says_what_took_them(tmp_path: Path) -> None:
    lateral = [make_study(number, ("lateral",)) for number in range(3)]
    with pytest.raises(DataError, match=r"none of the 3 studies.*no_film_of_wanted_view.*1 lateral"):
        prepare(MemorySource(lateral), tmp_path / "s")
    broken = [with_films(make_study(0), replace(make_film(0), pixels=Broken()))]
    with pytest.raises(DataError, match="damaged or cut short"):
        prepare(MemorySource(broken), tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_nothing_but_a_store_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    (tmp_path / "file").write_text("")
    for name, message in (("thesis", "other things"), ("file", "is a file")):
        with pytest.raises(StoreError, match=message):
            prepare(MemorySource(studies(2)), tmp_path / name)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"


@contextmanager
def failing_after(writes: int, number: int) -> Iterator[None]:
    """Disk errors from the given write of a table on."""
    left = writes

    @contextmanager
    def limited(path: Path) -> Iterator[IO[bytes]]:
        nonlocal left
        left -= 1
        with whole_file(path) as file:
            yield file
            if left < 0:
                raise OSError(number, "no luck", str(path))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_writer, "whole_file", limited)
        yield


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "Free space"), (errno.EROFS, "may write to"), (errno.EACCES, "may write to")],
)
def test_a_full_or_read_only_disk_leaves_the_earlier_store_whole(tmp_path: Path, number: int, remedy: str) -> None:
    prepare(MemorySource(studies(3)), tmp_path / "s")
    before = hashes(tmp_path / "s")
    with failing_after(2, number), pytest.raises(StoreError, match=remedy):
        prepare(MemorySource(studies(130), version="2"), tmp_path / "s")
    assert hashes(tmp_path / "s") == before
    assert not list(partial_folder(tmp_path / "s").glob("*.tmp"))


def test_finished_shards_are_kept_and_the_result_is_the_same(tmp_path: Path) -> None:
    with failing_after(4, errno.ENOSPC), pytest.raises(StoreError):
        prepare(MemorySource(studies(200)), tmp_path / "s")
    films = partial_folder(tmp_path / "s") / "films-00000.arrow"
    made = films.stat().st_mtime_ns
    prepare(MemorySource(studies(200)), tmp_path / "s")
    assert (tmp_path / "s" / films.name).stat().st_mtime_ns == made
    prepare(MemorySource(studies(200)), tmp_path / "straight")
    assert hashes(tmp_path / "s") == hashes(tmp_path / "straight")


def test_parts_of_another_source_or_a_damaged_part_are_not_used(tmp_path: Path) -> None:
    with failing_after(4, errno.ENOSPC), pytest.raises(StoreError):
        prepare(MemorySource(studies(200), version="old"), tmp_path / "s")
    with failing_after(4, errno.ENOSPC), pytest.raises(StoreError):
        prepare(MemorySource(studies(199)), tmp_path / "s")
    (partial_folder(tmp_path / "s") / "films-00001.arrow").write_bytes(b"half")
    prepare(MemorySource(studies(199)), tmp_path / "s")
    prepare(MemorySource(studies(199)), tmp_path / "straight")
    assert hashes(tmp_path / "s") == hashes(tmp_path / "straight")


def test_a_damaged_note_of_the_inputs_is_not_believed(tmp_path: Path) -> None:
    with failing_after(4, errno.ENOSPC), pytest.raises(StoreError):
        prepare(MemorySource(studies(200)), tmp_path / "s")
    (partial_folder(tmp_path / "s") / "inputs.json").write_bytes(b'{"source": "\xe2"}')
    assert len(Store.open(prepare(MemorySource(studies(200)), tmp_path / "s").path)) == 200


def test_two_at_once_on_one_store_are_refused(tmp_path: Path) -> None:
    from crossray.data.publish import work_folder

    with work_folder(tmp_path / "s", "x"), pytest.raises(StoreError, match="being prepared by process"):
        prepare(MemorySource(studies(2)), tmp_path / "s")


def test_a_replacement_cut_between_its_renames_is_undone(tmp_path: Path) -> None:
    prepare(MemorySource(studies(3)), tmp_path / "s")
    (tmp_path / "s").rename(previous_folder(tmp_path / "s"))
    assert prepare(MemorySource(studies(3)), tmp_path / "s").up_to_date
    assert not previous_folder(tmp_path / "s").exists()


def test_a_replacement_cut_before_its_clean_up_is_finished(tmp_path: Path) -> None:
    prepare(MemorySource(studies(3)), tmp_path / "s")
    previous_folder(tmp_path / "s").mkdir()
    (tmp_path / "s" / ".lock").touch()
    assert prepare(MemorySource(studies(3)), tmp_path / "s").up_to_date
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    assert not (tmp_path / "s" / ".lock").exists()
