"""Print a constraints file of the oldest releases that ``pyproject.toml`` admits, to try the tests on them.

python -m benchmarks.lowest_versions > lowest.txt
python3.11 -m venv old && old/bin/pip install -c lowest.txt -e '.[dev]'
old/bin/python -m pytest -m 'not slow'
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def requirements(project: Mapping[str, Any]) -> Iterator[Requirement]:
    """What is asked for to run, and by every extra."""
    yield from map(Requirement, project["project"]["dependencies"])
    for extra in project["project"]["optional-dependencies"].values():
        yield from map(Requirement, extra)


def lower_bounds(asked: Iterator[Requirement]) -> dict[str, Version]:
    """The least release of each distribution, by canonical name; of several bounds the highest.

    What has no lower bound is left out.
    """
    found: dict[str, Version] = {}
    for requirement in asked:
        name = canonicalize_name(requirement.name)
        for specifier in requirement.specifier:
            if specifier.operator in (">=", "=="):
                bound = Version(specifier.version)
                found[name] = max(bound, found.get(name, bound))
    return dict(sorted(found.items()))


def main() -> None:
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))
    for name, version in lower_bounds(requirements(project)).items():
        print(f"{name}=={version}")


if __name__ == "__main__":
    main()
