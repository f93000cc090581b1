"""The HTTP interface. Every answer is JSON with the notice, or a PNG; no route takes a path of the server's disk."""

from __future__ import annotations

import asyncio
import base64
import io
import zlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from numpy.typing import NDArray
from PIL import Image

import crossray
from crossray.errors import ConfigError, CrossRayError
from crossray.inference.model import NO_PLACES
from crossray.serve.answers import Findings, findings_answer
from crossray.serve.asked import Batch, FilmAndPhrase, FilmAndText, OneFilm, Search
from crossray.serve.batch import Compared, compare
from crossray.serve.decoder import Decoders
from crossray.serve.engine import LoadedRun, Neighbours
from crossray.serve.guard import Guard
from crossray.serve.hands import by_hand
from crossray.serve.limits import NOTICE, STATUS_OF_STAGE, Limits, UploadError
from crossray.serve.metrics import metrics_text
from crossray.serve.shelf import FilmShelf, UnknownFilmError

_PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/viewer.css": ("viewer.css", "text/css; charset=utf-8"),
    **{f"/{name}": (name, "text/javascript; charset=utf-8") for name in ("viewer.js", "ask.js", "film.js", "lists.js")},
}

_WHERE = "0 lowest to 255 highest of this phrase in this film: where, not whether"


@dataclass
class Desk:
    """What a server works with."""

    runs: list[LoadedRun]
    limits: Limits = field(default_factory=Limits)
    neighbours: Neighbours | None = None
    token: str | None = None
    rejected: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.shelf = FilmShelf(self.limits)
        self.decoder = Decoders(self.limits)

    def run(self, number: int) -> LoadedRun:
        """The run of a number.

        Raises:
            ConfigError: there is none.
        """
        if number >= len(self.runs):
            raise ConfigError(f"The server has no run {number}.", remedy="Start it with --also RUN.")
        return self.runs[number]


def build_app(desk: Desk) -> Guard:
    """The guarded application."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        desk.decoder.close()

    app = FastAPI(
        title="CrossRay", description=NOTICE, version=crossray.__version__, docs_url=None, redoc_url=None,
        lifespan=lifespan,
    )  # fmt: skip
    guard = Guard(app, desk.limits, desk.token)
    _add_page(app)
    _add_films(app, desk)
    _add_questions(app, desk)
    _add_findings(app, desk)
    _add_neighbours(app, desk)
    _add_state(app, desk, guard)
    _add_errors(app, desk)
    return guard


def _add_page(app: FastAPI) -> None:
    folder = files("crossray.serve") / "page"

    def route(name: str, kind: str) -> Any:
        content = (folder / name).read_bytes()
        return lambda: Response(content, media_type=kind)

    for address, (name, kind) in _PAGE.items():
        app.get(address, include_in_schema=False)(route(name, kind))


def _add_films(app: FastAPI, desk: Desk) -> None:
    uploads = asyncio.Semaphore(desk.limits.uploads)

    @app.post("/api/film", status_code=201)
    async def open_film(request: Request) -> dict[str, Any]:
        """Open a film: the file's bytes (DICOM, PNG, JPEG) are the body. It is held in memory for a while."""
        async with uploads:
            content = await _body(request, desk.limits)
            pixels = await run_in_threadpool(desk.decoder.decode, content)
        height, width = pixels.shape
        return {"film": desk.shelf.put(pixels), "height": height, "width": width, "notice": NOTICE}

    @app.get("/api/film/{film}/picture", response_class=Response)
    def picture(
        film: str,
        level: Annotated[float, Query(ge=0, le=255)] = 127.5,
        window: Annotated[float, Query(gt=0, le=1024)] = 255.0,
        invert: bool = False,
    ) -> Response:
        """The film as PNG at a window and level of its 8-bit grey values."""
        grey = np.clip((np.arange(256) - level) / window + 0.5, 0, 1) * 255
        table = np.rint(255 - grey if invert else grey).astype(np.uint8)
        pixels = desk.shelf.get(film).pixels
        return Response(by_hand(lambda: _png(table[pixels])), media_type="image/png")

    @app.delete("/api/film/{film}")
    async def forget(film: str) -> dict[str, str]:
        """Forget a film now."""
        desk.shelf.drop(film)
        return {"notice": NOTICE}


def _add_questions(app: FastAPI, desk: Desk) -> None:
    @app.post("/api/ground")
    def ground(asked: FilmAndPhrase) -> dict[str, Any]:
        """Where a phrase points: an 8-bit map over the film (PNG, base64), 255 where it is strongest.

        It has the film's own pixels, or fewer where ``longest`` asks for fewer; places are in the film's pixels.
        """
        run = desk.run(asked.run)
        found = run.ground(desk.shelf.get(asked.film), asked.phrase, asked.longest)
        heat = by_hand(lambda: _png(np.rint(found.heat * 255).astype(np.uint8)))
        return {
            "width": found.heat.shape[1],
            "height": found.heat.shape[0],
            "peak": found.peak,
            "seen": found.seen,
            "heat_png": base64.b64encode(heat).decode(),
            "regions": found.regions.tolist(),
            "meaning": _WHERE if run.model.joint.method.regions_are_places else NO_PLACES,
            "notice": NOTICE,
        }

    @app.post("/api/words")
    def words(asked: FilmAndText) -> dict[str, Any]:
        """Where each word of a report looks, and so which words look at a region."""
        return {**desk.run(asked.run).words(desk.shelf.get(asked.film), asked.text), "notice": NOTICE}

    @app.post("/api/embed")
    def embed(asked: OneFilm) -> dict[str, Any]:
        """The film's vector of length 1 in the joint space."""
        vector = desk.run(asked.run).film_vector(desk.shelf.get(asked.film))
        return {"vector": vector.tolist(), "notice": NOTICE}

    @app.post("/api/batch")
    def batch(asked: Batch) -> Compared:
        """Cosines of every film and every sentence; a film that cannot be compared has an error of its own."""
        return compare(desk.run(asked.run), desk.shelf, asked.films, asked.sentences)


def _add_findings(app: FastAPI, desk: Desk) -> None:
    @app.post("/api/findings")
    def findings(asked: OneFilm) -> Findings:
        """Zero-shot scores of the shipped prompts' classes, with probabilities where the run was calibrated."""
        run = desk.run(asked.run)
        scores = run.findings(desk.shelf.get(asked.film))
        there = desk.neighbours if run is desk.runs[0] else None
        standing = there.standing(run, scores) if there is not None else None
        films = there.index.manifest.films if there is not None and standing is not None else None
        return findings_answer(scores, run.scales, standing, films)


def _add_neighbours(app: FastAPI, desk: Desk) -> None:
    def neighbours() -> Neighbours:
        if desk.neighbours is None:
            raise ConfigError("The server has no index.", remedy="Start it with --index INDEX.")
        return desk.neighbours

    @app.post("/api/search")
    def search(asked: Search) -> dict[str, Any]:
        """The nearest reports or films of the index to a film or a text (one of the two)."""
        there = neighbours()
        if (asked.film is None) == (asked.text is None):
            raise ConfigError("Give either a film or a text.")
        if asked.film is not None:
            vector = desk.runs[0].film_vector(desk.shelf.get(asked.film))
        else:
            vector = desk.runs[0].text_vectors([asked.text or ""])[0]
        return {"hits": there.nearest(vector, asked.k, asked.side), "notice": NOTICE}

    @app.get("/api/neighbour", response_class=Response)
    def neighbour(
        study: Annotated[str, Query(max_length=500)], film: Annotated[str | None, Query(max_length=500)] = None
    ) -> Response:
        """A film of the index's store as it was prepared, PNG."""
        return Response(by_hand(_png, neighbours().picture(study, film)), media_type="image/png")


def _add_state(app: FastAPI, desk: Desk, guard: Guard) -> None:
    # Asynchronous, for they take no time: they answer also while all threads wait for the model.
    @app.get("/api/about")
    async def about() -> dict[str, Any]:
        """The runs, whether there is an index, the limits."""
        return {
            "version": crossray.__version__,
            "runs": [run.describes for run in desk.runs],
            "index": desk.neighbours is not None,
            "limits": desk.limits.model_dump(),
            "notice": NOTICE,
        }

    @app.get("/api/health")
    async def health() -> dict[str, str]:
        """Whether the server answers."""
        return {"status": "ok", "notice": NOTICE}

    @app.get("/api/metrics", response_class=Response)
    async def metrics() -> Response:
        """Counts for Prometheus."""
        text = metrics_text(guard.answers, desk.rejected, len(desk.shelf), desk.decoder.starts)
        return Response(text, media_type="text/plain; version=0.0.4")


def _add_errors(app: FastAPI, desk: Desk) -> None:
    def refused(status: int, problem: str, **more: str) -> JSONResponse:
        return JSONResponse({"problem": problem, **more, "notice": NOTICE}, status_code=status)

    @app.exception_handler(UploadError)
    async def upload(_: Request, error: UploadError) -> JSONResponse:
        desk.rejected[error.stage] += 1
        return refused(STATUS_OF_STAGE[error.stage], error.problem, stage=error.stage)

    @app.exception_handler(UnknownFilmError)
    async def unknown(_: Request, error: UnknownFilmError) -> JSONResponse:
        return refused(404, error.message)

    @app.exception_handler(CrossRayError)
    async def mistake(_: Request, error: CrossRayError) -> JSONResponse:
        # Without the place: paths of the server are not told.
        return refused(422, f"{error.problem} {error.remedy or ''}".strip())

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return refused(422, f"{place}: {first['msg']}")

    @app.exception_handler(Exception)
    async def unforeseen(_: Request, error: Exception) -> JSONResponse:
        return refused(500, "The server made a mistake; its log says which.")


async def _body(request: Request, limits: Limits) -> bytes:
    """The request's body, refused as soon as it is too large or too slow."""
    content = bytearray()
    try:
        async with asyncio.timeout(limits.receive_seconds):
            async for piece in request.stream():
                content += piece
                if len(content) > limits.upload_bytes:
                    raise UploadError("size", f"The file has more than {limits.upload_bytes} bytes.")
    except TimeoutError:
        raise UploadError("time", "The file arrived too slowly.") from None
    return bytes(content)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    # Runs of equal filtered values are all there is to find in a film: as small as with a search for more, and faster.
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1, compress_type=zlib.Z_RLE)
    return buffer.getvalue()
