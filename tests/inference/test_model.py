"""``crossray.load``: films and sentences in, arrays out, places on the film's own pixels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import crossray
from crossray.data.augment import evaluation_window
from crossray.data.geometry import prepare_film
from crossray.errors import ConfigError, StudyError
from crossray.inference.joint_model import JointModel
from crossray.inference.model import Model, PromptPair
from crossray.methods.global_local import GlobalLocalConfig
from crossray.methods.simclr import SimClrConfig

from .test_joint_model import write_run

TEXTS = ["Small right pleural effusion.", "The lungs are clear.", "No pleural effusion or pneumothorax."]


def film(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    small = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
    return np.array(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("model") / "run", GlobalLocalConfig())


@pytest.fixture(scope="module")
def model(run: Path) -> Model:
    return crossray.load(run)


def test_importing_and_naming_load_costs_nothing() -> None:
    code = "import sys, crossray; crossray.load; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_files_and_arrays_of_any_size_give_the_vectors_of_prepared_films(
    model: Model, run: Path, tmp_path: Path
) -> None:
    films = [film(90, 70), film(64, 200, 1), film(64, 64, 2)]
    Image.fromarray(films[1]).save(tmp_path / "film.png")
    found = model.embed_images([films[0], tmp_path / "film.png", films[2]])
    prepared = np.stack([prepare_film(one, model.prepared_size)[0] for one in films])
    wanted = JointModel.load(run).embed_images(prepared).pooled.numpy()
    np.testing.assert_allclose(found, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), atol=1e-5)


def test_similarities_are_cosines_and_classes_differences_of_their_means(model: Model) -> None:
    films = [film(64, 64, seed) for seed in range(3)]
    cosines = model.similarity(films, TEXTS)
    assert cosines.shape == (3, 3)
    assert (np.abs(cosines) <= 1 + 1e-5).all()
    scores = model.classify(films, {"Effusion": PromptPair(TEXTS[:1], TEXTS[1:]), "Clear": [TEXTS[1]]})
    np.testing.assert_allclose(scores["Effusion"], cosines[:, 0] - cosines[:, 1:].mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(scores["Clear"], cosines[:, 1], atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (200, 120), (90, 300), (1000, 820), (130, 131)])
def test_a_phrase_points_at_the_films_own_pixels(
    model: Model, monkeypatch: pytest.MonkeyPatch, height: int, width: int
) -> None:
    import torch

    row, column = 1, 2
    exact = torch.zeros(1, 4, 4)
    exact[0, row, column] = 1.0
    monkeypatch.setattr(model.joint, "phrase_map", lambda *arguments: exact)
    pixels = film(height, width)
    heat = model.ground(pixels, TEXTS[0])
    assert heat.shape == (height, width)
    _, geometry = prepare_film(pixels, model.prepared_size)
    box = geometry.region_box(row, column, (4, 4), evaluation_window(model.prepared_size, model.joint.image_config))
    y, x = np.unravel_index(int(heat.argmax()), heat.shape)
    assert box.x_min - 1 <= x <= box.x_max + 1
    assert box.y_min - 1 <= y <= box.y_max + 1


def test_the_map_of_a_phrase_is_the_methods_own(model: Model) -> None:
    pixels = film(64, 64)
    heat = model.ground(pixels, TEXTS[0])
    own = model.joint.phrase_map(model.joint.embed_images(pixels[None]), [TEXTS[0]], [0])[0].numpy()
    centres = heat[8::16, 8::16]
    np.testing.assert_allclose(centres, own, atol=0.1 * float(np.ptp(own)) + 1e-6)


def test_encoders_are_plain_modules_and_results_repeat(model: Model) -> None:
    import torch

    with torch.no_grad():
        assert model.image_encoder(torch.zeros(1, 1, 64, 64)).pooled.ndim == 2
    assert sum(p.numel() for p in model.text_encoder.parameters()) > 0
    np.testing.assert_array_equal(model.embed_texts(TEXTS), model.embed_texts(TEXTS))


def test_what_cannot_be_answered_is_refused(model: Model, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no film"):
        model.embed_images([])
    with pytest.raises(ConfigError, match="must be a list"):
        model.embed_images("film.png")
    with pytest.raises(StudyError, match=r"missing\.dcm"):
        model.embed_images([tmp_path / "missing.dcm"])
    with pytest.raises(ConfigError, match="class 'Edema' has no list of sentences"):
        model.classify([film(64, 64)], {"Edema": "Edema is present."})
    silent = crossray.load(write_run(tmp_path / "run", SimClrConfig()))
    with pytest.raises(ConfigError, match="simclr reads no reports"):
        silent.embed_texts(TEXTS)
    with pytest.raises(ConfigError):
        silent.ground(film(64, 64), TEXTS[0])
