"""Send what is malformed, count what comes back, and look at the server afterwards."""

from __future__ import annotations

import json
import random
import re
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Literal

from benchmarks.viewer.server import Answer, RunningServer, Visitor

from tests.fuzz import films
from tests.fuzz.harms import Kind, harmed
from tests.fuzz.questions import harmed_question

#: What a film met after its header was read.
PAST_HEADER = ("pixels", "time", "worker", "accepted")
#: What a question met after it was found to be JSON.
PAST_SYNTAX = ("schema", "refused", "answered")
_KINDS: tuple[Kind | Literal["json"], ...] = ("dicom", "png", "jpeg", "json")
STAGES = ("size", "format", "header", *PAST_HEADER, "syntax", *PAST_SYNTAX)

# Of a stack trace, or of the server's own disk.
_TRACE = re.compile(r'Traceback|File \\?"|site-packages|/proc/self|\.py\b')
_SAMPLES = 20


@dataclass
class Campaign:
    """What came of it. ``wrong`` lists seeds and answers that must not be."""

    stages: dict[str, Counter[str]] = field(default_factory=dict)
    harms: Counter[str] = field(default_factory=Counter)
    memory: list[dict[str, int]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def past_header(self) -> float:
        """Share of all that got past the reading of a header, or of JSON's syntax."""
        past = sum(counts[stage] for counts in self.stages.values() for stage in (*PAST_HEADER, *PAST_SYNTAX))
        return past / sum(counts.total() for counts in self.stages.values())


def run_campaign(server: RunningServer, count: int, seed: int) -> Campaign:
    """Send ``count`` malformed uploads and questions; each depends on the seed and its number only."""
    found = Campaign()
    visitor = Visitor(server.port)
    with tempfile.TemporaryDirectory() as folder:
        whole: dict[Kind, dict[str, bytes]] = {
            "dicom": films.dicom(Path(folder)),
            "png": films.picture("png"),
            "jpeg": films.picture("jpeg"),
        }
    film, before = _known_answer(visitor, whole["png"]["grey"])
    for number in range(count):
        if number % max(1, count // _SAMPLES) == 0:
            found.memory.append(server.resident())
        rng = random.Random(f"{seed} {number}")
        kind = rng.choices(_KINDS, (32, 24, 24, 20))[0]
        name = f"seed {seed} number {number} ({kind})"
        try:
            if kind == "json":
                film, before = _still_held(visitor, film, before, whole["png"]["grey"])
                answer = visitor.ask("POST", *harmed_question(film, rng))
                stage = _stage_of_question(answer)
            else:
                stage, answer = _uploaded(visitor, whole[kind], kind, rng, found)
        except (OSError, HTTPException) as error:
            found.wrong.append(f"{name}: no answer ({error!r})")
            continue
        found.stages.setdefault(kind, Counter())[stage] += 1
        found.wrong += _mistakes(name, answer)
    found.memory.append(server.resident())
    _, after = _known_answer(visitor, whole["png"]["grey"])
    if after != before:
        found.wrong.append("afterwards a whole film is answered otherwise than before")
    if "Traceback" in server.log.read_text():
        found.wrong.append(f"the server's log holds a stack trace: {server.log}")
    return found


def _uploaded(
    visitor: Visitor, whole: dict[str, bytes], kind: Kind, rng: random.Random, found: Campaign
) -> tuple[str, Answer]:
    """The stage at which a harmed film was refused; an accepted one is looked at by the model, and forgotten."""
    names = sorted(whole)
    place, content = harmed(whole[rng.choice(names)], kind, whole[rng.choice(names)], rng)
    found.harms[place] += 1
    answer = visitor.ask("POST", "/api/film", content, "application/octet-stream")
    if answer.status != 201:
        return str(answer.json.get("stage", answer.status)), answer
    film = answer.json["film"]
    seen = visitor.post("/api/ground", {"film": film, "phrase": "Edema.", "longest": 256})
    visitor.ask("DELETE", f"/api/film/{film}")
    return "accepted", seen if seen.status != 200 else answer


def _stage_of_question(answer: Answer) -> str:
    if answer.status == 200:
        return "answered"
    if answer.status in (411, 413):
        return "size"
    if answer.status == 400 or "JSON decode error" in answer.text:
        return "syntax"
    return "schema" if answer.status == 422 and '"problem":"body' in answer.text.replace(": ", ":") else "refused"


def _mistakes(name: str, answer: Answer) -> list[str]:
    found = []
    if answer.status >= 500:
        found.append(f"{name}: status {answer.status}: {answer.text[:200]}")
    if _TRACE.search(answer.text) or films.PATIENT.split("^")[0] in answer.text:
        found.append(f"{name}: shows what must not be shown: {answer.text[:300]}")
    return found


def _known_answer(visitor: Visitor, content: bytes) -> tuple[str, str]:
    """The handle of a whole film, and what the model says of it."""
    film = visitor.ask("POST", "/api/film", content, "application/octet-stream").json["film"]
    return film, json.dumps(visitor.post("/api/findings", {"film": film}).json["scores"])


def _still_held(visitor: Visitor, film: str, before: str, content: bytes) -> tuple[str, str]:
    if visitor.ask("GET", f"/api/film/{film}/picture").status == 200:
        return film, before
    return _known_answer(visitor, content)[0], before
