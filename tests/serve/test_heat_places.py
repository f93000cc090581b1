"""A heat map stands where the finding is: phantom films of five sizes and aspects, region scores that are exact.

The scores are read off what the model would see: the truth is painted white on a black film, which goes through the
same preparation and crop as a film does. So the way there is made of pixels, and only the way back of geometry.
"""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient
from torch.nn import functional as F

from crossray.data.augment import ImageInputConfig, evaluation_view
from crossray.data.geometry import prepare_film
from crossray.data.sources.phantom import PhantomConfig, PhantomSource
from crossray.data.study import Box
from crossray.serve.app import Desk

from .conftest import png_of

GRID = (8, 8)
SHAPES = [(256, 256), (320, 192), (150, 480), (1100, 900), (97, 131)]
INPUTS = {"whole film": ImageInputConfig(size=64), "centre crop": ImageInputConfig(size=64, resize=72)}


@pytest.fixture(scope="module")
def truths() -> list[tuple[NDArray[np.uint8], Box]]:
    """Phantom films, and a box on each as shares of its sides."""
    found = []
    for study in PhantomSource(PhantomConfig(count=12, size=128)).studies():
        film = study.films[0]
        pixels = film.pixels.read()
        height, width = pixels.shape
        for box in film.boxes[:1]:
            shares = (box.x_min / width, box.y_min / height, box.x_max / width, box.y_max / height)
            found.append((pixels, Box(box.label, *shares)))
    return found[:4]


def exact_scores(film: NDArray[np.uint8], prepared_size: int, config: ImageInputConfig) -> torch.Tensor:
    """``[1, rows, columns]``: how much of the white each region of the model's input shows."""
    prepared, _ = prepare_film(film, prepared_size)
    seen = evaluation_view(torch.from_numpy(prepared[None]), config)
    return F.adaptive_avg_pool2d(seen, GRID)[0]


@pytest.mark.parametrize("crop", INPUTS)
@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_the_peak_is_within_one_region_of_the_truth(
    client: TestClient,
    desk: Desk,
    truths: list[tuple[NDArray[np.uint8], Box]],
    monkeypatch: pytest.MonkeyPatch,
    height: int,
    width: int,
    crop: str,
) -> None:
    model, config = desk.runs[0].model, INPUTS[crop]
    monkeypatch.setattr(model.joint, "image_config", config)
    # A region's side on the film: the long side fills the square, of which the crop is a part.
    region = max(height, width) * config.size / (config.resize or config.size) / GRID[0]
    assert len(truths) == 4
    for pixels, share in truths:
        film = np.asarray(Image.fromarray(pixels).resize((width, height)))
        x_min, x_max = round(share.x_min * width), round(share.x_max * width)
        y_min, y_max = round(share.y_min * height), round(share.y_max * height)
        painted = np.zeros_like(film)
        painted[y_min:y_max, x_min:x_max] = 255
        scores = exact_scores(painted, model.prepared_size, config)
        monkeypatch.setattr(model.joint, "phrase_map", lambda *_, scores=scores: scores)
        handle = client.post("/api/film", content=png_of(film)).json()["film"]
        centre = ((x_min + x_max) / 2, (y_min + y_max) / 2)
        for longest in (None, 64):
            question = {"film": handle, "phrase": "Effusion.", "longest": longest}
            answer = client.post("/api/ground", json=question).json()
            heat = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["heat_png"]))), dtype=np.float64)
            rows, columns = np.nonzero(heat >= heat.max() - 1)
            scale = width / heat.shape[1], height / heat.shape[0]
            brightest = (columns.mean() + 0.5) * scale[0], (rows.mean() + 0.5) * scale[1]
            for place in (answer["peak"], brightest):
                assert abs(place[0] - centre[0]) <= region, (share, place, centre)
                assert abs(place[1] - centre[1]) <= region, (share, place, centre)
        client.delete(f"/api/film/{handle}")
