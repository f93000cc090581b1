"""What every output of a comparison states: protocol, hashes, counts, seeds, command, versions, date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crossray.evaluation.comparison.entries import Entry, provenance_of
from crossray.evaluation.comparison.table import Comparison
from crossray.evaluation.results import Results, command_line
from crossray.evaluation.tables import TASK_TITLES
from crossray.versions import now, versions


@dataclass(frozen=True)
class SourceFacts:
    """One results folder as it was given, and where its numbers come from."""

    entry: str
    seed: int
    folder: str
    runs: dict[str, str]
    command: str
    date: str


@dataclass(frozen=True)
class Facts:
    """The circumstances of a comparison. ``versions`` are those that evaluated, joined by "/" where they differ."""

    protocol: str
    preset: str
    split_protocol: str
    split_hash: str
    store_hash: str
    source: str
    folds: tuple[str, ...]
    studies: int
    seeds: dict[str, tuple[int, ...]]
    draws: int
    level: float
    reference: str
    command: str
    date: str
    crossray: str
    versions: dict[str, str]
    caveats: tuple[str, ...]
    sources: tuple[SourceFacts, ...]

    @property
    def seeds_in_words(self) -> str:
        """``0, 1, 2``, or each entry's own where they differ."""
        if len(set(self.seeds.values())) == 1:
            return _listed(next(iter(self.seeds.values())))
        return "; ".join(f"{name} {_listed(seeds)}" for name, seeds in self.seeds.items())

    def lines(self) -> list[str]:
        """The facts as sentences, for every written form of the table."""
        return [
            f"protocol {self.protocol}, preset {self.preset}; split {self.split_protocol}, hash "
            f"{self.split_hash[:16]}, folds {', '.join(self.folds)}; n = {self.studies} studies scored out-of-fold",
            f"store of {self.source}, hash {self.store_hash[:16]}",
            f"seeds of training: {self.seeds_in_words}; each number is the mean over them",
            f"[low, high]: {100 * self.level:g} % percentile bootstrap by patient inside folds, {self.draws} draws, "
            "of the mean over seeds: it says what other patients would change, not what other seeds would",
            f"differences are to {self.reference}, on the same draws of patients; * marks an interval without 0; "
            "nothing is corrected for the number of comparisons",
            *self.caveats,
            f"command: {self.command}",
            f"{self.date}; crossray {self.crossray}; evaluated with "
            + ", ".join(f"{name} {version}" for name, version in self.versions.items()),
        ]


def facts_of(entries: Sequence[Entry], comparison: Comparison) -> Facts:
    """The facts of a comparison that is made now."""
    shared = provenance_of(entries)
    everyone = [(entry.name, seed, read) for entry in entries for seed, read in entry.by_seed.items()]
    return Facts(
        protocol=shared.protocol,
        preset=shared.preset,
        split_protocol=shared.split_protocol,
        split_hash=shared.split_hash,
        store_hash=shared.store_hash,
        source=shared.source,
        folds=shared.folds,
        studies=shared.studies,
        seeds={entry.name: tuple(entry.by_seed) for entry in entries},
        draws=shared.draws,
        level=shared.level,
        reference=comparison.reference,
        command=command_line(),
        date=now(),
        crossray=versions().get("crossray", "unknown"),
        versions=_joined([read.results.provenance.versions for _, _, read in everyone]),
        caveats=tuple(dict.fromkeys(line for name, _, read in everyone for line in _caveats(name, read.results))),
        sources=tuple(
            SourceFacts(
                entry=name,
                seed=seed,
                folder=read.folder.as_posix(),
                runs=read.results.provenance.runs,
                command=read.results.provenance.command,
                date=read.results.provenance.date,
            )
            for name, seed, read in everyone
        ),
    )


def _caveats(entry: str, results: Results) -> list[str]:
    return [f"{entry}, {TASK_TITLES[task].lower()}: {caveat}" for task, caveat in results.provenance.caveats.items()]


def _joined(found: Sequence[dict[str, str]]) -> dict[str, str]:
    names = dict.fromkeys(name for one in found for name in one)
    return {name: "/".join(dict.fromkeys(one[name] for one in found if name in one)) for name in names}


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
