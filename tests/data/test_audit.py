from __future__ import annotations

import json
import weakref
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.planted_audit.cases import planted_sentences
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydicom import Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.data.audit.burned_in import looks_written_on
from crossray.data.audit.confidentiality_profile import profile
from crossray.data.audit.dicom_audit import audit_dicom
from crossray.data.audit.finding import MOST_PLACES, Audit, Finding, Places, finding
from crossray.data.audit.identifiers import PATTERNS, identifier_spans, identifiers_in
from crossray.data.audit.label_text import label_findings
from crossray.data.audit.near_copies import (
    NEAR_BITS,
    copy_distances,
    hamming_distances,
    hashes_of,
    near_pairs,
    perceptual_hashes,
)
from crossray.data.audit.store_audit import audit_store
from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.reports import parse_report
from crossray.data.sources.build import build_source
from crossray.data.split_files import read_split, write_split
from crossray.data.splits import Fold, SplitList
from crossray.data.store import Store
from crossray.data.study import Film, PixelSource, Report, Study
from crossray.data.text import SelectedText, TextConfig, select_text
from crossray.errors import DataError
from tests.data.dicom_writing import radiograph, write
from tests.data.studies import Gradient, MemorySource

PLANTED = {
    "date": "Compared with 03/14/2019.",
    "name": "Discussed with Dr. Quimbleton by phone.",
    "record_number": "MRN: 88421907 was checked.",
    "phone": "Call (555) 867-5309 with questions.",
    "email": "Write to quimbleton@hospital.example soon.",
    "address": "Lives at 12 Marigold Street today.",
    "age": "A 93-year-old with cough.",
    "place": "Transferred from Quimbleton Hospital.",
}
PLANTED_ROWS = dict(zip(PLANTED, (0, 1, 2, 3, 4, 5, 11, 12), strict=True))


@dataclass(frozen=True)
class Pixels:
    """A film given as bytes, so that worker processes could read it."""

    content: bytes
    side: int

    def read(self) -> NDArray[np.uint8]:
        return np.frombuffer(self.content, np.uint8).reshape(self.side, self.side)


class HeldText(SelectedText):
    """One that can be referred to weakly."""


def film_of(pixels: NDArray[np.uint8]) -> PixelSource:
    return Pixels(pixels.tobytes(), pixels.shape[0])


def with_letters(pixels: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    image = Image.fromarray(pixels.copy())
    ImageDraw.Draw(image).text((6, 6), text, fill=255)
    return np.asarray(image)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("phantom") / "store"
    prepare_store(build_source("phantom", None, {"count": 24}), path, PrepareConfig(size=256), workers=1)
    return Store.open(path)


def studies_of(store: Store) -> Iterator[Study]:
    for row, study_id in enumerate(store.study_ids[:20]):
        pixels = store.pixels(store.films_of(row)[:1])[0]
        report = parse_report(f"FINDINGS: Seen as number {row}. No effusion is seen in ___ since XXXX.")
        yield Study(study_id, f"patient-{row}", (Film(f"f{row}", "frontal", film_of(pixels)),), report, {"Edema": 0.0})


@pytest.fixture(scope="module")
def planted(phantom: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[Audit, Audit]:
    """The audits of twenty phantom studies as they are, and of the same with one plant of each kind."""
    clean = list(studies_of(phantom))
    dirty = list(clean)
    for kind, sentence in PLANTED.items():
        row = PLANTED_ROWS[kind]
        dirty[row] = replace(dirty[row], report=parse_report(f"FINDINGS: {row} as before. {sentence}"))
    dirty[6] = replace(dirty[6], patient_id=dirty[16].patient_id)
    dirty[7] = replace(dirty[7], report=parse_report(dirty[17].report.text.upper().replace(".", " .")))
    brighter = np.clip(phantom.pixels(phantom.films_of(18)[:1])[0] * 1.05, 0, 255).astype(np.uint8)
    dirty[8] = replace(dirty[8], films=(Film("copy", "frontal", film_of(brighter)),))
    letters = with_letters(phantom.pixels(phantom.films_of(9)[:1])[0], "QUIMBLETON 12345")
    dirty[9] = replace(dirty[9], films=(Film("letters", "frontal", film_of(letters)),))
    dirty[10] = replace(dirty[10], report=parse_report("FINDINGS: Pulmonary edema, number 10."), labels={"Edema": 1.0})
    ids = [study.study_id for study in clean]
    split = SplitList("mine", (Fold("fixed", tuple(ids[:11]), (), tuple(ids[11:])),))
    audits = []
    for name, items in (("clean", clean), ("dirty", dirty)):
        path = tmp_path_factory.mktemp(name) / "store"
        prepare_store(MemorySource(items, label_names=("Edema",)), path, PrepareConfig(size=256), workers=1)
        audits.append(audit_store(Store.open(path), split))
    return audits[0], audits[1]


def found_in(audit: Audit) -> dict[str, Finding]:
    return {item.kind: item for item in audit.findings}


def test_nothing_is_found_in_phantom_studies_as_they_are(planted: tuple[Audit, Audit]) -> None:
    clean, _ = planted
    assert clean.passed
    assert {item.kind: item.found for item in clean.findings if item.found} == {}


def test_one_plant_of_every_kind_is_found_once_and_where_it_was_planted(
    planted: tuple[Audit, Audit], phantom: Store
) -> None:
    found, ids = found_in(planted[1]), phantom.study_ids
    where = {f"report: {kind}": (ids[row],) for kind, row in PLANTED_ROWS.items()}
    where |= {
        "patients across sides": (ids[6],),
        "reports across sides": (ids[7],),
        "near-duplicate films": (f"{ids[8]} = {ids[18]}",),
        "the same, other patients": (f"{ids[8]} = {ids[18]}",),
        "the same, across sides": (f"{ids[8]} = {ids[18]}",),
        "burned-in text suspected": (ids[9],),
        "label in text: Edema": (ids[10],),
    }
    assert {kind: item.examples for kind, item in found.items()} == where
    assert all(item.found == 1 for item in found.values())
    assert not planted[1].passed


def test_an_audit_never_repeats_what_identifies(planted: tuple[Audit, Audit]) -> None:
    written = "\n".join(planted[1].lines()) + planted[1].as_json()
    for secret in ("Quimbleton", "QUIMBLETON", "quimbleton", "03/14", "88421907", "867", "Marigold", "patient-16"):
        assert secret not in written
    assert json.loads(planted[1].as_json())["passed"] is False


#: E-mail addresses with a comma for a dot: not looked for.
NOT_FOUND = {"susan@clinic,example"}


@pytest.mark.parametrize("kind", PATTERNS)
def test_identifiers_in_their_usual_forms_are_found(kind: str) -> None:
    planted = planted_sentences()[kind]["planted"]
    assert len(planted) > 40
    assert {sentence for sentence in planted if kind not in identifiers_in(sentence)} == NOT_FOUND & set(planted)


@pytest.mark.parametrize(
    ("sentence", "left"),
    [
        ("Seen by Dr. Müller today.", "Seen by __________ today."),
        ("Prof. Dr. med. Ottokar Fernschreiber: kein Erguss.", "____________________________________: kein Erguss."),
        ("Bei Frau Weißhäupl kein Erguss.", "Bei ______________ kein Erguss."),
        ("Signed by Änne Öztürk.", "_____________________."),
        (
            "Vergleich mit 12. März 2019 und Aufnahme vom 3.4.19.",
            "Vergleich mit _____________ und Aufnahme vom ______.",
        ),
        ("Comparado con el 3 de mayo de 2019.", "Comparado con el _________________."),
        ("Tel. 089/1234567 oder Tel: 0711 987 6543.", "________________ oder __________________."),
    ],
)
def test_names_dates_and_numbers_of_other_languages_are_found_whole(sentence: str, left: str) -> None:
    for _, span in identifier_spans(sentence):
        sentence = f"{sentence[: span.start]}{'_' * (span.end - span.start)}{sentence[span.end :]}"
    assert sentence == left


@pytest.mark.parametrize("kind", PATTERNS)
def test_marks_measures_levels_and_examinations_are_no_identifiers(kind: str) -> None:
    near_misses = planted_sentences()[kind]["near_misses"]
    assert len(near_misses) > 30
    assert [(sentence, found) for sentence in near_misses if (found := identifiers_in(sentence))] == []


@given(text=st.text(alphabet=st.sampled_from("aB 1.-/@:,\n[*]'x"), max_size=60))
@settings(max_examples=150, derandomize=True, database=None, deadline=None)
def test_identifiers_lie_in_the_text_and_are_counted_by_kind(text: str) -> None:
    spans = list(identifier_spans(text))
    assert all(0 <= span.start < span.end <= len(text) for _, span in spans)
    assert identifiers_in(text) == Counter(kind for kind, _ in spans)


def as_laid(bits: NDArray[np.bool_]) -> Iterator[NDArray[np.bool_]]:
    """A hash, and what it becomes if the film is mirrored, upside down, both; and if each is a negative."""
    odd = np.arange(1, 17) % 2 == 1
    for down in (False, True):
        for across in (False, True):
            changed = bits ^ (down & odd)[:, None].repeat(16, axis=1).ravel() ^ np.tile(across & odd, 16)
            yield from (changed, ~changed)


def test_near_pairs_are_those_of_a_plain_loop() -> None:
    bits = np.random.default_rng(0).random((40, 256)) < 0.5
    bits[31] = bits[4] ^ (np.arange(256) < NEAR_BITS)
    bits[30] = bits[5] ^ (np.arange(256) < NEAR_BITS + 1)
    for copy, laid in zip(range(32, 40), as_laid(bits[6]), strict=True):
        bits[copy] = laid ^ (np.arange(256) < 3)
    slow = [
        (i, j, least)
        for i in range(40)
        for j in range(i + 1, 40)
        if (least := min(int((bits[i] != laid).sum()) for laid in as_laid(bits[j]))) <= NEAR_BITS
    ]
    assert sorted(near_pairs(bits)) == slow
    assert (4, 31, NEAR_BITS) in slow
    assert [pair for pair in slow if pair[0] == 6] == [(6, copy, 3) for copy in range(32, 40)]


def test_mirrored_films_films_upside_down_and_negatives_are_near_their_originals(phantom: Store) -> None:
    films = phantom.pixels(np.arange(8))
    hashes = perceptual_hashes(films)
    for laid in (films[:, :, ::-1], films[:, ::-1], films[:, ::-1, ::-1], 255 - films):
        distances = copy_distances(hashes, perceptual_hashes(laid))
        assert np.median(np.diag(distances)) <= NEAR_BITS
        assert distances[~np.eye(8, dtype=bool)].min() > NEAR_BITS


def test_pairs_across_blocks_are_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossray.data.audit.near_copies._BLOCK", 4)
    bits = np.random.default_rng(1).random((11, 256)) < 0.5
    bits[9] = bits[2]
    assert list(near_pairs(bits)) == [(2, 9, 0)]


def test_the_threshold_parts_copies_from_other_phantom_films(phantom: Store) -> None:
    hashes = hashes_of(phantom)
    distances = hamming_distances(hashes, hashes)[np.triu_indices(len(hashes), 1)]
    assert distances.min() > NEAR_BITS
    films = phantom.pixels(np.arange(phantom.film_count))
    halved = [Image.fromarray(film).resize((128, 128), Image.Resampling.BOX) for film in films]
    again = np.stack([np.asarray(film.resize((256, 256), Image.Resampling.BILINEAR)) for film in halved])
    assert (perceptual_hashes(again) != hashes).sum(axis=1).max() <= NEAR_BITS


def test_a_side_mark_is_no_writing(phantom: Store) -> None:
    film = phantom.pixels([0])[0]
    found = looks_written_on(np.stack([film, with_letters(film, "L"), with_letters(film, "ROE JANE 1950 F")]))
    assert found.tolist() == [False, False, True]


def test_identifying_attributes_of_dicom_files_are_found_and_their_values_are_not_told(tmp_path: Path) -> None:
    dirty = radiograph(PatientBirthDate="19500102", InstitutionName="Quimbleton Clinic", StudyDate="20190314")
    dirty.add_new(0x00091001, "LO", "private Quimbleton")
    write(dirty, tmp_path / "Quimbleton^Jane.dcm")
    write(radiograph(PatientName="", PatientID="", AccessionNumber=""), tmp_path / "a.dcm")
    (tmp_path / "notes.txt").write_text("Quimbleton")
    audit = audit_dicom(tmp_path)
    counts = {item.kind: item.found for item in audit.findings if item.fails}
    names = ("PatientName", "PatientID", "AccessionNumber", "PatientBirthDate", "InstitutionName", "StudyDate")
    assert counts == dict.fromkeys((*names, "private attribute"), 1)
    assert found_in(audit)["StudyInstanceUID"].found == 2
    assert found_in(audit)["not DICOM, passed over"].found == 1
    written = "\n".join(audit.lines()) + audit.as_json()
    assert all(secret not in written for secret in ("Quimbleton", "Doe", "19500102", "20190314"))


def test_what_names_the_examination_is_told_and_fails_only_with_an_identifier_in_it(tmp_path: Path) -> None:
    nobody = {"PatientName": "", "PatientID": "", "AccessionNumber": ""}
    told = {"ProtocolName": "CHEST PA", "SeriesDescription": "Thorax", "PatientSex": "F", "StudyTime": "101112"}
    plain = radiograph()
    for keyword, value in (nobody | told).items():
        setattr(plain, keyword, value)
    write(plain, tmp_path / "a.dcm")
    assert audit_dicom(tmp_path).passed
    write(
        radiograph(PatientName="Doe^Jane", SeriesDescription="Chest Jane D.", ProtocolName="14.03.2019"),
        tmp_path / "b.dcm",
    )
    found = found_in(audit_dicom(tmp_path))
    assert {item.kind: (item.found, item.fails) for item in found.values() if item.kind in told} == dict.fromkeys(
        told, (1, False)
    ) | {"ProtocolName": (2, False), "SeriesDescription": (2, False)}
    assert found["SeriesDescription with an identifier"].fails
    assert found["ProtocolName with an identifier"].examples == ("file 2",)


def test_every_tag_of_the_standards_table_is_found_when_it_is_planted(tmp_path: Path) -> None:
    values = {"DA": "20190314", "DT": "20190314101112", "TM": "101112", "UI": "1.2.3", "SQ": [Dataset()], "AS": "051Y"}
    planted = set()
    for tag in profile():
        known = "x" not in tag and dictionary_has_tag(int(tag, 16))
        vr = dictionary_VR(int(tag, 16)) if known else ""
        if vr in (*values, "LO", "SH", "PN", "LT", "ST", "UT", "CS") and not tag.startswith(("0000", "0002")):
            planted.add((tag, vr))
    dataset = radiograph()
    for tag, vr in planted:
        dataset.add_new(int(tag, 16), vr, values.get(vr, "SOMETHING"))
    write(dataset, tmp_path / "a.dcm")
    found = found_in(audit_dicom(tmp_path))
    editions, behind_pixels = {"ContextGroupVersion", "ContextGroupLocalVersion"}, {"DigitalSignaturesSequence"}
    assert {keyword_for_tag(int(tag, 16)) for tag, _ in planted} - set(found) == editions | behind_pixels
    assert len(profile()) == 655
    assert len(planted) > 550


def test_repeating_groups_of_the_table_are_found(tmp_path: Path) -> None:
    dataset = radiograph()
    dataset.add_new(0x60024000, "LT", "Jane")
    dataset.add_new(0x50040010, "US", 3)
    write(dataset, tmp_path / "a.dcm")
    kinds = {item.kind for item in audit_dicom(tmp_path).findings}
    assert {"attribute (6002,4000)", "attribute (5004,0010)"} <= kinds


def test_a_folder_without_dicom_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no DICOM file"):
        audit_dicom(tmp_path)


def test_the_command_ends_with_one_if_something_was_found(tmp_path: Path, phantom: Store) -> None:
    clean = CliRunner().invoke(app, ["data", "audit", str(phantom.path), "--json"])
    assert clean.exit_code == (0 if json.loads(clean.output)["passed"] else 1) == 0
    write(radiograph(), tmp_path / "a.dcm")
    dirty = CliRunner().invoke(app, ["data", "audit", str(tmp_path)])
    assert dirty.exit_code == 1
    assert "PatientName" in dirty.output
    ids = phantom.study_ids
    write_split(SplitList("mine", (Fold("fixed", tuple(ids[:12]), (), tuple(ids[12:])),)), tmp_path / "split.json")
    sides = CliRunner().invoke(app, ["data", "audit", str(phantom.path), "--split", str(tmp_path / "split.json")])
    assert "patients across sides" in sides.output


def test_writing_down_the_side_is_found(phantom: Store) -> None:
    film = phantom.pixels([0])[0]
    turned = np.rot90(with_letters(np.rot90(film, -1), "ROE JANE 1950 F"))
    assert looks_written_on(np.stack([film, turned])).tolist() == [False, True]


def test_reports_that_differ_in_their_indication_alone_are_the_same_on_two_sides(
    phantom: Store, tmp_path: Path
) -> None:
    first, second, other = list(studies_of(phantom))[:3]
    same = "INDICATION: {}\n\nFINDINGS: Clear lungs, normal heart.\n\nIMPRESSION: {}"
    reports = (same.format("Cough.", "Normal."), same.format("Fever.", "1. Normal."), same.format("Cough.", "Stable."))
    items = [
        replace(study, report=parse_report(text)) for study, text in zip((first, second, other), reports, strict=True)
    ]
    prepare_store(MemorySource(items, label_names=()), tmp_path / "s", PrepareConfig(size=32), workers=1)
    ids = [study.study_id for study in items]
    split = SplitList("mine", (Fold("fixed", (ids[0],), (), tuple(ids[1:])),))
    found = found_in(audit_store(Store.open(tmp_path / "s"), split))["reports across sides"]
    assert (found.found, found.looked_at, found.places) == (1, 2, (ids[0],))


def test_labels_in_text_are_found_with_one_report_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("Pulmonary edema.", "Normal heart.", "A hernia is seen.", "No edema, no hernia.")
    answers: tuple[dict[str, float], ...] = (
        {"Edema": 1.0},
        {"Edema": 1.0, "Hernia": 1.0},
        {"Hernia": 1.0},
        {"Edema": 0.0},
        {},
    )
    studies = [
        Study(
            f"s{k}",
            None,
            (Film("f", "frontal", Gradient(k)),),
            parse_report(f"FINDINGS: {words[k % 4]}"),
            answers[k % 5],
        )
        for k in range(40)
    ]
    config = PrepareConfig(size=32)
    prepare_store(MemorySource(studies, label_names=("Edema", "Hernia")), tmp_path / "s", config, workers=1)
    store = Store.open(tmp_path / "s")
    held: list[weakref.ref[HeldText]] = []
    most = 0

    def read(report: Report, config: TextConfig) -> HeldText:
        nonlocal most
        text = select_text(report, config)
        held.append(weakref.ref(one := HeldText(text.text, text.sentences)))
        most = max(most, sum(earlier() is not None for earlier in held))
        return one

    monkeypatch.setattr("crossray.data.audit.label_text.select_text", read)
    edema, hernia = label_findings(store)
    assert (most, len(held)) == (1, 24)  # of studies that have a label
    has = {name: [k for k in range(40) if answers[k % 5].get(name) == 1] for name in ("Edema", "Hernia")}
    ids = store.study_ids
    assert (edema.looked_at, hernia.looked_at) == (len(has["Edema"]), len(has["Hernia"])) == (16, 16)
    assert edema.places == tuple(ids[k] for k in has["Edema"] if k % 4 in (0, 3))
    assert hernia.places == tuple(ids[k] for k in has["Hernia"] if k % 4 in (2, 3))
    assert (edema.found, hernia.found) == (len(edema.places), len(hernia.places)) == (8, 8)


def test_a_finding_counts_all_of_its_places_and_keeps_the_first() -> None:
    many = finding("kind", Places(str(number // 2) for number in range(3 * MOST_PLACES)), 1, "meaning")
    assert (many.found, len(many.places), many.examples) == (3 * MOST_PLACES, MOST_PLACES, ("0", "1", "2", "3", "4"))
    assert not finding("kind", (), 1, "meaning").fails


@pytest.mark.slow
@pytest.mark.real_data
def test_iu_reports_hold_no_identifiers_and_its_protocol_divides_no_reports(real_data: Path, tmp_path: Path) -> None:
    prepare_store(
        build_source("iu_xray", real_data / "iu_xray", {}), tmp_path / "iu", PrepareConfig(size=128), workers=2
    )
    found = found_in(audit_store(Store.open(tmp_path / "iu"), read_split("iu-rr-v1")))
    assert {kind: item.found for kind, item in found.items() if item.fails} == {}
    assert found["patients across sides"].looked_at == 0
    assert found["label in text: Cardiomegaly"].found == found["label in text: Cardiomegaly"].looked_at == 264
