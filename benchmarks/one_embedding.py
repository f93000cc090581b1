"""Whether a film has one vector whichever way it is asked for: ``python -m benchmarks.one_embedding RUN FILM...``.

Python, ``crossray embed``, the HTTP interface and the exported ONNX graph each get the film's file (ONNX, which reads
no files, the film prepared, resized and cropped). Printed: for each film and way the largest difference from Python.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from starlette.testclient import TestClient
from typer.testing import CliRunner

import crossray
from crossray.cli.main import app
from crossray.data.augment import evaluation_view
from crossray.data.film_file import read_prepared
from crossray.export.export import export_run
from crossray.serve.app import Desk, build_app
from crossray.serve.engine import LoadedRun

Vectors = NDArray[np.float32]


def vectors_of(run: Path, films: list[Path], folder: Path) -> dict[str, Vectors]:
    """Way → ``[films, D]``; ``folder`` gets the files that this takes."""
    return {
        "Python": crossray.load(run).embed_images(films),
        "crossray embed": by_command(run, films, folder / "films.npz"),
        "HTTP": by_http(run, films),
        "ONNX": by_onnx(run, films, folder / "onnx"),
    }


def by_command(run: Path, films: list[Path], out: Path) -> Vectors:
    command = ["embed", str(run), *map(str, films), "--out", str(out)]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    if result.exit_code != 0:
        raise RuntimeError(result.output)
    found: Vectors = np.load(out)["vectors"]
    return found


def by_http(run: Path, films: list[Path]) -> Vectors:
    desk = Desk([LoadedRun(0, run)])
    with TestClient(build_app(desk)) as client:
        handles = [client.post("/api/film", content=film.read_bytes()).json()["film"] for film in films]
        answers = [client.post("/api/embed", json={"film": handle}).json()["vector"] for handle in handles]
    return np.array(answers, dtype=np.float32)


def by_onnx(run: Path, films: list[Path], out: Path) -> Vectors:
    export_run(run, "onnx", out)
    model = crossray.load(run)
    image = model.joint.image_config
    prepared = torch.from_numpy(np.stack([read_prepared(film, model.prepared_size)[0] for film in films]))
    grey = (evaluation_view(prepared, image) * image.std + image.mean) * 255
    found: Vectors = onnxruntime.InferenceSession(str(out / "film.onnx")).run(None, {"pixels": grey.numpy()})[0]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("films", type=Path, nargs="+")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = vectors_of(arguments.run, arguments.films, Path(folder))
    python = found.pop("Python")
    print(f"{'film':40}" + "".join(f"{way:>16}" for way in found))
    for row, film in enumerate(arguments.films):
        differences = [np.abs(vectors[row] - python[row]).max() for vectors in found.values()]
        print(f"{film.name[-40:]:40}" + "".join(f"{difference:16.1e}" for difference in differences))


if __name__ == "__main__":
    main()
