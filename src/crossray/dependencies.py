"""What CrossRay stands on, as installed here: the closure of its requirements, their licences, a bill of materials."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_ROOT = "crossray"
_LONGEST_LICENCE_NAME = 80  # characters; longer ones are the licence itself


@dataclass(frozen=True)
class Component:
    """A distribution: its canonical name, version, declared licence (``""`` if none), and what it requires of these."""

    name: str
    version: str
    licence: str
    requires: tuple[str, ...]


def installed_closure(extras: Sequence[str] = ()) -> list[Component]:
    """Every installed distribution that ``crossray[extras]`` requires, directly or not, itself first, then by name.

    Requirements whose marker does not hold here (another system, another Python, an extra) are passed over, and so is
    what is not installed.
    """
    found: dict[str, Component] = {}
    waiting = [(_ROOT, tuple(extras))]
    seen: set[tuple[str, tuple[str, ...]]] = set()
    while waiting:
        entry = waiting.pop()
        if entry in seen:
            continue
        seen.add(entry)
        try:
            installed = distribution(entry[0])
        except PackageNotFoundError:
            continue
        required = list(_requirements(installed, entry[1]))
        waiting += [(canonicalize_name(item.name), tuple(sorted(item.extras))) for item in required]
        earlier = found[entry[0]].requires if entry[0] in found else ()
        names = sorted({*earlier, *(canonicalize_name(item.name) for item in required)})
        found[entry[0]] = Component(entry[0], installed.version, declared_licence(installed), tuple(names))
    present = [found.pop(_ROOT), *(found[name] for name in sorted(found))]
    known = {component.name for component in present}
    return [Component(c.name, c.version, c.licence, tuple(n for n in c.requires if n in known)) for c in present]


def declared_licence(installed: Distribution) -> str:
    """The licence that a distribution's metadata declares: its SPDX expression, its classifiers, or a short name."""
    metadata = installed.metadata.json
    if expression := metadata.get("license_expression"):
        return str(expression)
    classified = [
        name.rpartition("::")[2].strip() for name in metadata.get("classifier", ()) if name.startswith("License")
    ]
    named = [name for name in classified if name not in ("OSI Approved", "Other/Proprietary License")]
    if named:
        return " AND ".join(named)
    lines = str(metadata.get("license", "")).strip().splitlines()
    first = lines[0].strip() if lines else ""
    return first if first != "UNKNOWN" and len(first) <= _LONGEST_LICENCE_NAME else ""


def bill_of_materials(extras: Sequence[str] = ()) -> dict[str, Any]:
    """A software bill of materials of :func:`installed_closure` in CycloneDX 1.5 JSON."""
    root, *others = installed_closure(extras)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
            "component": _entry(root, "application"),
        },
        "components": [_entry(component, "library") for component in others],
        "dependencies": [
            {"ref": _reference(component), "dependsOn": [_reference(item) for item in _of(component, [root, *others])]}
            for component in [root, *others]
        ],
    }


def _requirements(installed: Distribution, extras: Sequence[str]) -> Iterator[Requirement]:
    for written in installed.requires or ():
        requirement = Requirement(written)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def _of(component: Component, everything: Sequence[Component]) -> list[Component]:
    return [other for other in everything if other.name in component.requires]


def _reference(component: Component) -> str:
    return f"pkg:pypi/{component.name}@{component.version}"


def _entry(component: Component, kind: str) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": kind,
        "bom-ref": _reference(component),
        "name": component.name,
        "version": component.version,
        "purl": _reference(component),
    }
    if component.licence:
        spdx = re.fullmatch(r"[A-Za-z0-9.+-]+", component.licence) is not None and "-" in component.licence
        entry["licenses"] = [{"expression": component.licence}] if spdx else [{"license": {"name": component.licence}}]
    return entry
