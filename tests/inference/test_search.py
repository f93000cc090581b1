"""Search: exact order, upkeep of an index, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.sources.phantom import PhantomConfig, PhantomSource
from crossray.data.store import Store
from crossray.errors import ConfigError, CrossRayError, DataError, StudyError
from crossray.inference.embed import unit
from crossray.inference.joint_model import JointModel
from crossray.inference.search.build import build_index
from crossray.inference.search.index import SearchIndex
from crossray.inference.search.manifest import MANIFEST_FILE
from crossray.inference.search.query import Query, search_for
from crossray.methods.global_local import GlobalLocalConfig
from crossray.methods.simclr import SimClrConfig
from crossray.settings import build_settings

from .test_joint_model import write_run

SIZE = 64


def make_store(folder: Path, count: int, first: int = 0) -> Path:
    source = PhantomSource(PhantomConfig(count=count, first=first, size=SIZE))
    prepare_store(source, folder, build_settings(PrepareConfig, {"size": SIZE}), workers=1)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``run``, ``store`` of 24 studies, ``grown`` with 30, and ``index`` of the first store."""
    folder = tmp_path_factory.mktemp("search")
    write_run(folder / "run", GlobalLocalConfig())
    make_store(folder / "store", 24)
    make_store(folder / "grown", 30)
    summary = build_index(folder / "run", folder / "store", folder / "index")
    assert summary.embedded == {"films": 24, "reports": 24}
    return folder


def test_films_come_in_the_order_of_their_cosines(made: Path) -> None:
    store, model = Store.open(made / "store"), JointModel.load(made / "run")
    index = SearchIndex.open(made / "index", store_hash=store.hash)
    rows = list(range(store.film_count))
    films = unit(model.embed_images(store.pixels(rows)).pooled.numpy())
    queries = unit(model.embed_texts(["Small right pleural effusion.", "The heart is enlarged."]).report.numpy())
    for query, hits in zip(queries, index.search(7 * queries, k=24), strict=True):
        cosines = films @ query
        order = np.argsort(-cosines, kind="stable")
        np.testing.assert_allclose([hit.score for hit in hits], cosines[order], atol=1e-6)
        assert [hit.film_id for hit in hits] == [store.film(rows[row]).film_id for row in order]
        assert {hit.view for hit in hits} == {"frontal"}


def test_a_film_finds_itself_first_and_a_report_its_study(made: Path, tmp_path: Path) -> None:
    store = Store.open(made / "store")
    Image.fromarray(store.pixels([5])[0]).save(tmp_path / "film.png")
    found = search_for(made / "index", Query(image=tmp_path / "film.png", k=3))
    assert len(found) == 3
    assert found[0].hit.film_id == store.film(5).film_id
    assert found[0].hit.score == pytest.approx(1.0, abs=1e-5)
    study = store.film(5).study_index
    assert found[0].report == store.report(study).text

    report = store.report(study).text
    nearest = search_for(made / "index", Query(text=report, side="reports", k=1))[0]
    assert nearest.hit.score > 0.9
    assert nearest.hit.film_id is None


def test_a_store_that_has_grown_costs_what_is_new(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    build_index(made / "run", made / "store", out)
    again = build_index(made / "run", made / "grown", out)
    assert again.embedded == {"films": 6, "reports": 6}
    whole = build_index(made / "run", made / "grown", tmp_path / "whole")
    queries = np.random.default_rng(0).normal(size=(3, again.manifest.dimension)).astype(np.float32)
    for side in ("films", "reports"):
        kept, fresh = (SearchIndex.open(folder).search(queries, 30, side) for folder in (out, tmp_path / "whole"))
        assert [[hit.study_id for hit in hits] for hits in kept] == [[hit.study_id for hit in hits] for hits in fresh]
    assert len(list(out.glob("*.faiss"))) == len(list(out.glob("*.parquet"))) == 2
    assert whole.embedded == {"films": 30, "reports": 30}
    assert build_index(made / "run", made / "grown", out).embedded == {"films": 0, "reports": 0}


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_an_approximate_index_finds_most(made: Path, tmp_path: Path, kind: Literal["ivf", "hnsw"]) -> None:
    build_index(made / "run", made / "grown", tmp_path / kind, kind=kind)
    index = SearchIndex.open(tmp_path / kind)
    assert index.manifest.kind == kind
    exact = build_index(made / "run", made / "grown", tmp_path / "exact", kind="exact").manifest
    queries = np.random.default_rng(1).normal(size=(20, exact.dimension)).astype(np.float32)
    own, wanted = (SearchIndex.open(folder).nearest(queries, 3)[1] for folder in (tmp_path / kind, tmp_path / "exact"))
    found = np.mean([len(set(a) & set(b)) / 3 for a, b in zip(own.tolist(), wanted.tolist(), strict=True)])
    assert found > 0.9
    # Brought up to date it keeps its vectors, whatever the kind.
    assert build_index(made / "run", made / "grown", tmp_path / kind, kind=kind).embedded == {"films": 0, "reports": 0}


def test_a_method_without_reports_finds_films_by_films_only(made: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "run", SimClrConfig())
    summary = build_index(tmp_path / "run", made / "store", tmp_path / "index")
    assert summary.manifest.reports == 0
    with pytest.raises(ConfigError, match="reads no text"):
        search_for(tmp_path / "index", Query(text="effusion"))
    Image.fromarray(Store.open(made / "store").pixels([2])[0]).save(tmp_path / "film.png")
    assert search_for(tmp_path / "index", Query(image=tmp_path / "film.png", k=1))[0].hit.score > 0.999
    with pytest.raises(ConfigError, match="holds no reports"):
        search_for(tmp_path / "index", Query(image=tmp_path / "film.png", side="reports"))


def test_what_does_not_belong_together_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="made from a store of hash"):
        search_for(made / "index", Query(text="effusion"), store=made / "grown")
    other = write_run(tmp_path / "run", SimClrConfig())
    with pytest.raises(ConfigError, match="was made with weights"):
        search_for(made / "index", Query(text="effusion"), run=other)
    with pytest.raises(ConfigError, match="either a text or a film"):
        search_for(made / "index", Query())
    with pytest.raises(ConfigError, match="is empty"):
        search_for(made / "index", Query(text="  "))
    (tmp_path / "film.png").write_bytes(b"no film")
    with pytest.raises(StudyError, match=r"film\.png"):
        search_for(made / "index", Query(image=tmp_path / "film.png"))
    index = SearchIndex.open(made / "index")
    with pytest.raises(ConfigError, match="must be finite"):
        index.search(np.full((1, index.manifest.dimension), np.nan, dtype=np.float32))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    with pytest.raises(DataError, match=r"holds no index, but 'letter\.txt'"):
        build_index(made / "run", made / "store", tmp_path / "full")
    assert (tmp_path / "full" / "letter.txt").read_text() == "mine"


@pytest.mark.parametrize("damage", ["cut", "flip", "remove", "manifest", "version"])
def test_a_damaged_index_is_named_and_built_anew(made: Path, tmp_path: Path, damage: str) -> None:
    out = tmp_path / "index"
    build_index(made / "run", made / "store", out)
    vectors = next(out.glob("films-*.faiss"))
    content = vectors.read_bytes()
    if damage == "cut":
        vectors.write_bytes(content[:-5])
    elif damage == "flip":
        vectors.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    elif damage == "remove":
        vectors.unlink()
    else:
        manifest = json.loads((out / MANIFEST_FILE).read_text())
        manifest |= {"format_version": 99} if damage == "version" else {"films": "many"}
        (out / MANIFEST_FILE).write_text(json.dumps(manifest))
    with pytest.raises(DataError) as caught:
        SearchIndex.open(out)
    assert "Make it again" in caught.value.message
    if damage in ("cut", "flip", "remove"):
        assert vectors.name in caught.value.message
    assert build_index(made / "run", made / "store", out).embedded == {"films": 24, "reports": 24}
    assert SearchIndex.open(out).manifest.films == 24


def test_what_a_killed_build_left_is_built_upon(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    shutil.copytree(made / "index", out)
    (out / MANIFEST_FILE).rename(out / ".index.json.123.tmp")  # killed before its last rename
    build_index(made / "run", made / "store", out)
    own, whole = ({path.name: path.read_bytes() for path in f.glob("*-*")} for f in (out, made / "index"))
    assert own == whole
    assert not list(out.glob(".*"))


def test_the_commands_build_and_answer(made: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    words = ["index", "build", str(made / "run"), str(made / "store"), "--out", str(tmp_path / "index")]
    built = runner.invoke(app, words, catch_exceptions=False)
    assert built.exit_code == 0
    assert "24 films, 24 of them embedded now" in built.stdout
    asked = ["search", str(tmp_path / "index"), "--text", "small left effusion", "-k", "2"]
    shown = runner.invoke(app, asked, catch_exceptions=False).stdout
    assert shown.count("study ") == 2
    found = json.loads(runner.invoke(app, [*asked, "--json"], catch_exceptions=False).stdout)
    assert [hit["study_id"] in shown for hit in found] == [True, True]
    assert all(hit["report"] for hit in found)
    with pytest.raises(CrossRayError):
        runner.invoke(app, ["search", str(tmp_path / "nothing"), "--text", "x"], catch_exceptions=False)
