"""The documents as a site: built without a warning, every page reachable, nothing fetched from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    # Strict: a page that is not in the navigation, a dead link or anchor, a name that the API pages ask for and that
    # is gone.
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_every_document_is_a_page(site: Path) -> None:
    pages = {page.relative_to(site).with_suffix("") for page in site.rglob("*.html")} - {Path("404")}
    written = [page.relative_to(ROOT / "docs") for page in (ROOT / "docs").rglob("*.md")]
    documents = {page.with_suffix("") for page in written if page.parts[0] != "results"}
    assert pages == {page.parent / "index" if page.name == "README" else page for page in documents}


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    loads = re.compile(r"""<(?:script|img|iframe)[^>]*\ssrc=["']?(https?:)?//|<link[^>]*href=["']?(https?:)?//""")
    assert [page.name for page in site.rglob("*.html") if loads.search(page.read_text(encoding="utf-8"))] == []


def test_the_api_pages_show_signatures_and_no_markup_of_other_tools(site: Path) -> None:
    model = (site / "api" / "model.html").read_text(encoding="utf-8")
    assert 'id="crossray.inference.model.Model.embed_images"' in model
    for page in (site / "api").glob("*.html"):
        assert re.search(r":(?:func|class|meth|mod|attr):", page.read_text(encoding="utf-8")) is None, page.name


def test_equations_are_drawn_and_none_is_left_as_latex(site: Path) -> None:
    page = (site / "methods" / "global_local.html").read_text(encoding="utf-8")
    assert page.count('<svg role="img" aria-label="') > 10
    for card in (site / "methods").glob("*.html"):
        told = re.sub(r'aria-label="[^"]*"|<code>.*?</code>', "", card.read_text(encoding="utf-8"))
        assert re.search(r"\\(?:mathrm|frac|gamma|sum)|equation(?:inline|shown)x|\$\$", told) is None, card.name


def test_data_flows_are_arrows_and_none_is_left_as_its_source(site: Path) -> None:
    page = (site / "methods" / "clip.html").read_text(encoding="utf-8")
    for flow in (
        "film → trunk → linear head → v",
        "v → <strong>image_to_text, text_to_image</strong>",
        "log_scale → <",
    ):
        assert f"<li>{flow}" in page
    assert [card.name for card in (site / "methods").glob("*.html") if "flowchart" in card.read_text("utf-8")] == []


def test_pictures_of_the_results_are_on_the_site_and_their_files_are_not(site: Path) -> None:
    kinds = {file.suffix for file in (site / "results").rglob("*") if file.is_file()}
    assert kinds == {".png"}


def test_intervals_of_tables_are_not_parted(site: Path) -> None:
    cells = re.findall(r"<td[^>]*>(.*?)</td>", (site / "methods" / "clip.html").read_text(encoding="utf-8"))
    assert "0.891 [0.848,&nbsp;0.928]" in cells
    assert [cell for cell in cells if re.search(r"\[[\d.]+, [\d.]+\]", cell)] == []
