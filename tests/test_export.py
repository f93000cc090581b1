"""Exports: what another library makes of them is what the run makes, and cards say only what is known."""

from __future__ import annotations

import json
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from packaging.version import Version
from PIL import Image
from torch.nn import functional as F
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.data.sources.build import SOURCE_NAMES
from crossray.data.sources.licences import LICENCES
from crossray.encoders.image import ImageEncoderConfig
from crossray.errors import CheckpointError, ConfigError, DataError
from crossray.evaluation.results import read_results
from crossray.export.export import Target, export_run
from crossray.export.parity import TEXTS, noise_films
from crossray.files import sha256_of, write_sealed_json
from crossray.inference.calibration import CALIBRATION_FILE, Calibration, Calibrator
from crossray.inference.joint_model import JointModel
from crossray.inference.run_files import read_run_manifest
from crossray.methods.clip import ClipConfig
from crossray.methods.global_local import GlobalLocalConfig
from crossray.methods.prior.config import PriorConfig
from crossray.methods.simclr import SimClrConfig
from crossray.tensor_file import write_tensors
from crossray.training.pretrain import pretrain

from .data.dicom_writing import radiograph, write
from .documents import ROOT
from .inference.test_joint_model import INPUT, write_run
from .small_model import TEXT, small_method
from .training.stores import phantom_store, small_recipe

RESNET = ImageEncoderConfig(name="resnet18", pretrained="none")


def resnet_run(folder: Path) -> Path:
    """A run whose trunk torchvision knows too."""
    run = write_run(folder, ClipConfig(embed_dim=16))
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["image_encoder"] = RESNET.model_dump(mode="json")
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    method = small_method(ClipConfig(embed_dim=16), image=RESNET, text=TEXT)
    write_tensors(run / "checkpoints" / "best.safetensors", method.state_dict(), {"kind": "crossray weights"})
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return resnet_run(tmp_path_factory.mktemp("export") / "run")


def test_encoders_are_what_timm_and_transformers_read(run: Path, tmp_path: Path) -> None:
    summary = export_run(run, "safetensors", tmp_path / "out")
    assert {one.what: one.difference < 1e-5 for one in summary.parity} == {"timm": True, "transformers": True}
    assert {"image_encoder.safetensors", "image_encoder.json", "README.md"} <= set(summary.files)
    facts = json.loads((tmp_path / "out" / "image_encoder.json").read_text())
    assert (facts["timm"], facts["channels"], facts["size"], facts["width"]) == ("resnet18", 1, INPUT.size, 512)


def test_torchvision_reads_a_resnet_and_nothing_else(run: Path, tmp_path: Path) -> None:
    summary = export_run(run, "torchvision", tmp_path / "out")
    assert [(one.what, one.difference < 1e-4) for one in summary.parity] == [("torchvision", True)]
    other = write_run(tmp_path / "other", ClipConfig(embed_dim=16))
    with pytest.raises(ConfigError, match="torchvision has no test_resnet"):
        export_run(other, "torchvision", tmp_path / "refused")


def test_a_folder_to_pass_on_holds_the_model_and_no_place_of_this_machine(run: Path, tmp_path: Path) -> None:
    summary = export_run(run, "hub-folder", tmp_path / "out")
    assert [one.difference for one in summary.parity] == [0.0, 0.0]
    one, other = JointModel.load(run), JointModel.load(tmp_path / "out")
    films = noise_films(72)
    assert torch.equal(one.embed_images(films).pooled, other.embed_images(films).pooled)
    assert "training" not in yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())
    for file in ("config.yaml", "manifest.json", "README.md"):
        assert str(tmp_path) not in (tmp_path / "out" / file).read_text()


def test_a_calibration_goes_along_and_is_used_with_the_exported_weights(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", ClipConfig(embed_dim=16))
    words = ("checkpoint", "source", "store_hash", "split_protocol", "split_hash", "fold", "protocol", "bank")
    numbers = {"films": 40, "draws": 100, "level": 0.95, "seed": 0}
    calibration = Calibration.model_validate(
        {
            "weights": sha256_of(run / "checkpoints" / "best.safetensors"),
            "views": ["frontal"],
            **dict.fromkeys((*words, "crossray", "date"), "x"),
            **numbers,
        }
    )
    write_sealed_json(run / CALIBRATION_FILE, calibration.model_dump(mode="json"))
    summary = export_run(run, "hub-folder", tmp_path / "out")
    assert CALIBRATION_FILE in summary.files
    assert Calibrator.of_run(tmp_path / "out", "best").calibration == calibration
    export_run(tmp_path / "out", "hub-folder", tmp_path / "again")
    assert Calibrator.of_run(tmp_path / "again", "best").calibration == calibration


def test_an_exporter_that_does_not_fit_torch_is_told(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise torch.onnx.OnnxExporterError("'float' object has no attribute 'shape'")

    monkeypatch.setattr(torch.onnx, "export", fails)
    with pytest.raises(ConfigError, match=r"torch .* with onnxscript .* cannot trace") as caught:
        export_run(run, "onnx", tmp_path / "out")
    assert "onnxscript<0.3" in str(caught.value)


@pytest.mark.skipif(Version(torch.__version__) < Version("2.7"), reason="torch 2.6 cannot trace the text encoder")
@pytest.mark.parametrize(
    "method",
    [
        pytest.param(GlobalLocalConfig(), id="global_local"),
        pytest.param(ClipConfig(embed_dim=16), id="clip", marks=pytest.mark.slow),
    ],
)
def test_onnx_has_the_films_and_texts_of_python(method: GlobalLocalConfig | ClipConfig, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    run = write_run(tmp_path / "run", method)
    summary = export_run(run, "onnx", tmp_path / "out")
    assert summary.left_out == ()
    assert [(one.what, one.difference < 1e-4) for one in summary.parity] == [("onnx films", True), ("onnx texts", True)]
    # Another number of films than were traced.
    films = noise_films(64, seed=3)[:3]
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "film.onnx"))
    found = session.run(None, {"pixels": films[:, None].astype(np.float32)})[0]
    wanted = F.normalize(JointModel.load(run).embed_images(films).pooled, dim=1)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_a_film_has_one_vector_in_python_on_the_command_line_over_http_and_in_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("fastapi")
    from benchmarks.one_embedding import vectors_of

    small = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8))
    grey = small.resize((150, 130), Image.Resampling.BICUBIC)
    grey.save(tmp_path / "film.png")
    grey.save(tmp_path / "film.jpg", quality=90)
    write(radiograph(), tmp_path / "film.dcm")
    files = [tmp_path / name for name in ("film.png", "film.jpg", "film.dcm")]
    found = vectors_of(write_run(tmp_path / "run", GlobalLocalConfig()), files, tmp_path)
    python = found.pop("Python")
    np.testing.assert_allclose(np.linalg.norm(python, axis=1), 1, atol=1e-5)
    assert np.abs(python[0] - python[2]).max() > 0.01, "different films have different vectors"
    assert set(found) == {"crossray embed", "HTTP", "ONNX"}
    for way, vectors in found.items():
        np.testing.assert_allclose(vectors, python, atol=1e-4, err_msg=way)


def test_reports_that_are_read_by_sentences_are_left_out_and_said_so(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    run = write_run(tmp_path / "run", PriorConfig(embed_dim=24, slots=4, prototypes=8, image_pooling="mean"))
    summary = export_run(run, "onnx", tmp_path / "out")
    assert [one.what for one in summary.parity] == ["onnx films"]
    assert "the reports of prior cannot be traced" in summary.left_out[0]
    assert "text.onnx" not in summary.files


def test_films_alone_are_exported_where_there_are_no_reports(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    run = write_run(tmp_path / "run", SimClrConfig())
    summary = export_run(run, "onnx", tmp_path / "out")
    assert summary.left_out == ("text.onnx: simclr reads no reports",)
    assert not (tmp_path / "out" / "text.onnx").exists()


def test_a_card_without_results_says_so_and_names_no_number(run: Path, tmp_path: Path) -> None:
    export_run(run, "safetensors", tmp_path / "out", licence="CC-BY-4.0")
    card = (tmp_path / "out" / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front == {"library_name": "crossray", "license": "CC-BY-4.0", "tags": ["chest-x-ray", "clip"]}
    assert "Nothing was measured for this card" in card
    assert "not for diagnosis" in card


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``run``, trained on a phantom store, and its ``results``."""
    folder = tmp_path_factory.mktemp("measured")
    with chdir(folder):
        phantom_store(Path(), studies=24)
        split = ["data", "split", "store", "--folds", "3", "--texts", "apart", "--out", "split.json"]
        assert CliRunner().invoke(app, split, catch_exceptions=False).exit_code == 0
        pretrain(small_recipe(Path(), training={"epochs": 1}), Path("run"))
        tasks = ("--tasks", "retrieval,floors", "--set", "protocol.draws=20", "--no-report")
        evaluated = CliRunner().invoke(app, ["evaluate", "run", "--out", "results", *tasks], catch_exceptions=False)
    assert evaluated.exit_code == 0, evaluated.output
    return folder


def test_a_card_is_filled_from_the_run_and_its_results(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(measured)
    export_run(Path("run"), "safetensors", Path("exported"), results=Path("results"))
    card = Path("exported/README.md").read_text()
    manifest, results = read_run_manifest(Path("run")), read_results(Path("results"))
    recall = results.one(task="retrieval", metric="R@10", target="film → report", kind="model")
    assert recall.value is not None
    for known in (
        f"- store {manifest.made_from['store'][:12]} of source `phantom`, films prepared at {manifest.prepared_size}",
        f"{manifest.made_from['split'][:12]}, fold 0; its test side was not read",
        "began with, films: random weights, reports: random weights",
        "epochs 1, batch_size",
        f"weights {sha256_of(Path('run/checkpoints/best.safetensors'))[:12]}, by CrossRay",
        f"| R@10, film → report, % | {100 * recall.value:.1f} [",
        "It was trained on drawn films and knows nothing of patients.",
        "apply too. `phantom`: drawn by CrossRay, nobody's films.",
    ):
        assert known in card, known
    assert "unknown\n" not in card.split("---")[2]


def test_a_card_is_not_given_the_numbers_of_other_weights(measured: Path, run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"results of run, weights \w{16}; the weights to export are"):
        export_run(run, "safetensors", tmp_path / "out", results=measured / "results")
    assert not (tmp_path / "out").exists()


def test_an_exported_folder_that_is_exported_again_has_the_numbers_of_its_run(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(measured)
    export_run(Path("run"), "hub-folder", tmp_path / "folder")
    export_run(tmp_path / "folder", "safetensors", tmp_path / "out", results=Path("results"))
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| R@10, film → report, % |" in card
    assert "began with" not in card, "an exported folder does not say where it began"


def test_a_card_names_no_text_side_where_there_is_none(tmp_path: Path) -> None:
    export_run(write_run(tmp_path / "run", SimClrConfig()), "safetensors", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "# simclr on chest X-rays\n" in card
    assert "BERT" not in card


def test_a_card_names_the_licence_of_every_public_set() -> None:
    page = (ROOT / "docs" / "data-sets.md").read_text(encoding="utf-8")
    assert LICENCES.keys() == set(SOURCE_NAMES)
    assert [name for name in SOURCE_NAMES if name != "folder" and f"(`{name}`)" not in page] == []


@pytest.mark.parametrize("target", ["safetensors", "hub-folder"])
def test_what_cannot_be_exported_is_refused(run: Path, tmp_path: Path, target: Target) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty"):
        export_run(run, target, tmp_path / "full")
    with pytest.raises(CheckpointError):
        export_run(tmp_path / "no_run", target, tmp_path / "out")


def test_a_trunk_that_no_other_library_has_is_written_and_said_not_to_be_compared(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", ClipConfig(embed_dim=16))
    config = yaml.safe_load((run / "config.yaml").read_text())
    own = ImageEncoderConfig(name="joimternet_reduced", pretrained="none")
    config["image_encoder"] = own.model_dump(mode="json")
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    method = small_method(ClipConfig(embed_dim=16), image=own, text=TEXT)
    write_tensors(run / "checkpoints" / "best.safetensors", method.state_dict(), {"kind": "crossray weights"})
    summary = export_run(run, "safetensors", tmp_path / "out")
    assert [one.what for one in summary.parity] == ["transformers"]
    assert "joimternet_reduced is CrossRay's own" in summary.left_out[0]
    assert "image_encoder.safetensors" in summary.files


def test_results_that_are_not_there_are_noticed_before_anything_is_written(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no results"):
        export_run(run, "safetensors", tmp_path / "out", results=tmp_path / "none")
    assert not (tmp_path / "out").exists()


def test_the_command_prints_what_it_checked(run: Path, tmp_path: Path) -> None:
    command = ["export", str(run), "--to", "safetensors", "--out", str(tmp_path / "out")]
    said = CliRunner().invoke(app, command, catch_exceptions=False)
    assert said.exit_code == 0
    assert said.stdout.count("checked: ") == 2
    assert f"over {len(TEXTS)} inputs" in said.stdout
