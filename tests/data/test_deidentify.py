"""De-identification on the way into a store: ids, texts, reasons; the key; the way back for those who hold it."""

from __future__ import annotations

import csv
import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.data.deidentify import deidentified
from crossray.data.images import FilmPixels
from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.pseudonyms import KEY_VARIABLE, PseudonymKey, default_key_file, find_key
from crossray.data.reports import parse_report
from crossray.data.sources.base import Rejected, Remark
from crossray.data.sources.build import build_source
from crossray.data.sources.deidentified import WITHHELD, DeidentifiedSource, QuietPixels
from crossray.data.split_files import read_split
from crossray.data.store import Store
from crossray.data.study import Box, Film, PhraseRegion, Span, Study
from crossray.errors import ConfigError, StudyError
from tests.data.dicom_writing import radiograph, write
from tests.data.studies import Broken, Gradient, MemorySource

KEY = PseudonymKey(b"a key of thirty-two characters ..")
TEXT = "FINDINGS: Doe, JANE was seen by Dr. Quimbleton on 03/14/2019. She may doe. ID AB-12345. No effusion."


def study_with(**changes: Any) -> Study:
    film = Film("Doe/film.png", "frontal", Gradient(1), boxes=(Box("Mass", 1, 1, 5, 5),))
    phrase = PhraseRegion(
        "Doe/film.png", "effusion", Span(TEXT.index("effusion"), TEXT.index("effusion") + 8), film.boxes
    )
    study = Study("AB-12345", "MRN77", (film,), parse_report(TEXT), {"Mass": 1.0}, (phrase,))
    return replace(study, **changes)


def through(*items: Study | Rejected | Remark) -> list[Study | Rejected | Remark]:
    return list(DeidentifiedSource(MemorySource(list(items)), KEY).studies())


def only(study: Study) -> Study:
    (out,) = through(study)
    assert isinstance(out, Study)
    return out


def test_ids_become_hashes_that_agree_with_each_other_and_with_another_run() -> None:
    study = only(study_with())
    assert study == only(study_with())
    assert study.study_id == KEY.pseudonym("study", "AB-12345")
    assert study.patient_id == KEY.pseudonym("patient", "MRN77")
    assert study.films[0].film_id == study.phrase_regions[0].film_id == KEY.pseudonym("film", "Doe/film.png")
    assert all(
        re.fullmatch(r"(study|patient|film)-[0-9a-f]{20}", name) for name in (study.study_id, study.patient_id or "")
    )


def test_pseudonyms_hang_on_the_key_and_the_kind_and_an_unknown_patient_stays_unknown() -> None:
    other = PseudonymKey(b"another key of thirty-two characters")
    made = {key.pseudonym(kind, "7") for key in (KEY, other) for kind in ("patient", "study", "film")}
    assert len({name.split("-")[1] for name in made}) == 6
    assert KEY.id != other.id
    assert only(study_with(patient_id=None)).patient_id is None
    assert "thirty-two" not in repr(KEY)


def test_what_identifies_in_a_report_is_overwritten_and_every_span_still_holds() -> None:
    study = only(study_with())
    before, after = study_with().report, study.report
    assert "Quimbleton" not in after.text
    assert "03/14/2019" not in after.text
    assert "AB-12345" not in after.text
    assert len(after.text) == len(before.text)
    assert (after.sections, after.sentences) == (before.sections, before.sentences)
    assert study.phrase_regions[0].span.of(after.text) == "effusion"
    assert after.sentences[-1].span.of(after.text) == "No effusion."


def test_names_in_a_films_header_are_overwritten_in_the_report_as_names_alone(tmp_path: Path) -> None:
    write(radiograph(PatientName="Doe^Jane"), tmp_path / "film.dcm")
    (tmp_path / "manifest.csv").write_text(f'study_id,patient_id,film,view,report\nS1,P1,film.dcm,PA,"{TEXT}"\n')
    (study,) = DeidentifiedSource(build_source("folder", tmp_path), KEY).studies()
    assert isinstance(study, Study)
    assert "___, ____ was seen" in study.report.text
    assert "She may doe." in study.report.text


def test_an_id_is_overwritten_with_and_without_the_zeros_that_fill_it_up() -> None:
    text = "FINDINGS: Patient 0012345X and 12345X, study 00012345X; 12345XY is another."
    study = only(study_with(patient_id="0012345X", report=parse_report(text), phrase_regions=()))
    assert study.report.text == "FINDINGS: Patient ________ and ______, study _________; 12345XY is another."


def test_attributes_are_those_that_all_sources_share_and_the_oldest_have_one_age() -> None:
    given = {"age": "97", "sex": "F", "publisher_split": "train", "scores": "of someone"}
    assert only(study_with(attributes=given)).attributes == {"age": "90", "sex": "F", "publisher_split": "train"}
    assert only(study_with(attributes={"age": "61"})).attributes == {"age": "61"}
    assert only(study_with(attributes={"age": "Jane"})).attributes == {}


def test_reasons_and_files_are_withheld_rules_and_rows_are_not() -> None:
    rejected, remark = through(
        Rejected("AB-12345", "bad_label", "label 'X' is 'Jane Doe'.", "Doe/manifest.csv", 7),
        Remark("AB-12345", "shape_unknown", "Doe/film.png has none.", "Doe/film.png"),
    )
    study = KEY.pseudonym("study", "AB-12345")
    assert rejected == Rejected(study, "bad_label", WITHHELD, None, 7)
    assert remark == Remark(study, "shape_unknown", WITHHELD, KEY.pseudonym("film", "Doe/film.png"))
    assert through(Rejected("S", "rule", "why", "f", "Jane Doe"))[0] == Rejected(
        KEY.pseudonym("study", "S"), "rule", WITHHELD
    )


def test_a_film_that_cannot_be_read_tells_neither_file_nor_value_but_keeps_its_rule() -> None:
    with pytest.raises(StudyError) as caught:
        pickle.loads(pickle.dumps(QuietPixels(Broken()))).read()  # as it travels to a worker
    assert caught.value.message == WITHHELD
    assert caught.value.rule == "unreadable_film"
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("rule", "attributes"),
    [
        ("no_pixels", {"PixelData": None}),
        ("several_frames", {"NumberOfFrames": 3}),
        ("film_size", {"Rows": 50_000, "Columns": 50_000}),
        ("damaged_film", {"PixelData": b"ab"}),
        ("unreadable_film", {"WindowCenter": "100", "WindowWidth": "0"}),
    ],
)
def test_the_rule_alone_tells_what_is_wrong_with_a_film(rule: str, attributes: dict[str, Any], tmp_path: Path) -> None:
    path = write(radiograph(**attributes), tmp_path / "film.dcm")
    with pytest.raises(StudyError) as caught:
        QuietPixels(FilmPixels(path)).read()
    assert caught.value.rule == rule
    assert "film.dcm" not in caught.value.message


def test_a_format_that_is_not_read_and_a_picture_in_colour_have_rules_too(tmp_path: Path) -> None:
    (tmp_path / "film.tif").write_bytes(b"II*\0" + bytes(200))
    colours = np.stack([np.full((8, 8), value, np.uint8) for value in (0, 100, 200)], axis=2)
    write(radiograph(colours, bits=8), tmp_path / "film.dcm")
    for name, rule in (("film.tif", "film_format"), ("film.dcm", "in_colour")):
        with pytest.raises(StudyError) as caught:
            QuietPixels(FilmPixels(tmp_path / name)).read()
        assert caught.value.rule == rule


def test_pixels_labels_and_boxes_are_untouched(tmp_path: Path) -> None:
    items = [study_with(study_id=f"S{k}", report=parse_report(f"FINDINGS: Mass {k}.")) for k in range(3)]
    items = [replace(s, films=(replace(s.films[0], film_id=s.study_id),), phrase_regions=()) for s in items]
    stores = []
    for name, source in (
        ("as", MemorySource(items, label_names=("Mass",))),
        ("id", DeidentifiedSource(MemorySource(items, label_names=("Mass",)), KEY)),
    ):
        prepare_store(source, tmp_path / name, PrepareConfig(size=32), workers=1)
        stores.append(Store.open(tmp_path / name))
    plain, hidden = stores
    assert np.array_equal(plain.pixels([0, 1, 2]), hidden.pixels([0, 1, 2]))
    assert np.array_equal(plain.labels, hidden.labels)
    assert [plain.film(k).boxes for k in range(3)] == [hidden.film(k).boxes for k in range(3)]
    assert (plain.manifest.inputs.pseudonym_key, hidden.manifest.inputs.pseudonym_key) == ("", KEY.id)


def test_a_folder_is_deidentified_by_itself_and_a_published_set_only_if_asked(tmp_path: Path) -> None:
    phantom = build_source("phantom", None, {"count": 4})
    assert deidentified(phantom, "auto", None, tmp_path) == (phantom, None)
    source, found = deidentified(phantom, "on", None, tmp_path)
    assert isinstance(source, DeidentifiedSource)
    assert found is not None
    assert found.place == f"the variable {KEY_VARIABLE}"
    with pytest.raises(ConfigError, match="none of auto, on, off"):
        deidentified(phantom, "yes", None, tmp_path)
    with pytest.raises(ConfigError, match="no key is used"):
        deidentified(phantom, "auto", tmp_path / "key", tmp_path)


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    first, again = find_key(store=tmp_path / "store"), find_key(store=tmp_path / "store")
    assert (first.made, again.made, first.key) == (True, False, again.key)
    assert default_key_file().stat().st_mode & 0o777 == 0o600
    assert [path.name for path in default_key_file().parent.iterdir()] == ["pseudonym.key"]
    assert find_key(tmp_path / "own.key", store=tmp_path / "store").key != first.key


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        ("short", 0o600, "5 characters: at least 32"),
        ("k" * 40, 0o644, "open to everybody"),
        (None, 0, "cannot be read"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused_without_being_told(
    content: str | None, mode: int, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "own.key"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    with pytest.raises(ConfigError, match=message) as caught:
        find_key(path, store=tmp_path / "store", make=False)
    assert content is None or content not in caught.value.message


def test_a_key_in_the_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="whoever gets the store"):
        find_key(tmp_path / "store" / "own.key", store=tmp_path / "store")
    assert not (tmp_path / "store").exists()


def run(*words: str | Path) -> str:
    result = CliRunner().invoke(app, ["data", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_commands_share_one_key_and_lead_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    own, store, key = tmp_path / "own", tmp_path / "store", tmp_path / "own.key"
    run("template", own)
    prepare = ("prepare", "folder", own, "--out", store, "--size", "32", "--key-file", key)
    assert "was made just now" in run(*prepare)
    assert "up to date" in run(*prepare)
    assert "is whole" in run("verify", store, "--source", own, "--key-file", key)
    other = tmp_path / "other.key"
    other.write_text("k" * 32)
    other.chmod(0o600)
    assert "key of pseudonyms" in run(*prepare[:-1], other)
    run(*prepare)

    run("pseudonyms", "folder", own, "--store", store, "--out", tmp_path / "links.csv", "--key-file", key)
    with (tmp_path / "links.csv").open() as file:
        links = {(row["kind"], row["original"]): row["pseudonym"] for row in csv.DictReader(file)}
    opened = Store.open(store)
    studies = [original for kind, original in links if kind == "study"]
    assert [links["study", original] for original in studies] == list(opened.study_ids)
    assert {links[kind, original] for kind, original in links if kind == "patient"} == set(opened.patient_ids)
    with pytest.raises(ConfigError, match="not hashed with this key"):
        run("pseudonyms", "folder", own, "--store", store, "--out", other, "--key-file", other)
    with pytest.raises(ConfigError, match="lie in the store"):
        run("pseudonyms", "folder", own, "--store", store, "--out", store / "links.csv", "--key-file", key)

    rows = "\n".join(f"{name},{side}" for name, side in zip(studies, ("train", "train", "train", "test"), strict=True))
    (tmp_path / "mine.csv").write_text(f"study_id,split\n{rows}\n")
    run("split", store, "--list", tmp_path / "mine.csv", "--out", tmp_path / "split.json", "--key-file", key)
    (fold,) = read_split(tmp_path / "split.json").folds
    assert (set(fold.train), fold.test) == (set(opened.study_ids[:3]), (opened.study_ids[3],))
    with pytest.raises(ConfigError, match="were not hashed with the key in"):
        run("split", store, "--list", tmp_path / "mine.csv", "--key-file", other)
