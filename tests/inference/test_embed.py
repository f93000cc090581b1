"""Vectors as files: of a store, of films, of texts; the same film has the same vector wherever it comes from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.data.store import Store
from crossray.errors import ConfigError, StudyError
from crossray.inference.embed import embed_films, embed_texts
from crossray.inference.joint_model import JointModel
from crossray.inference.run_files import prepared_size_of
from crossray.methods.clip import ClipConfig
from crossray.methods.simclr import SimClrConfig

from .test_joint_model import write_run
from .test_search import make_store


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``run``, ``store`` and the store's films as ``0.png``, ``1.png``, ..."""
    folder = tmp_path_factory.mktemp("embed")
    write_run(folder / "run", ClipConfig(embed_dim=16))
    store = Store.open(make_store(folder / "store", 5))
    for row, pixels in enumerate(store.pixels(range(5))):
        Image.fromarray(pixels).save(folder / f"{row}.png")
    return folder


def test_a_film_has_one_vector_as_a_file_and_in_a_store(made: Path) -> None:
    stored = embed_films(made / "run", [made / "store"])
    files = [made / f"{row}.png" for row in range(5)]
    told: list[tuple[int, int]] = []
    alone = embed_films(made / "run", files, progress=lambda done, of: told.append((done, of)))
    assert told == [(5, 5)]
    assert alone.names == tuple(map(str, files))
    store = Store.open(made / "store")
    assert stored.names == tuple(store.film(row).film_id for row in range(5))
    np.testing.assert_allclose(alone.vectors, stored.vectors, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(stored.vectors, axis=1), 1, atol=1e-6)


def test_products_are_the_models_scores(made: Path) -> None:
    model, store = JointModel.load(made / "run"), Store.open(made / "store")
    texts = ["Small right pleural effusion.", "The lungs are clear."]
    scores = model.similarity(model.embed_images(store.pixels(range(5))), model.embed_texts(texts)).global_scores
    films, words = embed_films(made / "run", [made / "store"]), embed_texts(made / "run", texts)
    np.testing.assert_allclose(films.vectors @ words.vectors.T, scores.numpy(), atol=1e-5)


def test_trunk_features_are_those_of_the_probe(made: Path) -> None:
    wanted = JointModel.load(made / "run").image_features(Store.open(made / "store").pixels(range(5)))
    found = embed_films(made / "run", [made / "store"], space="trunk")
    np.testing.assert_allclose(found.vectors, wanted.numpy(), atol=1e-5)


def test_the_command_writes_names_and_vectors(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "some" / "films.npz"
    command = ["embed", str(made / "run"), str(made / "0.png"), str(made / "3.png"), "--out", str(out)]
    said = CliRunner().invoke(app, command, catch_exceptions=False)
    assert said.exit_code == 0
    with np.load(out, allow_pickle=False) as file:
        assert file["names"].tolist() == [str(made / "0.png"), str(made / "3.png")]
        wanted = embed_films(made / "run", [made / "store"]).vectors[[0, 3]]
        np.testing.assert_allclose(file["vectors"], wanted, atol=1e-5)
    with pytest.raises(ConfigError, match="either films or --text"):
        CliRunner().invoke(app, ["embed", str(made / "run"), "--out", str(out)], catch_exceptions=False)


def test_what_cannot_be_embedded_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no film was named"):
        embed_films(made / "run", [])
    (tmp_path / "letter.png").write_text("a letter")
    with pytest.raises(StudyError, match=r"letter\.png"):
        embed_films(made / "run", [made / "0.png", tmp_path / "letter.png"])
    write_run(tmp_path / "films_only", SimClrConfig())
    with pytest.raises(ConfigError, match="reads no text"):
        embed_texts(tmp_path / "films_only", ["effusion"])


def test_a_run_says_at_which_size_its_films_were_prepared(made: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", ClipConfig(embed_dim=16))
    assert prepared_size_of(run) == 64  # the side of its crop, where the manifest says nothing
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "prepared_size": 80}))
    assert prepared_size_of(run) == 80
