"""Which code, libraries and day: what numbers and runs say of how they were made."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Set
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.resources.abc import Traversable

import crossray

_LIBRARIES = ("crossray", "torch", "torchvision", "timm", "transformers", "scikit-learn", "numpy", "scipy")


def versions() -> dict[str, str]:
    """Versions of Python, the machine's platform and the libraries that numbers depend on."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def now() -> str:
    """The time in UTC, to the second.

    ``SOURCE_DATE_EPOCH`` (seconds since 1970, https://reproducible-builds.org/specs/source-date-epoch/) takes its
    place, for files that are to be the same to the byte on another day.
    """
    written = os.environ.get("SOURCE_DATE_EPOCH", "")
    moment = datetime.fromtimestamp(int(written), UTC) if written.isdecimal() else datetime.now(UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def code_version(folder: Traversable, passed_over: Set[str]) -> str:
    """Version of crossray and a hash over the Python and YAML files below a folder, without some names."""
    digest = hashlib.sha256()
    _add(folder, passed_over, digest)
    return f"{crossray.__version__}+{digest.hexdigest()[:16]}"


def _add(folder: Traversable, passed_over: Set[str], digest: hashlib._Hash) -> None:
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        if entry.name in passed_over or entry.name == "__pycache__":
            continue
        if entry.is_dir():
            _add(entry, passed_over, digest)
        elif entry.name.endswith((".py", ".yaml")):
            digest.update(f"{entry.name}\n".encode())
            digest.update(entry.read_bytes())
