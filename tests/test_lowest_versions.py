"""The constraints by which the tests are tried on the oldest releases that are admitted."""

from __future__ import annotations

import tomllib

import pytest
from benchmarks.lowest_versions import PROJECT, lower_bounds, main, requirements
from packaging.requirements import Requirement
from packaging.version import Version


def test_a_bound_is_found_whatever_stands_beside_it() -> None:
    asked = map(Requirement, ["A_b[x]>=1.2,<3", "a-b>=1.10; python_version>='3.11'", "c==4", "d<5", "e", "f !=1, >= 0"])
    assert {name: str(version) for name, version in lower_bounds(asked).items()} == {"a-b": "1.10", "c": "4", "f": "0"}


def test_what_is_printed_is_admitted_by_the_project_and_leaves_out_nothing_but_typing_stubs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main()
    lines = capsys.readouterr().out.splitlines()
    printed = {name: Version(version) for name, version in (line.split("==") for line in lines)}
    asked = list(requirements(tomllib.loads(PROJECT.read_text(encoding="utf-8"))))
    names = {requirement.name.lower() for requirement in asked}
    assert {"torch", "fastapi", "onnx", "mkdocs", "pytest"} <= printed.keys()
    assert {name for name in names - printed.keys() if not name.startswith("types-")} == set()
    for requirement in asked:
        if requirement.name in printed:
            assert printed[requirement.name] in requirement.specifier
