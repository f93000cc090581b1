"""The demo: draw phantom studies, train a small model on them, evaluate it, and write one report."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from pydantic import Field

from crossray.data.prepare import PrepareConfig, Show, prepare_store
from crossray.data.sources.phantom import PhantomConfig, PhantomSource
from crossray.data.split_files import write_split
from crossray.data.split_table import SplitTable, split_table
from crossray.data.store import Store
from crossray.errors import CrossRayError
from crossray.evaluation.evaluate import EvaluationRequest, evaluate_runs
from crossray.evaluation.report import REPORT_FILE
from crossray.evaluation.report.facts import Headline, headlines
from crossray.evaluation.validator import RetrievalValidator
from crossray.files import explained_disk_errors
from crossray.settings import Settings
from crossray.training.pretrain import pretrain
from crossray.training.recipe import load_recipe
from crossray.training.session import RunSummary

PROTOCOL = "phantom-demo"
"""Name of the split and of the evaluation protocol that belongs to it."""

FILM_SIZE = 112

TEST_FRACTION = 0.3
"""More than a fifth of the phantom's studies are tied together by a few stock reports of normal films: a side that may
have to take all of them must be larger than that."""

Say = Callable[[str], None]


class DemoConfig(Settings):
    """How much the demo draws, and what is laid over its recipe (``training.epochs=2``)."""

    studies: int = Field(default=1300, ge=40)
    seed: int = Field(default=0, ge=0)
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class DemoOutcome:
    """The training's account, the figures that head the report, and the report; no report if training was stopped."""

    summary: RunSummary
    headlines: tuple[Headline, ...] = ()
    report: Path | None = None


def run_demo(
    out: Path, config: DemoConfig, *, say: Say, progress: Callable[[], AbstractContextManager[Show]]
) -> DemoOutcome:
    """Everything from drawing to the report, in ``out``; what an earlier call finished there is not done again.

    Args:
        out: gets ``store``, ``split.json``, ``run`` and ``report`` (with ``report.html``).
        config: how much of it.
        say: is told each step and each piece of the evaluation.
        progress: opens the progress bar of the preparation.

    Raises:
        CrossRayError: the folder cannot be written to, or holds a demo with another configuration.
    """
    say(f"1/3  Drawing {config.studies} phantom studies")
    with progress() as show:
        store = _prepare(out, config, show)
    split = _split(store, out / "split.json")
    say("2/3  Training")
    with as_file(files("crossray.recipes") / "demo.yaml") as recipe:
        # As JSON, which is YAML too: a path may hold any character.
        places = (f"data.store={json.dumps(str(out / 'store'))}", f"data.split={json.dumps(str(split))}")
        summary = pretrain(
            load_recipe(recipe, (*places, *config.overrides)), out / "run", validator=RetrievalValidator()
        )
    if summary.outcome == "interrupted":
        return DemoOutcome(summary)
    say("3/3  Evaluating")
    request = EvaluationRequest((out / "run",), out / "report", tasks="retrieval,zero_shot,probe,floors")
    results = evaluate_runs(request, progress=lambda line: say(f"     {line}"))
    return DemoOutcome(summary, tuple(headlines(results)), request.out / REPORT_FILE)


def _prepare(out: Path, config: DemoConfig, show: Show) -> Store:
    phantom = PhantomConfig(count=config.studies, seed=config.seed, difficulty="easy", size=FILM_SIZE)
    with explained_disk_errors(CrossRayError, out):
        out.mkdir(parents=True, exist_ok=True)
    prepare_store(PhantomSource(phantom), out / "store", PrepareConfig(size=FILM_SIZE), show=show)
    return Store.open(out / "store")


def _split(store: Store, path: Path) -> Path:
    made = split_table(SplitTable.from_store(store), test_fraction=TEST_FRACTION, protocol=PROTOCOL)
    with explained_disk_errors(CrossRayError, path):
        write_split(made, path)
    return path
