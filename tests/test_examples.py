"""Every example script runs, on a small run, its store and its index; and pictures show what they were given."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from PIL import Image

from crossray import plots
from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.sources.phantom import PhantomConfig, PhantomSource
from crossray.data.study import Box
from crossray.data.template import write_template
from crossray.errors import ConfigError
from crossray.inference.search.build import build_index
from crossray.methods.global_local import GlobalLocalConfig
from tests.documents import ROOT
from tests.inference.test_joint_model import write_run

SCRIPTS = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``run`` (untrained), ``store``, ``index`` and ``template`` with films."""
    folder = tmp_path_factory.mktemp("examples")
    write_run(folder / "run", GlobalLocalConfig())
    prepare_store(PhantomSource(PhantomConfig(count=40, size=64)), folder / "store", PrepareConfig(size=64), workers=1)
    build_index(folder / "run", folder / "store", folder / "index")
    write_template(folder / "template")
    return folder


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def size_of(picture: Path) -> tuple[int, int]:
    with Image.open(picture) as opened:
        return opened.size


def test_embed_prints_the_cosines_of_all_pairs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    films = sorted((folder / "template" / "films").glob("*.png"))
    script("embed").main(folder / "run", films)
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("4 vectors of width ")
    cosines = np.array([[float(value) for value in line.split()[1:]] for line in lines])
    np.testing.assert_allclose(np.diag(cosines), 1, atol=1e-3)
    np.testing.assert_array_equal(cosines, cosines.T)


def test_ground_prints_the_strongest_place_and_draws_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = next((folder / "template" / "films").glob("*.png"))
    script("ground").main(folder / "run", film, "right pleural effusion", tmp_path / "g.png")
    width, height = size_of(film)
    assert f" of {width} x {height}" in capsys.readouterr().out
    assert min(size_of(tmp_path / "g.png")) > 300


def test_search_prints_and_draws_the_nearest_films(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script("search").main(folder / "index", folder / "store", "large effusion", 3, tmp_path / "s.png")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("+", "-"))]
    scores = [float(line.split()[0]) for line in lines]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert min(size_of(tmp_path / "s.png")) > 300


def test_zero_shot_prints_the_highest_scores_and_draws_their_reliability(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script("zero_shot").main(folder / "run", folder / "store", out=tmp_path / "z.png")
    scores = [float(line.split("score ")[1].split(",")[0]) for line in capsys.readouterr().out.splitlines()]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    assert min(size_of(tmp_path / "z.png")) > 300


def test_every_script_has_its_test_and_its_line_in_the_readme() -> None:
    names = {path.stem for path in SCRIPTS}
    assert names == {"embed", "ground", "search", "zero_shot"}
    readme = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert {name for name in names if f"python examples/{name}.py " in readme} == names


def test_grounding_colours_the_strongest_place_and_outlines_the_truth() -> None:
    film, heat = np.full((40, 30), 100, np.uint8), np.zeros((40, 30), np.float32)
    heat[30, 20] = 1.0
    figure = plots.plot_grounding(film, heat, "left effusion", [Box("Effusion", 18, 28, 24, 34)])
    plain, mapped = figure.axes
    np.testing.assert_array_equal(np.asarray(plain.images[0].get_array()), film)
    shown = np.asarray(mapped.images[0].get_array())
    assert shown.shape == (40, 30, 3)
    assert np.ptp(shown[0, 0]) == 0, "the weakest place is left grey"
    assert shown[30, 20, 0] > shown[30, 20, 2] + 50, "the strongest is orange"
    (outline,) = mapped.patches
    assert isinstance(outline, Rectangle)
    assert outline.get_bbox().extents == pytest.approx([17.5, 27.5, 23.5, 33.5])
    assert mapped.get_title(loc="left") == "“left effusion”"


def test_a_query_film_stands_before_what_was_found_and_a_sentence_above_it() -> None:
    films = [np.full((20, 20), value, np.uint8) for value in (10, 200)]
    by_film = plots.plot_retrieval(films[0], films, [0.9, -0.25], ["clear lungs", "effusion"])
    assert [axes.get_title(loc="left") for axes in by_film.axes] == ["query", "1: +0.900", "2: -0.250"]
    assert [[text.get_text() for text in axes.texts] for axes in by_film.axes] == [[], ["clear lungs"], ["effusion"]]
    by_words = plots.plot_retrieval("effusion", films, [0.9, -0.25])
    assert len(by_words.axes) == 2
    assert by_words.get_suptitle() == "“effusion”"


def test_reliability_is_the_diagonal_where_probabilities_are_true() -> None:
    said = np.repeat([0.25, 0.75], 400)
    truth = np.concatenate([np.arange(400) % 4 == 0, np.arange(400) % 4 != 0]).astype(float)
    truth[:4] = np.nan
    upper, lower = plots.plot_reliability(said, truth, "Edema").axes
    for values in upper.lines[1].get_data():
        np.testing.assert_allclose(np.asarray(values, dtype=float), [0.25, 0.75], atol=1e-9)
    assert upper.get_title(loc="left") == "Edema (ECE 0.000)"
    assert [bar.get_height() for bar in lower.patches if isinstance(bar, Rectangle)] == [396, 400]


def test_what_cannot_be_drawn_is_refused_with_the_reason() -> None:
    film = np.zeros((20, 20), np.uint8)
    with pytest.raises(ConfigError, match=r"the map is \(4, 4\), the film \(20, 20\)"):
        plots.plot_grounding(film, np.zeros((4, 4)), "edema")
    with pytest.raises(ConfigError, match="2 films, 1 scores"):
        plots.plot_retrieval("edema", [film, film], [0.1])
    with pytest.raises(ConfigError, match="not between 0 and 1"):
        plots.plot_reliability([1.5, 0.2], [1, 0])
    with pytest.raises(ConfigError, match="0 known labels"):
        plots.plot_reliability([0.5], [np.nan])
