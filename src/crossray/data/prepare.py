"""From a source to a prepared store: select, prepare in parallel, count, publish."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from crossray.data.code_version import preparation_code
from crossray.data.funnel import Funnel, count_rules, quarantine_csv
from crossray.data.pool import available_cores, make_shards
from crossray.data.publish import check_replaceable, publish, recover, work_folder
from crossray.data.selection import Selection, select_studies
from crossray.data.shards import ShardJob, ShardOutcome, finished_shard
from crossray.data.sources.base import Rejected, Remark, Source
from crossray.data.sources.deidentified import pseudonym_key_of
from crossray.data.store_manifest import (
    MANIFEST_NAME,
    StoreInputs,
    StoreManifest,
    content_hash,
    read_manifest,
)
from crossray.data.study import Study, View
from crossray.errors import ConfigError, DataError, StoreError
from crossray.files import FileEntry, damages_of, explained_disk_errors, write_json, write_sealed_json, write_whole
from crossray.settings import Settings

FUNNEL_NAME = "funnel.json"
QUARANTINE_NAME = "quarantine.csv"

#: Studies a shard at least; more for large sources, so that no store has more shards than the second number.
_STUDIES_PER_SHARD, _MOST_SHARDS = 64, 256

Show = Callable[[int, int], None]


class PrepareConfig(Settings):
    """How films and labels are prepared.

    Attributes:
        size: side of the prepared square, in pixels; models crop from it, so leave them some margin.
        views: which films go in.
        labels: ``source``: the labels that the source ships; ``rules``: labels read from the report text
            (:mod:`crossray.data.findings`), for data that has none.
    """

    size: int = Field(default=256, ge=16, le=4096)
    views: tuple[View, ...] = Field(default=("frontal",), min_length=1)
    labels: Literal["source", "rules"] = "source"


@dataclass(frozen=True)
class Share:
    """The ``index``-th (from 0) of ``count`` shares of work."""

    index: int
    count: int

    @classmethod
    def of(cls, text: str) -> Share:
        """From words like ``1/4``, counted from 1.

        Raises:
            ConfigError: it is none.
        """
        number, _, count = text.partition("/")
        if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            raise ConfigError(f"'{text}' is no share.", field="--shard", remedy="Shares are 1/4, 2/4, 3/4 and 4/4.")
        return cls(int(number) - 1, int(count))


@dataclass(frozen=True)
class PrepareSummary:
    """What came of a preparation. ``changes`` say why an earlier store was stale."""

    path: Path
    up_to_date: bool
    changes: tuple[str, ...]
    manifest: StoreManifest
    funnel: Funnel


def prepare_store(
    source: Source,
    destination: Path,
    config: PrepareConfig,
    workers: int | None = None,
    show: Show | None = None,
) -> PrepareSummary:
    """Prepare a source into a store, or do nothing if the store there is whole and of the same source and config.

    Killed at any moment and called again it goes on where it was, with an identical result. The earlier store stays
    whole until the new one takes its place in one rename.

    Args:
        workers: processes; all cores by default.
        show: told (films done, films in all) now and then.

    Raises:
        DataError: the source cannot be used, or none of its studies can.
        StoreError: the place cannot be written to, or holds something else.
    """
    destination = destination.resolve()
    with explained_disk_errors(StoreError, destination):
        recover(destination)
    check_replaceable(destination)
    inputs = _inputs(source, config)
    earlier = _earlier_manifest(destination)
    if earlier is not None and earlier.inputs == inputs:
        return PrepareSummary(destination, True, (), earlier, read_funnel(destination))
    changes = tuple(inputs.changes_since(earlier.inputs)) if earlier is not None else ()
    selection = select_studies(source, config.views)
    if not selection.studies:
        raise _nothing_left(source, selection)
    with work_folder(destination, inputs.model_dump_json()) as folder:
        jobs = _plan(selection.studies, folder, config, _label_names(source, config))
        outcomes = _run(jobs, workers or available_cores(), show)
        manifest, funnel = _finish(folder, inputs, config, jobs, outcomes, selection)
        publish(folder, destination, {*manifest.files, MANIFEST_NAME})
    return PrepareSummary(destination, False, changes, manifest, funnel)


def prepare_share(
    source: Source,
    destination: Path,
    config: PrepareConfig,
    share: Share,
    workers: int | None = None,
    show: Show | None = None,
) -> int:
    """Make one share of a store's shards, beside other processes or hosts that make theirs; the number of shards.

    There is no store before :func:`prepare_store` is called: it finds the shards, makes those that are missing, and
    ends in the same bytes as if it had made all of them.

    Raises:
        DataError, StoreError: as :func:`prepare_store`; a store is being prepared there from other inputs.
    """
    destination = destination.resolve()
    check_replaceable(destination)
    selection = select_studies(source, config.views)
    if not selection.studies:
        raise _nothing_left(source, selection)
    with work_folder(destination, _inputs(source, config).model_dump_json(), shared=True) as folder:
        jobs = _plan(selection.studies, folder, config, _label_names(source, config))
        return len(_run(jobs[share.index :: share.count], workers or available_cores(), show))


def _inputs(source: Source, config: PrepareConfig) -> StoreInputs:
    return StoreInputs(
        source=source.name,
        fingerprint=source.fingerprint(),
        config=config.model_dump(mode="json"),
        code=preparation_code(source.name),
        pseudonym_key=pseudonym_key_of(source),
    )


def read_funnel(store: Path) -> Funnel:
    """The filter funnel of a prepared store."""
    return Funnel.model_validate(json.loads((store / FUNNEL_NAME).read_text(encoding="utf-8")))


def _earlier_manifest(destination: Path) -> StoreManifest | None:
    try:
        manifest = read_manifest(destination)
    except StoreError:
        return None
    return None if damages_of(destination, manifest.files) else manifest


def _label_names(source: Source, config: PrepareConfig) -> tuple[str, ...]:
    if config.labels == "source":
        return tuple(source.label_names)
    from crossray.data.findings import FINDINGS

    return tuple(FINDINGS)


def _plan(
    studies: Sequence[Study], folder: Path, config: PrepareConfig, label_names: tuple[str, ...]
) -> list[ShardJob]:
    # The plan depends on the studies alone: the same shards whatever the number of workers.
    each = max(_STUDIES_PER_SHARD, -(-len(studies) // _MOST_SHARDS))
    return [
        ShardJob(index, folder, tuple(studies[start : start + each]), config.size, config.labels, label_names)
        for index, start in enumerate(range(0, len(studies), each))
    ]


def _run(jobs: list[ShardJob], workers: int, show: Show | None) -> list[ShardOutcome]:
    films = [sum(len(study.films) for study in job.studies) for job in jobs]
    kept = {job.index: outcome for job in jobs if (outcome := finished_shard(job)) is not None}
    already = sum(films[index] for index in kept)
    to_do = [job for job in jobs if job.index not in kept]

    def report(done: int) -> None:
        if show is not None:
            show(already + done, sum(films))

    report(0)
    made = make_shards(to_do, workers, report)
    kept.update({job.index: outcome for job, outcome in zip(to_do, made, strict=True)})
    return [kept[job.index] for job in jobs]


def _finish(
    folder: Path,
    inputs: StoreInputs,
    config: PrepareConfig,
    jobs: list[ShardJob],
    outcomes: list[ShardOutcome],
    selection: Selection,
) -> tuple[StoreManifest, Funnel]:
    events = [*selection.events, *(event for outcome in outcomes for event in outcome.rejections())]
    funnel = _funnel(selection, outcomes, events)
    if funnel.studies_out == 0:
        raise DataError(f"no film of {inputs.source} could be prepared. {_example(events)}")
    files = {name: entry for outcome in outcomes for name, entry in outcome.files.items()}
    with explained_disk_errors(StoreError, folder):
        write_whole(folder / QUARANTINE_NAME, quarantine_csv(events))
        write_json(folder / FUNNEL_NAME, funnel.model_dump(mode="json"))
        for name in (QUARANTINE_NAME, FUNNEL_NAME):
            files[name] = FileEntry.of(folder / name)
        manifest = StoreManifest(
            inputs=inputs,
            prepared_size=config.size,
            label_names=jobs[0].label_names,
            studies=funnel.studies_out,
            films=funnel.films_out,
            shards=len(jobs),
            files=files,
            hash=content_hash(jobs[0].label_names, config.size, files),
        )
        write_sealed_json(folder / MANIFEST_NAME, manifest.model_dump(mode="json"))
    return manifest, funnel


def _funnel(selection: Selection, outcomes: list[ShardOutcome], events: list[Rejected | Remark]) -> Funnel:
    studies, films, remarks = count_rules(events)
    film_rules = Counter(films) + selection.film_rules
    return Funnel(
        studies_in=selection.studies_in,
        studies_out=sum(outcome.studies for outcome in outcomes),
        study_rules=studies,
        films_in=selection.films_in,
        films_out=sum(outcome.films for outcome in outcomes),
        film_rules=dict(film_rules),
        remarks=remarks,
    )


def _nothing_left(source: Source, selection: Selection) -> DataError:
    return DataError(
        f"none of the {selection.studies_in} studies of {source.name} is left. {_example(selection.events)}"
    )


def _example(events: list[Rejected | Remark]) -> str:
    studies, _, _ = count_rules(events)
    if not studies:
        return ""
    rule = max(studies, key=lambda name: studies[name])
    first = next(event for event in events if event.rule == rule)
    return f"{studies[rule]} fell to the rule '{rule}', for example study '{first.study_id}': {first.reason}"
