"""A small run, an index and a server, made once for the tests of the viewer."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the viewer's dependencies are not installed: pip install 'crossray[serve]'")

from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.sources.phantom import PhantomConfig, PhantomSource
from crossray.evaluation.prompts import load_prompts
from crossray.inference.calibration import FindingCalibration, Scaling, prompts_hash
from crossray.inference.search.build import build_index
from crossray.methods.clip import ClipConfig
from crossray.methods.global_local import GlobalLocalConfig
from crossray.serve.app import Desk, build_app
from crossray.serve.engine import LoadedRun, Neighbours
from crossray.serve.limits import Limits
from crossray.settings import build_settings
from tests.inference.calibrations import write_calibration
from tests.inference.test_joint_model import write_run


def png_of(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def png(height: int = 90, width: int = 70, seed: int = 0) -> bytes:
    small = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8))
    return png_of(np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)))


def lines() -> dict[str, FindingCalibration]:
    """Two findings that are calibrated, and one that is too rare."""
    bank = load_prompts().classes
    found = {}
    for name, positives, scaling in (
        ("Edema", 30, Scaling(20.0, -1.0)),
        ("Pneumothorax", 12, Scaling(40.0, -3.0)),
        ("Fracture", 4, None),
    ):
        prompts = prompts_hash(bank[name].positive, bank[name].negated)
        refused = None if scaling else "4 of 120 validation films have it"
        found[name] = FindingCalibration(
            prompts=prompts, films=120, positives=positives, scaling=scaling, refused=refused
        )
    return found


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("serve")
    write_run(folder / "run", GlobalLocalConfig())
    write_calibration(folder / "run", lines())
    write_run(folder / "also", ClipConfig())
    source = PhantomSource(PhantomConfig(count=6, size=64))
    prepare_store(source, folder / "store", build_settings(PrepareConfig, {"size": 64}), workers=1)
    build_index(folder / "run", folder / "store", folder / "index")
    runs = [LoadedRun(0, folder / "run"), LoadedRun(1, folder / "also")]
    limits = Limits(upload_bytes=2_000_000, pixels=4_000_000, films=4)
    made = Desk(runs, limits, Neighbours(folder / "index", runs[0], Path(folder / "store")))
    yield made
    made.decoder.close()


@pytest.fixture
def client(desk: Desk) -> TestClient:
    return TestClient(build_app(desk), raise_server_exceptions=False)
