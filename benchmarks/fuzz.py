"""Damaged and hostile input for everything that opens files: each must give a result or a ``CrossRayError``, and soon.

    python -m benchmarks.fuzz --minutes 2
    python -m benchmarks.fuzz --minutes 10 --target dicom --seed 7
    python -m benchmarks.fuzz --minutes 5 --out docs/results/fuzz

Prints executions and findings of each target (``--out`` writes them, with the table of the results page); ends with 1
if there is a finding. A finding is another exception, an
execution beyond ten seconds, or an attempt to unpickle or to start a program. Its seed makes the same input again:
``--target NAME --once SEED``. Manifests are often sealed anew over damaged content, so that what stands behind the
checksums is reached too.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossray.errors import CrossRayError
from crossray.files import FileEntry, unsealed, write_sealed_json

SECONDS = 10  # an execution that takes longer hangs
_FORBIDDEN = frozenset(("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen"))
_WORDS = (
    b"", b"\0", b"\xff\xfe", b"\r\n", b"\n\n", b'"', b",", b"{", b"]", b": ", b"1e999", b"NaN", b"-1", b"9" * 40,
    b"null", b"!!python/object/apply:os.system [true]", b"&a [*a]", b"../../etc/passwd", b"FINDINGS:", b"1. ",
    b"\xf0\x9f\x98\x80", b"\x80\x04cos\nsystem\n", b"%s%n", b"\xe2\x80\xae", b"\x00" * 64, b"_" * 200, b"A" * 3000,
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, -1, 0, 2**63, 1e308, float("nan"), "", "x" * 999, "../..", "\ud800", [], {}, [[[]]], True,
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    target: str
    seed: int
    problem: str


#: What a target is: a damaged input, made from a random state, that is opened.
Attack = Callable[[random.Random], object]


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The bytes after one to six changes: flipped, cut, doubled, moved, or with words that parsers stumble over."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        at, length = rng.randrange(len(data) + 1), rng.choice((1, 2, 4, 16, 200))
        match rng.randrange(6):
            case 0 if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = data[at : at + length] * rng.choice((1, 2, 30))
            case 3:
                data[at:at] = rng.choice(_WORDS)
            case 4:
                data[at : at + length] = rng.randbytes(length)
            case _ if rng.random() < 0.2:
                del data[at:]
    return bytes(data)


def mutated_json(content: Any, rng: random.Random) -> Any:
    """The value with one of its parts replaced, removed or renamed."""
    if not isinstance(content, dict | list) or not content or rng.random() < 0.15:
        return rng.choice(_VALUES)
    if isinstance(content, list):
        at = rng.randrange(len(content))
        return [*content[:at], mutated_json(content[at], rng), *content[at + 1 :]]
    key = rng.choice(list(content))
    if rng.random() < 0.2:
        return {name: value for name, value in content.items() if name != key}
    return {**content, key: mutated_json(content[key], rng)}


def of_bytes(seeds: Mapping[str, bytes], folder: Path, read: Callable[[Path], object]) -> Attack:
    """A target that reads one file; the seeds' names are the file's."""

    def attack(rng: random.Random) -> object:
        name = rng.choice(list(seeds))
        path = folder / name
        path.write_bytes(mutated(seeds[name], rng))
        return read(path)

    return attack


def of_folder(whole: Path, scratch: Path, manifest: str | None, read: Callable[[Path], object]) -> Attack:
    """A target that reads a folder: one file of it is damaged, and mostly its manifest (if it has one) made to fit."""

    def attack(rng: random.Random) -> object:
        place = scratch / "damaged"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(whole, place)
        file = rng.choice(sorted(path for path in place.rglob("*") if path.is_file()))
        if file.name == manifest or (file.suffix == ".json" and rng.random() < 0.5):
            content = json.loads(file.read_text(encoding="utf-8"))
            damaged = mutated_json(unsealed(content) if file.name == manifest else content, rng)
            if isinstance(damaged, dict) and file.name == manifest:
                seal(file, damaged)
            else:
                file.write_text(json.dumps(damaged))
        else:
            file.write_bytes(mutated(file.read_bytes(), rng))
            if manifest is not None and rng.random() < 0.7:
                fit_manifest(place, file, manifest)
        return read(place)

    return attack


def fit_manifest(place: Path, file: Path, manifest: str) -> None:
    """Write the damaged file's hash into the manifest, and the content hash of a store with it."""
    from crossray.data.store_manifest import content_hash

    content = unsealed(json.loads((place / manifest).read_text(encoding="utf-8")))
    files, name = content.get("files", {}), file.relative_to(place).as_posix()
    if name in files:
        entry = FileEntry.of(file)
        files[name] = {"sha256": entry.sha256, "bytes": entry.bytes}
    if content.get("kind") == "crossray-store":
        entries = {key: FileEntry(**value) for key, value in files.items()}
        content["hash"] = content_hash(content["label_names"], content["prepared_size"], entries)
    seal(place / manifest, content)


def seal(path: Path, content: dict[str, Any]) -> None:
    """Write a manifest with its seal."""
    try:
        write_sealed_json(path, content)
    except ValueError:  # NaN and lone surrogates cannot be sealed: as a hand would write them
        path.write_text(json.dumps(content))


def execute(name: str, attack: Attack, seed: int) -> Finding | None:
    """One execution; ``None`` if it gave a result or a ``CrossRayError``."""
    try:
        with watched(name):
            attack(random.Random(seed))
    except CrossRayError:
        return None
    except Exception:
        return Finding(name, seed, traceback.format_exc(limit=-4))
    return None


class HangError(Exception):
    """An execution took too long, or did what no input may lead to."""


_watching: list[str] = []


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    # The DICOM reader has a decoder of its own in another process: the one program that is started.
    if _watching and event in _FORBIDDEN and not (event == "subprocess.Popen" and "gdcm" in str(arguments)):
        raise HangError(f"{event} {arguments!r:.200}")


def _too_long(number: int, frame: object) -> None:
    raise HangError(f"took more than {SECONDS} seconds")


@contextmanager
def watched(name: str) -> Iterator[None]:
    if not _watching_installed:
        sys.addaudithook(_audit)
        _watching_installed.append(True)
    before = signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(SECONDS)
    _watching.append(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        _watching.pop()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


_watching_installed: list[bool] = []


def campaign(attacks: Mapping[str, Attack], seconds: float, seed: int) -> tuple[Counter[str], list[Finding]]:
    """Execute the targets in turn until the time is over; at most five findings of one kind are kept."""
    executions: Counter[str] = Counter()
    findings: dict[str, Finding] = {}
    end, step = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for name, attack in attacks.items():
            found = execute(name, attack, seed + step)
            executions[name] += 1
            if found is not None:
                findings.setdefault(found.problem.splitlines()[-1][:60] + name, found)
        step += 1
    return executions, list(findings.values())


def main() -> int:
    from benchmarks.fuzz_table import write
    from benchmarks.fuzz_targets import make_attacks

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--target", action="append", help="one of the targets; repeatable; all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--once", type=int, help="execute this seed alone, with its stack trace")
    parser.add_argument("--out", type=Path, help="folder for fuzz.json and table.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        attacks = make_attacks(Path(folder), given.target)
        if given.once is not None:
            for name, attack in attacks.items():
                print(execute(name, attack, given.once) or f"{name}: a result or a CrossRayError")
            return 0
        executions, findings = campaign(attacks, given.minutes * 60, given.seed)
    if given.out is not None:
        write(given.out, executions, findings, f"--minutes {given.minutes:g} --seed {given.seed}")
    for name, count in executions.items():
        print(f"{name:12}{count:>9} executions  {sum(item.target == name for item in findings)} findings")
    for item in findings:
        print(f"\n{item.target}, --once {item.seed}:\n{item.problem}")
    return int(bool(findings))


if __name__ == "__main__":
    sys.exit(main())
