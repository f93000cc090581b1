"""What a call of ``crossray localized`` would run: which protocols, on which stores and films, how many trainings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crossray.data.store import Store
from crossray.data.streaming.mirror import below, has_store
from crossray.data.verify import open_whole
from crossray.errors import ConfigError, DataError
from crossray.evaluation.localized.config import batches_per_epoch
from crossray.evaluation.localized.films import TaskFilms, task_films
from crossray.evaluation.localized.protocol import LocalizedProtocol
from crossray.evaluation.localized.shipped import protocols_of


@dataclass(frozen=True)
class LocalizedRequest:
    """What to run and where to write it.

    Attributes:
        suite: name of a suite, or of one protocol.
        data: a store, or a folder of stores that are named by their source; a folder or URL.
        out: folder of the results.
        trunk: see :func:`crossray.evaluation.localized.trunks.open_trunk`, as are ``weights`` and ``checkpoint``.
        split: a split list, or a folder of them; without it splits are made.
        fold: of a list with several.
        seeds: runs of each protocol, if not its own number.
        preset: ``legacy`` brings published defects back.
        changes: ``key=value`` over every protocol.
        cells: folder of finished trainings; default ``out/cells``.
        memory: gigabytes that maps of frozen trunks may take.
        draws, level, bootstrap_seed: of the interval by patient.
        report: whether ``report.html`` is written.
    """

    suite: str
    data: Path | str
    out: Path
    trunk: str = "timm:resnet50"
    weights: str | None = None
    checkpoint: str = "best"
    split: Path | None = None
    fold: str | None = None
    seeds: int | None = None
    preset: str = "clean"
    changes: tuple[str, ...] = ()
    cells: Path | None = None
    memory: float = 4.0
    draws: int = 1000
    level: float = 0.95
    bootstrap_seed: int = 0
    report: bool = True


@dataclass(frozen=True)
class Planned:
    """A protocol with its films."""

    protocol: LocalizedProtocol
    films: TaskFilms

    @property
    def line(self) -> str:
        """What would be trained, in words."""
        protocol, films = self.protocol, self.films
        config = protocol.config(protocol.learning_rates[0], 0, len(films.train)).of_films(len(films.train))
        batches = batches_per_epoch(len(films.train), config.batch_size, keep_last=config.keep_last)
        search = protocol.trainings - protocol.seeds
        sizes = f"{len(films.train)} / {len(films.validation)} / {len(films.test)} films"
        missing = f" ({films.absent} of the list are not in the store)" if films.absent else ""
        together = ", together on maps computed once" if protocol.is_linear_grid else ""
        return (
            f"{protocol.id} ({protocol.preset}): {protocol.source}, {sizes}{missing}; {protocol.trainings} trainings "
            f"({search} learning rates, {protocol.seeds} seeds{together}) of at most {config.max_epochs} "
            f"epochs of {batches} batches"
        )


@dataclass(frozen=True)
class Plan:
    """What is to be run, and which protocols of the suite have no store (with the reason)."""

    tasks: tuple[Planned, ...]
    skipped: dict[str, str]


def plan_localized(request: LocalizedRequest) -> Plan:
    """Look up protocols, stores and films. No trunk is needed and nothing is computed.

    Of a suite, protocols whose store is not there are skipped.

    Raises:
        ConfigError: an unknown suite, protocol or change; or there is no store for any protocol.
        DataError, StoreError: a store or a split list cannot be used.
    """
    protocols = protocols_of(request.suite, request.preset, request.changes)
    if request.seeds is not None:
        if request.seeds < 1:
            raise ConfigError(f"{request.seeds} seeds are none.", field="--seeds")
        protocols = [_with_seeds(protocol, request.seeds) for protocol in protocols]
    stores = _Stores(request.data)
    tasks, skipped = [], {}
    for protocol in protocols:
        found = stores.of(protocol)
        if isinstance(found, str):
            skipped[protocol.id] = found
        else:
            tasks.append(Planned(protocol, task_films(protocol, found, request.split, request.fold)))
    if not tasks:
        raise DataError(
            f"there is no store for {request.suite}: {_first(list(skipped.values()))}.",
            file=request.data,
            remedy="Give a prepared store, or a folder of stores named by their source (docs/localized.md).",
        )
    return Plan(tuple(tasks), skipped)


class _Stores:
    """Stores by source, each opened once."""

    def __init__(self, data: Path | str) -> None:
        self._data = data
        self._is_store = has_store(data)
        self._opened: dict[Path | str, Store] = {}

    def of(self, protocol: LocalizedProtocol) -> Store | str:
        """The store of a protocol, or why there is none."""
        name = protocol.legacy.store if protocol.preset == "legacy" and protocol.legacy.store else protocol.source
        place = self._data if self._is_store else below(self._data, name)
        store = self._opened.get(place)
        if store is None:
            if not has_store(place):
                return f"there is no store '{name}'"
            store = self._opened[place] = open_whole(place)
        source = store.manifest.inputs.source
        return (
            store
            if source == protocol.source
            else f"'{Path(place).name}' is a store of {source}, not {protocol.source}"
        )


def _with_seeds(protocol: LocalizedProtocol, seeds: int) -> LocalizedProtocol:
    if protocol.seed_list and seeds > len(protocol.seed_list):
        known = ", ".join(map(str, protocol.seed_list))
        raise ConfigError(
            f"protocol '{protocol.id}' has the seeds {known}; there are no {seeds}.",
            field="--seeds",
            remedy="Ask for fewer, or name others with --set seed_list=[...].",
        )
    return protocol.model_copy(update={"seeds": seeds})


def _first(reasons: Sequence[str]) -> str:
    return reasons[0] if reasons else "it has no protocol"
