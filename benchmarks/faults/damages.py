"""Files damaged between two commands: what the next one says, and whether its remedy brings them back."""

from __future__ import annotations

import csv
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.faults.bench import EVALUATE, INDEX, PREPARE, TRAIN, Bench, Place
from benchmarks.faults.inject import Moment, arm
from benchmarks.faults.inject import kill as kill_process
from benchmarks.faults.process import Ended, crossray
from benchmarks.faults.tries import SAME, Try

Words = tuple[str, ...]
Harm = Callable[[Path, random.Random], None]

SEARCH: Words = ("search", "index", "--text", "The heart is enlarged.")
LOST = "lost, and says which"


def flip_bit(path: Path, rng: random.Random) -> None:
    """Turn one bit over."""
    content = bytearray(path.read_bytes())
    place = rng.randrange(8 * len(content))
    content[place // 8] ^= 1 << place % 8
    path.write_bytes(content)


def truncate(path: Path, rng: random.Random) -> None:
    """Cut a file short."""
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])


@dataclass(frozen=True)
class Damaged:
    """A file that is damaged.

    Attributes:
        name: of the file, for the table.
        files: pattern of the files of which one is hit.
        place: the command that is to end in the same bytes.
        has: what lies in the folder beside what the command reads.
        reader: the command that meets the damage; the place's own by default.
        verified: what ``crossray verify`` is asked about; nothing where the damage mends itself.
        deleted: what the message tells to delete, if anything.
        remedy: the commands that bring everything back, before the place's own.
    """

    name: str
    files: str
    place: Place
    has: tuple[str, ...] = ()
    reader: Words = ()
    verified: str = ""
    deleted: str = ""
    remedy: tuple[Words, ...] = ()
    names_studies: bool = False

    @property
    def title(self) -> str:
        """The place, for the table."""
        return f"{self.name}, then {(self.reader or self.place.words)[0].replace('data', 'prepare')}"


_SHARD = ("a shard of films", "store/films-*.arrow")
_CHECKPOINTS = "run/checkpoints"
_BEST = ("best weights", f"{_CHECKPOINTS}/best.*")
DAMAGED = (
    Damaged(*_SHARD, TRAIN, has=("films",), verified="store", remedy=(PREPARE.words,), names_studies=True),
    Damaged(*_SHARD, EVALUATE, has=("films",), verified="store", remedy=(PREPARE.words,), names_studies=True),
    Damaged(*_SHARD, INDEX, has=("films",), verified="store", remedy=(PREPARE.words,), names_studies=True),
    Damaged(*_BEST, EVALUATE, has=("recipe.yaml",), verified="run", deleted=_CHECKPOINTS, remedy=(TRAIN.words,)),
    Damaged(
        *_BEST, INDEX, has=("recipe.yaml", "split.csv"), verified="run", deleted=_CHECKPOINTS, remedy=(TRAIN.words,)
    ),
    Damaged("vectors or table of an index", "index/*-*", INDEX, ("index",), SEARCH, verified="index"),
    Damaged("index.json", "index/index.json", INDEX, ("index",), SEARCH, verified="index"),
    Damaged("a cell of results", "results/cells/fold*/*.npz", EVALUATE, ("results",)),
)


def damaged(bench: Bench, fault: str, harm: Harm, what: Damaged, seed: int) -> Try:
    """A file is harmed, a command meets it, its remedy is followed, and the command is run again."""
    rng = random.Random(f"{fault}/{what.title}/{seed}")
    folder = bench.fresh(what.place, *what.has)
    hit = rng.choice(sorted(folder.glob(what.files)))
    harm(hit, rng)
    met = crossray(what.reader or what.place.words, folder)
    problem = _problem(what, folder, hit, met)
    if problem is None and what.verified:
        if what.deleted:
            shutil.rmtree(folder / what.deleted)
        for words in (*what.remedy, *((what.place.words,) if what.reader or what.remedy else ())):
            again = crossray(words, folder)
            if again.code != 0:
                problem = f"the rerun failed: {again.last_line}"
                break
    return _judged(bench, fault, what, folder, seed, hit, met, problem)


def _problem(what: Damaged, folder: Path, hit: Path, met: Ended) -> str | None:
    """What is wrong with how a command met the damage; None if nothing is."""
    if not what.verified:
        return None if met.code == 0 else "not mended"
    if met.code == 0:
        return "not noticed"
    if not met.is_clear:
        return "no clear message"
    verdict = crossray(("verify", what.verified), folder)
    if verdict.code != 1 or hit.name not in verdict.output:
        return "not found by verify"
    if what.names_studies and "It holds the films of" not in met.errors:
        return "studies not named"
    return None if hit.name in met.errors else "the file is not named"


def _judged(
    bench: Bench, fault: str, what: Damaged, folder: Path, seed: int, hit: Path, met: Ended, problem: str | None
) -> Try:
    if problem is None:
        folder = _only(what.place, folder)
        problem = SAME if bench.same(what.place, folder) else "other bytes"
    if problem == SAME:
        shutil.rmtree(folder.parent)
    said = met.last_line.replace(str(folder), "")[:600] if problem == SAME else met.errors[-2000:]
    return Try(fault, what.title, seed, hit.name, met.code, said, problem, problem == SAME)


def _only(place: Place, folder: Path) -> Path:
    """The folder without what only the remedy needed, as the undisturbed command leaves it."""
    for path in folder.iterdir():
        if path.name not in (*place.reads, place.makes) and not path.name.startswith("."):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder


def damaged_state(bench: Bench, fault: str, harm: Harm, what: str, seed: int) -> Try:
    """A run is killed, the state that it would go on from is harmed, and the run gone on with."""
    rng = random.Random(f"{fault}/{what}/{seed}")
    folder = bench.fresh(TRAIN)
    state = folder / "run" / "checkpoints" / "state.safetensors"
    while not state.is_file():
        moment = Moment("second", rng.uniform(0.5, 0.95) * bench.courses[TRAIN.name].seconds)
        crossray(TRAIN.words, folder, partial(arm, moment, kill_process))
    harm(state, rng)
    met = crossray(TRAIN.words, folder)
    as_damaged = Damaged(what, "", TRAIN, verified="run")
    problem = _problem(as_damaged, folder, state, met)
    if problem is None:
        shutil.rmtree(state.parent)
        again = crossray(TRAIN.words, folder)
        problem = None if again.code == 0 else f"the rerun failed: {again.last_line}"
    return _judged(bench, fault, as_damaged, folder, seed, state, met, problem)


def damaged_partial_shard(bench: Bench, fault: str, harm: Harm, what: str, seed: int) -> Try:
    """A preparation is killed, a file of what it had finished is harmed, and it is gone on with."""
    rng = random.Random(f"{fault}/{what}/{seed}")
    folder = bench.fresh(PREPARE)
    unfinished = folder / ".store.partial"
    while not list(unfinished.glob("outcome-*.json")):
        moment = Moment("operation", rng.randrange(bench.courses[PREPARE.name].operations))
        crossray(PREPARE.words, folder, partial(arm, moment, kill_process))
        if (folder / "store").exists():
            shutil.rmtree(folder / "store")
    hit = rng.choice(sorted(path for path in unfinished.glob("[!.]*") if path.suffix in (".arrow", ".json")))
    harm(hit, rng)
    met = crossray(PREPARE.words, folder)
    problem = None if met.code == 0 else "not mended"
    return _judged(bench, fault, Damaged(what, "", PREPARE), folder, seed, hit, met, problem)


def damaged_film(bench: Bench, fault: str, what: str, seed: int) -> Try:
    """Films of the source lose pixels: the store lacks their studies, and lists each with the reason.

    A film that is cut behind its last pixel (in a checksum, or the end mark) loses nothing and is read.
    """
    rng = random.Random(f"{fault}/{what}/{seed}")
    folder = bench.fresh(PREPARE)
    films = rng.sample(sorted((folder / "films").glob("*.png")), 3)
    for film in films:
        content = film.read_bytes()
        film.write_bytes(content[: rng.randrange(len(content) * 9 // 10)])
    met = crossray(PREPARE.words, folder)
    lost = {f"s{film.stem.removeprefix('film')}" for film in films}
    named: set[str] = set()
    if met.code == 0:
        with (folder / "store" / "quarantine.csv").open(encoding="utf-8", newline="") as file:
            named = {row["study_id"] for row in csv.DictReader(file) if row["reason"]}
    fine = met.code == 0 and named == lost
    outcome = LOST if fine else f"lists {sorted(named)} instead of {sorted(lost)}"
    if fine:
        shutil.rmtree(folder.parent)
    hit = ", ".join(film.name for film in films)
    return Try(fault, f"{what}, then prepare", seed, hit, met.code, met.last_line[:600], outcome, fine)
