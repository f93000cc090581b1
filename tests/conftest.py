"""Fixtures for every room's tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def pseudonym_key() -> Iterator[None]:
    """A key of the tests' own, so that none is made in the home of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CROSSRAY_PSEUDONYM_KEY", "the key of the tests, known to everybody")
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the small real sets; the test is skipped where it is absent.

    It stands beside the repository (``../shared/data``), or where ``CROSSRAY_REAL_DATA`` says. Nothing in it
    may be copied into the repository.
    """
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("CROSSRAY_REAL_DATA", default))
    if not (folder / "README.md").is_file():
        pytest.skip(f"the small real sets are not at {folder}: set CROSSRAY_REAL_DATA to run this test")
    return folder
