"""Planted defects of an installation: absent, too old, mismatched and broken packages, codecs, disk, threads."""

from __future__ import annotations

import importlib
import importlib.metadata
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pydicom.pixels.decoders.base
import pytest
import torch
from packaging.requirements import Requirement
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.doctor import installation
from crossray.doctor.finding import Finding
from crossray.doctor.installation import examine_installation
from crossray.training import accelerators


def found(subject: str) -> Finding:
    return next(finding for finding in examine_installation() if finding.subject == subject)


def versions(monkeypatch: pytest.MonkeyPatch, **planted: str) -> None:
    """Let packages have other versions; an empty one is absent."""

    def version(name: str) -> str:
        if planted.get(name) == "":
            raise importlib.metadata.PackageNotFoundError(name)
        return planted.get(name) or importlib.metadata.version(name)

    monkeypatch.setattr(installation, "version", version)


def test_this_installation_works() -> None:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0, result.output
    for looked_at in ("python", "packages", "torch", "codec gdcm", "codec pylibjpeg", "hub", "threads", "disk, here"):
        assert f"{looked_at}: " in result.output


@pytest.mark.parametrize(("planted", "said"), [("", "is absent."), ("0.1", "is 0.1, {} is needed.")])
def test_a_needed_package_that_is_absent_or_old_is_an_error(
    monkeypatch: pytest.MonkeyPatch, planted: str, said: str
) -> None:
    versions(monkeypatch, timm=planted)
    finding = next(f for f in examine_installation() if f.subject == "timm" and f.level == "error")
    needed = next(r for r in map(Requirement, importlib.metadata.requires("crossray") or ()) if r.name == "timm")
    said = said.format(needed.specifier)
    assert (finding.said, finding.remedy) == (said, f"Run pip install '{needed}'.")


def test_a_package_of_an_extra_that_is_absent_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    versions(monkeypatch, fastapi="")
    finding = found("extra serve")
    assert (finding.level, finding.said) == ("note", "fastapi is absent.")
    assert "pip install 'crossray[serve]'" in finding.remedy


def test_a_torchvision_made_for_another_torch_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    versions(monkeypatch, torch="2.6.1+cpu", torchvision="0.29.1")
    finding = next(f for f in examine_installation() if f.subject == "torch")
    assert finding.level == "error"
    assert "2.6.1+cpu with torchvision" in finding.said
    assert "--upgrade torch torchvision" in finding.remedy


def test_a_package_that_breaks_on_import_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    true_import = importlib.import_module

    def broken(name: str) -> object:
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist\nand a long story")
        return true_import(name)

    monkeypatch.setattr(importlib, "import_module", broken)
    finding = found("torchvision")
    assert finding.level == "error"
    assert finding.said.endswith("RuntimeError: operator torchvision::nms does not exist")


def test_a_missing_codec_names_what_it_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = SimpleNamespace(available_plugins=("pylibjpeg",))
    monkeypatch.setattr(pydicom.pixels.decoders.base, "get_decoder", lambda syntax: decoder)
    finding = found("codec pyjpegls")
    assert finding.level == "error"
    assert "JPEG-LS" in finding.said
    assert finding.remedy == "Run pip install pyjpegls."
    assert found("codec pylibjpeg").level == "ok"


def _accelerators(monkeypatch: pytest.MonkeyPatch, *, names: list[str], driver: bool, cuda: str | None) -> Finding:
    monkeypatch.setattr(accelerators, "accelerator_names", lambda: names)
    sign = Path(__file__) if driver else Path(__file__).with_name("no_driver")
    monkeypatch.setattr(installation, "_NVIDIA_DRIVER", (sign,))
    monkeypatch.setattr(torch.version, "cuda", cuda)
    return found("accelerators")


def test_a_gpu_that_torch_sees_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = _accelerators(monkeypatch, names=["A100"], driver=True, cuda="12.8")
    assert (finding.level, finding.said) == ("ok", "A100: used by crossray pretrain")
    without = _accelerators(monkeypatch, names=[], driver=False, cuda="12.8")
    assert (without.level, without.said) == ("ok", "no GPU: everything runs on the CPU")


@pytest.mark.parametrize(
    ("cuda", "hidden", "said", "remedy"),
    [
        (None, None, "was built without CUDA", "pip install --force-reinstall torch torchvision"),
        ("12.8", None, "sees no GPU.", "as new as CUDA 12.8"),
        ("12.8", "-1", "CUDA_VISIBLE_DEVICES is '-1'", "Unset it"),
    ],
)
def test_a_gpu_that_torch_does_not_see_is_a_note_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, cuda: str | None, hidden: str | None, said: str, remedy: str
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    finding = _accelerators(monkeypatch, names=[], driver=True, cuda=cuda)
    assert finding.level == "note"
    assert said in finding.said
    assert remedy in finding.remedy


@pytest.mark.parametrize(("free", "level"), [(1e8, "error"), (2e9, "note"), (1e12, "ok")])
def test_a_full_disk_is_told_before_it_stops_a_run(monkeypatch: pytest.MonkeyPatch, free: float, level: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    assert found("disk, here").level == level


def _old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "OLDEST_PYTHON", (99, 0))


@pytest.mark.parametrize(
    ("plant", "subject", "level"),
    [
        (lambda patch: patch.setenv("HF_HUB_OFFLINE", "1"), "hub", "note"),
        (lambda patch: patch.setenv("HF_HUB_OFFLINE", "0"), "hub", "ok"),
        (lambda patch: patch.setenv("OMP_NUM_THREADS", "4096"), "threads", "note"),
        (_old_python, "python", "error"),
    ],
)
def test_settings_of_the_machine_are_told(
    monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None], subject: str, level: str
) -> None:
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    plant(monkeypatch)
    finding = found(subject)
    assert finding.level == level
    assert bool(finding.remedy) == (level != "ok")
