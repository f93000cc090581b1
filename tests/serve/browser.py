"""A headless Chromium on the viewer of a small run, and what its page shows, read off the canvas."""

from __future__ import annotations

import base64
import io
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import uvicorn
from numpy.typing import NDArray
from PIL import Image

from crossray.serve.app import Desk, build_app

from .conftest import png_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

#: Generous: a browser on a busy machine may take a minute to start.
TIMEOUT_MS = 180_000
_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@contextmanager
def served(desk: Desk) -> Iterator[str]:
    """The address of a server in a thread."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(build_app(desk), log_level="warning", lifespan="off"))
        thread = Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            while not server.started:
                time.sleep(0.02)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; the test is skipped where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    if program is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with api.sync_playwright() as playwright:
        api.expect.set_options(timeout=TIMEOUT_MS)
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS, timeout=TIMEOUT_MS)
        yield browser
        browser.close()


@contextmanager
def opened_page(browser: Browser, address: str, width: int = 1280, height: int = 800) -> Iterator[Page]:
    """The viewer's page; afterwards, nothing must have gone wrong in it, nor have been asked of another host."""
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(TIMEOUT_MS)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: wrong.append(request.url) if _is_foreign(request.url, address) else None)
    page.on("console", lambda said: wrong.append(said.text) if _is_wrong(said.type, said.text) else None)
    page.goto(address)
    page.wait_for_selector("body[data-ready=yes]")
    yield page
    page.close()
    assert wrong == []


def film_file(pixels: NDArray[np.uint8], name: str = "film.png") -> Any:
    """A film as a file that a file chooser takes."""
    return {"name": name, "mimeType": "image/png", "buffer": png_of(pixels)}


def open_film(page: Page, pixels: NDArray[np.uint8]) -> None:
    """Choose a film, and wait until its findings are there."""
    page.set_input_files("#file", film_file(pixels))
    page.wait_for_selector("#findings tbody tr")


def drop_film(page: Page, pixels: NDArray[np.uint8]) -> None:
    """Drag a film onto the page and let it go."""
    content = base64.b64encode(film_file(pixels)["buffer"]).decode()
    data = page.evaluate_handle(
        """content => {
            const data = new DataTransfer();
            data.items.add(new File([Uint8Array.from(atob(content), c => c.charCodeAt(0))], "dropped.png"));
            return data;
        }""",
        content,
    )
    page.dispatch_event("body", "dragover", {"dataTransfer": data})
    page.dispatch_event("body", "drop", {"dataTransfer": data})
    page.wait_for_selector("#findings tbody tr")


def canvas(page: Page, pane: int = 0) -> NDArray[np.int64]:
    """What a pane shows, ``[height, width, 3]``."""
    address = page.locator("figure canvas").nth(pane).evaluate("canvas => canvas.toDataURL('image/png')")
    picture = Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))).convert("RGB")
    return np.asarray(picture).astype(np.int64)


def colourfulness(shown: NDArray[np.int64]) -> NDArray[np.int64]:
    """``[height, width]``: 0 where it is grey."""
    spread: NDArray[np.int64] = shown.max(axis=2) - shown.min(axis=2)
    return spread


def centre_of_light(shown: NDArray[np.int64]) -> tuple[float, float]:
    """x and y of the middle of what is bright."""
    rows, columns = np.nonzero(shown.mean(axis=2) > 128)
    return float(columns.mean()), float(rows.mean())


def _is_foreign(url: str, address: str) -> bool:
    return not url.startswith((address, "data:", "blob:"))


def _is_wrong(kind: str, text: str) -> bool:
    # A refusal that a test asks for is reported on the console, too.
    return kind in ("error", "warning") and "the server responded with a status of 4" not in text
