"""Malformed questions in JSON."""

from __future__ import annotations

import json
import random
from typing import Any

from tests.fuzz.films import PATIENT

_ODD: tuple[Any, ...] = (
    None, True, -1, 10**400, 1e308, float("nan"), float("inf"), "", "\0", "\ud800", "x" * 70, "x" * 30_000,
    "\u202e\U0001f9b4",
    [], {}, [[[]]], {"film": "x"}, ["a"] * 100, "../../etc/passwd", "{{7*7}}", "<script>alert(1)</script>", PATIENT,
    "é" * 900, "." * 900, "\n" * 50, "[MASK] [SEP] [CLS]", "٣", "a" * 999, "no " * 300,
)  # fmt: skip


def harmed_question(film: str, rng: random.Random) -> tuple[str, bytes]:
    """Path and body of a question that is wrong in one way or several, about a film that is held."""
    whole: list[tuple[str, dict[str, Any]]] = [
        ("/api/ground", {"film": film, "phrase": "Small left effusion.", "run": 0, "longest": 64}),
        ("/api/words", {"film": film, "text": "The heart is enlarged.", "run": 0}),
        ("/api/findings", {"film": film, "run": 0}),
        ("/api/embed", {"film": film}),
        ("/api/search", {"text": "Edema.", "side": "films", "k": 3}),
        ("/api/batch", {"films": [film], "sentences": ["Edema.", "Effusion."]}),
    ]
    path, question = rng.choice(whole)
    for _ in range(rng.choice((1, 1, 2))):
        question = _odd(question, rng)
    body = json.dumps(question).encode("utf-8", "surrogatepass")
    if rng.random() < 0.3:
        body = _broken(body, rng)
    return path, body


def _odd(question: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    name = rng.choice(sorted(question) or ["film"])
    match rng.randrange(4):
        case 0:
            return {**question, name: rng.choice(_ODD)}
        case 1:
            # Words are what a model reads: the oddest ones must be met by it too, not only by the schema.
            text = rng.choice([odd for odd in _ODD if isinstance(odd, str)])
            field = next((field for field in ("phrase", "text") if field in question), name)
            return {**question, field: text}
        case 2:
            return {key: value for key, value in question.items() if key != name}
        case _:
            return {**question, rng.choice(("path", "__proto__", "run", "k", "longest")): rng.choice(_ODD)}


def _broken(body: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(body))
    return rng.choice(
        (
            body[:at],
            body[:at] + rng.randbytes(3) + body[at:],
            b"[" * rng.choice((10, 5_000, 100_000)),
            b'{"film":' * 2_000 + b"1" + b"}" * 2_000,
            b"\xff\xfe" + body.decode("utf-8", "replace").encode("utf-16-le"),
            body + body,
            b"",
        )
    )
