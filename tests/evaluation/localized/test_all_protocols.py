"""All localized protocols run end to end on layout twins, each suite by one command."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.evaluation.localized.shipped import read_protocol, suites
from crossray.evaluation.localized.table import LocalizedResults, read_localized

SOURCES = ("rsna_pneumonia", "covid_rural", "siim_acr", "object_cxr", "nih_cxr14", "chexpert", "vindr_cxr")
QUICK = ("--set", "size=64", "--set", "unet_width=64", "--epochs", "2", "--seeds", "2", "--draws", "50")


def command(*words: str | Path) -> str:
    result = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of stores that are named by their source, and Object-CXR's with the defects of LoVT's release."""
    home = tmp_path_factory.mktemp("twins")
    made = [(source, source, ()) for source in SOURCES] + [("object_cxr", "object_cxr_legacy", ("legacy=true",))]
    for source, name, options in made:
        if not (home / "twins" / source).exists():
            command("data", "twin", source, "--out", home / "twins" / source, "--count", "30", "--size", "64")
        settings = [word for option in ("expected_counts=twin", *options) for word in ("--set", option)]
        place = ("--out", home / "stores" / name, "--size", "64", "--workers", "1")
        command("data", "prepare", source, home / "twins" / source, *place, *settings)
    return home / "stores"


def run_suite(suite: str, stores: Path, trunk: str, *more: str) -> LocalizedResults:
    out = stores.parent / f"{suite}-{len(more)}"
    command("localized", "--suite", suite, "--data", stores, "--out", out, "--trunk", trunk, *QUICK, *more)
    return read_localized(out)


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["localized18", "prior5", "benchx"])
def test_every_protocol_of_a_suite_runs_end_to_end_on_twins(suite: str, stores: Path) -> None:
    results = run_suite(suite, stores, "random:test_resnet")
    assert list(dict.fromkeys(row.protocol for row in results.rows)) == list(suites()[suite].protocols)
    assert not results.provenance.skipped
    page = (stores.parent / f"{suite}-0" / "report.html").read_text(encoding="utf-8")
    assert all(f'<section id="{name}">' in page for name in suites()[suite].protocols)
    for name in suites()[suite].protocols:
        protocol, row = read_protocol(name), results.headline(name)
        seeds = "42, 0" if suite == "benchx" else "1, 2"
        assert (row.source, row.preset, row.runs, row.seeds) == (protocol.source, "clean", 2, seeds)
        assert row.learning_rate in protocol.learning_rates
        assert row.value is not None
        assert row.half_width is not None


@pytest.mark.slow
def test_the_legacy_preset_of_every_protocol_runs_on_twins(stores: Path) -> None:
    results = run_suite("localized18", stores, "random:test_resnet", "--preset", "legacy")
    assert {row.preset for row in results.rows} == {"legacy"}
    assert {row.protocol for row in results.rows} == set(suites()["localized18"].protocols)
    clean = run_suite("object_frozen_100", stores, "random:test_resnet").headline("object_frozen_100")
    assert clean.store_hash != results.headline("object_frozen_100").store_hash


@pytest.mark.slow
@pytest.mark.parametrize(
    "protocol",
    [
        "rsna_frozen_100",
        "rsna_seg_linear_100",
        "covid_unet_frozen",
        "prior_siim_segmentation",
        "prior_siim_classification",
    ],
)
def test_a_plain_vit_goes_through_every_head(protocol: str, stores: Path) -> None:
    row = run_suite(protocol, stores, "random:test_vit", "--seeds", "1").headline(protocol)
    assert (row.model, row.runs) == ("test_vit (random)", 1)
    assert row.value is not None
