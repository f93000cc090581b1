"""Identifiers planted in a hospital's data turn up in nothing that is written or printed, from prepare to serve."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from benchmarks.viewer.server import running_server
from pydicom import dcmread
from pydicom.config import disable_value_validation
from pydicom.uid import ImplicitVRLittleEndian
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.data.sources.phantom import PhantomConfig, PhantomSource
from crossray.errors import CrossRayError
from tests.data.dicom_writing import radiograph, write
from tests.documents import ROOT

STUDIES = 30
PHANTOM = PhantomSource(PhantomConfig(count=STUDIES, difficulty="easy", size=64))
#: Each is planted in more than one place; none may be found again, in whatever case.
SECRETS = (
    "Quimbleton", "Zephyrine", "MRN88421", "ACC55501", "14.03.2019", "20190314", "867-5309", "Marigold",
    "St. Elsewhere", "19500102", "Vandergelt", "1.2.826.0.1.3680043.8.498.7777", "zq@elsewhere.example", "31142",
)  # fmt: skip
RECIPE = (
    "image.size=32", "image.resize=36", "image_encoder.name=test_resnet", "image_encoder.pretrained=none",
    "image_encoder.frozen_stages=0", "image_encoder.local_stage=-1", "text_encoder.layers=1", "text_encoder.width=32",
    "text_encoder.heads=2", "text_encoder.vocabulary_size=300", "method.embed_dim=16", "training.epochs=1",
    "training.batch_size=8", "runtime.progress=false", "data.fold=fixed",
)  # fmt: skip


def write_hospital(folder: Path) -> None:
    """A manifest of DICOM films whose headers, paths, reports and mistakes are full of identifiers."""
    rows = []
    for number, study in enumerate(PHANTOM.studies()):
        path = f"Quimbleton_Zephyrine/{number:03d}/20190314.dcm"
        film = radiograph(
            study.films[0].pixels.read(),
            bits=8,
            PatientName="Quimbleton^Zephyrine",
            PatientID=f"MRN88421{number:03d}",
            AccessionNumber=f"ACC55501{number:03d}",
            PatientBirthDate="19500102",
            StudyDate="20190314",
            InstitutionName="St. Elsewhere",
            OperatorsName="operator Vandergelt",
            SOPInstanceUID=f"1.2.826.0.1.3680043.8.498.7777.{number}",
        )
        film.add_new(0x00091001, "LO", "private Quimbleton")
        write(film, folder / path)
        rest = (
            f" Seen by Dr. Quimbleton on 14.03.2019. QUIMBLETON, Zephyrine, MRN88421{number:03d}, study "
            f"ACC55501{number:03d}, of 12 Marigold Street, (555) 867-5309. Write to zq@elsewhere.example, pager 31142. "
            "Electronically signed by Otto Vandergelt, MD."
        )
        label = str(number % 2)
        rows.append([f"ACC55501{number:03d}", f"MRN88421{number:03d}", path, "PA", study.report.text + rest, label])
    damaged = folder / "Quimbleton_Zephyrine" / "damaged.dcm"
    damaged.write_bytes((folder / rows[0][2]).read_bytes()[:900])
    (folder / "Quimbleton_Zephyrine" / "spare.dcm").write_bytes((folder / rows[0][2]).read_bytes())
    rows += [
        ["ACC55501900", "MRN88421900", "Quimbleton_Zephyrine/damaged.dcm", "PA", "FINDINGS: No effusion.", "1"],
        ["ACC55501901", "MRN88421901", "Quimbleton_Zephyrine/missing.dcm", "PA", "FINDINGS: No effusion.", "0"],
        ["ACC55501902", "MRN88421902", rows[1][2], "PA", "FINDINGS: No effusion.", "Zephyrine Quimbleton"],
        ["ACC55501903", "MRN88421903", "Quimbleton_Zephyrine/spare.dcm", "MRN88421903", "FINDINGS: No effusion.", "0"],
        ["ACC55501904", "MRN88421904", rows[3][2], "PA", "", "0"],
        ["ACC55501000", "MRN88421905", rows[4][2], "PA", "FINDINGS: Other.", "0"],  # the first study's id again
    ]
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("study_id", "patient_id", "film", "view", "report", "label:Edema"), *rows])


def run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == code, result.output
    return result.output + result.stderr


def refusal(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    assert isinstance(result.exception, CrossRayError), result.output
    return str(result.exception)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The folder of everything that was made of a hospital's data, and all that was printed on the way."""
    hospital, folder = tmp_path_factory.mktemp("hospital"), tmp_path_factory.mktemp("made")
    write_hospital(hospital)
    with contextlib.chdir(folder):
        printed = [run("data", "prepare", "folder", str(hospital), "--out", "store", "--size", "48")]
        printed += [run("data", name, "store", *more) for name in ("describe", "audit") for more in ((), ("--json",))]
        printed += [run("data", "audit", str(hospital), code=1)]
        printed += [run("data", "verify", "store", "--source", str(hospital))]
        printed += [run("data", "split", "store", "--test", "0.3", "--validation", "0.2", "--out", "split.json")]
        recipe = str(ROOT / "recipes" / "cpu" / "phantom.yaml")
        printed += [run("pretrain", recipe, "--out", "run", "data.store=store", "data.split=split.json", *RECIPE)]
        printed += [
            run("evaluate", "run", "--out", "results", "--tasks", "retrieval,probe", "--set", "protocol.draws=10")
        ]
        printed += [
            run("index", "build", "run", "store", "--out", "index"),
            run("search", "index", "--text", "effusion", "--side", "reports", "--store", "store"),
            run("embed", "run", "store", "--out", "vectors.npz"),
            run("export", "run", "--to", "hub-folder", "--out", "exported", "--results", "results"),
            run("compare", "results", "--out", "compared"),
            *(run("doctor", name) for name in ("store", "run", "index")),
            run("verify", "."),
        ]
        films = films_of(hospital)
        printed += [served_errors(Path("run"), [path.read_bytes() for path in films])]
        yield folder, "\n".join(printed)


def films_of(hospital: Path) -> list[Path]:
    """Two whole films and a damaged one."""
    return [*sorted(hospital.rglob("20190314.dcm"))[:2], *hospital.rglob("damaged.dcm")]


def served_errors(run_folder: Path, films: list[bytes]) -> str:
    """What the viewer answers to films of the hospital, whole and damaged, and to nonsense."""
    pytest.importorskip("fastapi")
    from starlette.testclient import TestClient

    from crossray.serve.app import Desk, build_app
    from crossray.serve.engine import LoadedRun
    from crossray.serve.limits import Limits

    desk = Desk([LoadedRun(0, run_folder)], Limits(), None)
    try:
        client = TestClient(build_app(desk), raise_server_exceptions=False)
        answers = [client.post("/api/film", content=film) for film in films]
        assert {answer.status_code // 100 for answer in answers} == {2, 4}
        return "\n".join(f"{answer.text} {answer.headers}" for answer in answers)
    finally:
        desk.decoder.close()


def test_no_file_that_was_made_holds_an_identifier(made: tuple[Path, str]) -> None:
    files = [path for path in made[0].rglob("*") if path.is_file()]
    names = {"quarantine.csv", "best.safetensors", "report.html", "metrics.jsonl", "README.md", "vectors.npz"}
    assert names <= {path.name for path in files}
    found = [
        (path.relative_to(made[0]).as_posix(), secret)
        for path in files
        for content in (path.read_bytes().lower(),)
        for secret in SECRETS
        if secret.lower().encode() in content and (not secret.isdecimal() or stands_alone(secret, content))
    ]
    assert found == []


def stands_alone(number: str, content: bytes) -> bool:
    """Whether a number is there as itself, and not among the decimals of a figure."""
    return re.search(rb"(?<![0-9.])%b(?![0-9])" % number.encode(), content) is not None


def test_no_file_or_folder_is_named_by_an_identifier(made: tuple[Path, str]) -> None:
    names = " ".join(path.name.lower() for path in made[0].rglob("*"))
    assert [secret for secret in SECRETS if secret.lower() in names] == []


def test_nothing_that_was_printed_holds_an_identifier(made: tuple[Path, str]) -> None:
    assert [secret for secret in SECRETS if secret.lower() in made[1].lower()] == []


def test_what_was_left_out_is_still_told_by_rule_and_row(made: tuple[Path, str]) -> None:
    with (made[0] / "store" / "quarantine.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["rule"] for row in rows} >= {
        "damaged_film", "missing_file", "bad_label", "bad_film_row", "empty_report", "two_patients",
    }  # fmt: skip
    assert str(STUDIES + 2) in {row["row"] for row in rows if row["rule"] == "missing_file"}


def test_reports_still_say_what_the_film_shows(made: tuple[Path, str]) -> None:
    texts = [
        text
        for path in sorted((made[0] / "store").glob("studies-*.arrow"))
        for text in pa.ipc.open_stream(io.BytesIO(path.read_bytes())).read_all().column("text").to_pylist()
    ]
    drawn = [study.report.text for study in PHANTOM.studies()][1:]  # the first study's id was used twice
    assert [text[: len(before)] for text, before in zip(texts, drawn, strict=True)] == drawn
    assert all("____" in text for text in texts)


def test_an_error_names_no_patient(made: tuple[Path, str], tmp_path: Path) -> None:
    write_hospital(tmp_path / "h")
    lines = (tmp_path / "h" / "manifest.csv").read_text().splitlines()
    (tmp_path / "h" / "manifest.csv").write_text("\n".join([lines[0], *lines[-6:-1]]) + "\n")
    said = refusal("data", "prepare", "folder", str(tmp_path / "h"), "--out", str(tmp_path / "store"))
    assert "rule" in said
    assert [secret for secret in SECRETS if secret.lower() in said.lower()] == []


#: Values that a DICOM file may not hold, of which pydicom warns with the value.
SPOILED = {
    "PatientBirthDate": "Quimbleton", "StudyDate": "14.03.2019", "PatientAge": "Zephyrine", "PatientWeight": "MRN88421",
    "StudyInstanceUID": "MRN88421/Quimbleton", "StudyTime": "Marigold", "SeriesNumber": "ACC55501",
    "OperatorsName": "Vandergelt" * 20, "ViewPosition": "quimbleton (31142)",
}  # fmt: skip


def spoil(hospital: Path) -> None:
    """Put such values into the films' headers: as texts, in a syntax that does not say what kind they are."""
    with disable_value_validation():
        for path in hospital.rglob("2019*.dcm"):
            dataset = dcmread(path)
            for keyword, value in SPOILED.items():
                dataset.add_new(keyword, "LO", value)
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
            dataset.save_as(path, implicit_vr=True, little_endian=True)


@pytest.mark.parametrize("number", range(6))
def test_a_manifest_that_cannot_be_read_is_told_of_without_what_it_holds(tmp_path: Path, number: int) -> None:
    write_hospital(tmp_path / "h")
    manifest = tmp_path / "h" / "manifest.csv"
    whole = manifest.read_bytes()
    manifest.write_bytes(
        (
            whole.replace(b"MRN88421003,", b"MRN88421003,Quimbleton,", 1),
            whole + b'ACC55501999,"Zephyrine Quimbleton',
            whole.replace(b"Marigold", b"Marigold \xff\xfe", 1),
            whole.replace(b"study_id,patient_id", b"study_id,study_id", 1),
            whole.replace(b"MRN88421003", b"MRN88421003\0", 1),
            whole.replace(b"\n", b"\r", 3),
        )[number]
    )
    result = CliRunner().invoke(app, ["data", "prepare", "folder", str(tmp_path / "h"), "--out", str(tmp_path / "s")])
    assert result.exception is None or isinstance(result.exception, CrossRayError)
    made = "".join(path.read_text() for path in tmp_path.glob("s/*.csv"))
    said = f"{result.output} {result.stderr} {result.exception} {made}".lower()
    assert [secret for secret in SECRETS if secret.lower() in said] == []


def test_two_workers_print_nothing_of_headers_that_break_the_rules(tmp_path: Path) -> None:
    write_hospital(tmp_path / "h")
    spoil(tmp_path / "h")
    words = ["data", "prepare", "folder", str(tmp_path / "h"), "--out", "s", "--size", "48", "--workers", "2"]
    ended = subprocess.run(
        [sys.executable, "-W", "always", "-c", "from crossray.cli.main import main; main()", *words],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    said = (ended.stdout + ended.stderr).lower()
    assert "studies" in said
    assert [secret for secret in SECRETS if secret.lower() in said] == []
    content = b"".join(path.read_bytes().lower() for path in (tmp_path / "s").iterdir())
    assert [secret for secret in SECRETS if secret.lower().encode() in content] == []


@pytest.mark.slow
def test_a_servers_log_holds_nothing_of_films_questions_and_addresses(made: tuple[Path, str], tmp_path: Path) -> None:
    write_hospital(tmp_path / "h")
    spoil(tmp_path / "h")
    options = ("--index", str(made[0] / "index"), "--store", str(made[0] / "store"))
    with running_server(made[0] / "run", tmp_path / "log", *options) as it:
        address = f"http://127.0.0.1:{it.port}"
        for film in (*films_of(tmp_path / "h"), tmp_path / "h" / "manifest.csv"):
            asked(f"{address}/api/film", film.read_bytes())
        question = {"film": "Quimbleton", "phrase": "Quimbleton MRN88421", "text": "Zephyrine", "run": "Marigold"}
        for path in ("ground", "words", "search", "classify", "Quimbleton?MRN88421=14.03.2019"):
            asked(f"{address}/api/{path}", json.dumps(question).encode())
            asked(f"{address}/api/{path}", b"Quimbleton{")
    log = it.log.read_text(encoding="utf-8").lower()
    assert str(it.port) in log
    assert [secret for secret in SECRETS if secret.lower() in log] == []


def asked(address: str, content: bytes) -> None:
    headers = {"Content-Type": "application/json", "X-Patient": "Quimbleton", "User-Agent": "MRN88421"}
    request = urllib.request.Request(address, content, headers)
    with contextlib.suppress(urllib.error.HTTPError):
        urllib.request.urlopen(request, timeout=60).read()
