"""Many visitors at once: ``python -m benchmarks.viewer.load RUN --clients 50 --seconds 60``.

Serves the run in a process of its own on loopback. Each visitor opens a film, has it shown and scored, asks where three
sentences point and where the words of a report look, forgets it, and begins again at once: a person would pause. Prints
throughput, the median and the 99th percentile of each question's time, errors, and what the processes hold of memory.
The visitors share the machine with the server.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from threading import Thread

import numpy as np
from benchmarks.viewer.server import Answer, Visitor, running_server
from PIL import Image

from crossray.data.sources.phantom import PhantomConfig, PhantomSource

SENTENCES = ("Small left pleural effusion.", "The heart is enlarged.", "Right upper lobe consolidation.")
_FILMS = 8
_LONGEST_MAP = 768


@dataclass
class Tally:
    """What one visitor met: seconds by question, and what went wrong."""

    seconds: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, question: str, answer: Answer) -> Answer:
        self.seconds[question].append(answer.seconds)
        if answer.status >= 400:
            self.errors[f"{question}: {answer.status}"] += 1
        return answer


def films(size: int) -> list[bytes]:
    """Phantom films as PNG files, ``size`` pixels on the long side."""
    source = PhantomSource(PhantomConfig(count=_FILMS, size=size))
    return [_png(study.films[0].pixels.read()) for study in source.studies()]


def _png(pixels: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def visit(port: int, number: int, film: bytes, until: float, pause: float, tally: Tally) -> None:
    """Look at a film again and again until a moment of ``time.monotonic``."""
    visitor = Visitor(port)
    # Words of their own, as no two people write alike: none of them is asked twice in a batch.
    sentences = [f"{sentence} Compared with film {number}." for sentence in SENTENCES]
    while time.monotonic() < until:
        try:
            _look(visitor, film, sentences, pause, tally)
        except (OSError, HTTPException, KeyError) as error:
            tally.errors[repr(error)[:80]] += 1
    visitor.close()


def _look(visitor: Visitor, content: bytes, sentences: list[str], pause: float, tally: Tally) -> None:
    def post(question: str, **about: object) -> None:
        time.sleep(pause)
        tally.add(question, visitor.post(f"/api/{question}", {"film": film, **about}))

    opened = tally.add("open", visitor.ask("POST", "/api/film", content, "application/octet-stream"))
    film = opened.json["film"]
    tally.add("picture", visitor.ask("GET", f"/api/film/{film}/picture"))
    post("findings")
    for sentence in sentences:
        post("ground", phrase=sentence, longest=_LONGEST_MAP)
    post("words", text=" ".join(sentences))
    tally.add("forget", visitor.ask("DELETE", f"/api/film/{film}"))


def table(tallies: list[Tally], elapsed: float) -> list[str]:
    """Throughput and times by question."""
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    for tally in tallies:
        for question, times in tally.seconds.items():
            seconds[question] += times
    total = sum(len(times) for times in seconds.values())
    lines = [f"{total} answers, {total / elapsed:.1f} a second; {len(seconds['open']) / elapsed:.2f} films a second"]
    lines += ["| question | answers | p50 | p99 |", "| --- | --- | --- | --- |"]
    every = {**seconds, "all": [one for times in seconds.values() for one in times]}
    for question, times in every.items():
        middle, high = np.percentile(times, (50, 99))
        lines.append(f"| {question} | {len(times)} | {middle * 1000:.0f} ms | {high * 1000:.0f} ms |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.viewer.load", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--size", type=int, default=1024, help="of the films' long side, in pixels")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between a visitor's questions")
    arguments = parser.parse_args()
    contents = films(arguments.size)
    tallies = [Tally() for _ in range(arguments.clients)]
    with (
        tempfile.TemporaryDirectory(prefix="crossray-load-") as folder,
        running_server(arguments.run, Path(folder) / "log") as server,
    ):
        visit(server.port, 0, contents[0], time.monotonic() + 0.01, 0, Tally())  # prompts embedded, decoder started
        before, processors = server.resident(), server.processor_seconds()
        started = time.monotonic()
        visitors = [
            Thread(
                target=visit,
                args=(server.port, k, contents[k % _FILMS], started + arguments.seconds, arguments.pause, t),
            )
            for k, t in enumerate(tallies)
        ]
        for thread in visitors:
            thread.start()
        for thread in visitors:
            thread.join()
        elapsed = time.monotonic() - started
        after = server.resident()
        spent = {part: seconds - processors[part] for part, seconds in server.processor_seconds().items()}
    print(
        f"{arguments.clients} visitors, {elapsed:.0f} s, films of {arguments.size} pixels, {os.cpu_count()} processors,"
    )
    print(f"load of the machine at the end {os.getloadavg()[0]:.1f} (visitors included)")
    print("\n".join(table(tallies, elapsed)))
    errors = sum((tally.errors for tally in tallies), Counter())
    print("errors: " + (", ".join(f"{what} × {count}" for what, count in errors.items()) or "none"))
    print(f"processor seconds: {spent['server']:.1f} of the server, {spent['decoders']:.1f} of the decoder")
    for part in before:
        print(f"resident memory of the {part}: {before[part] >> 20} MiB before, {after[part] >> 20} MiB after")


if __name__ == "__main__":
    main()
