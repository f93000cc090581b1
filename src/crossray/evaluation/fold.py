"""One fold of an evaluation: which cells it needs, and what each of them depends on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossray.data.augment import evaluation_window
from crossray.data.splits import SplitList
from crossray.data.store import Store
from crossray.evaluation.cells import Arrays, Cells, flatten, unflatten
from crossray.evaluation.cohort import Cohort, build_cohort
from crossray.evaluation.finetune import FinetuneConfig, Progress
from crossray.evaluation.grounding_floors import GroundingFloors
from crossray.evaluation.grounding_task import Judge, grounding_floor_task, grounding_task
from crossray.evaluation.models import FloorModel, RunModel, floor_encoder
from crossray.evaluation.phrases import KnownPhrases, known_phrases
from crossray.evaluation.prompts import CLASS_PROMPT, load_prompts
from crossray.evaluation.protocol import TEXT_TASKS, EvaluationConfig, Protocol
from crossray.evaluation.rows import Evaluated
from crossray.evaluation.runs import Run
from crossray.evaluation.tasks import finetune_task, probe_task, retrieval_task, ridge_task, zero_shot_task
from crossray.methods.base import GroundsPhrases

IMAGENET = Evaluated("ImageNet", kind="floor")
UNTRAINED = Evaluated("untrained trunk", kind="floor")
RIDGE = Evaluated("ridge to TF-IDF", kind="floor")
OTHER_FILM = Evaluated("its map on another film", kind="floor")

WITH_PROBE = "mean with the probe's log odds"
"""A variant of fine-tuning: two classifiers of one trunk that err at different films."""


def trunk_floor(run: Run) -> Evaluated:
    """What a run's trunk is measured against: itself with ImageNet's weights, or with the random ones it began with."""
    return UNTRAINED if run.model.image_encoder.pretrained == "none" else IMAGENET


#: Raised when what a task computes changes: cells made before are then made again.
CELL_VERSION = 2


@dataclass(frozen=True)
class FoldEvaluation:
    """A run on the test side of its fold; every method returns what was evaluated → its cell."""

    run: Run
    store: Store
    split: SplitList
    protocol: Protocol
    config: EvaluationConfig
    cells: Cells
    say: Progress

    @property
    def pretrained(self) -> Evaluated:
        """What the run's lines in the tables are called."""
        return Evaluated(f"pretrained ({self.run.method})")

    @property
    def trained(self) -> str:
        """What was trained, for the record of results."""
        return f"{self.run.path.name}, weights {self.run.weights_hash[:16]}"

    @property
    def weights(self) -> str:
        """Hash of everything that was learned."""
        return self.run.weights_hash

    @property
    def method_settings(self) -> object:
        """What decides how films and texts are scored, beside the weights."""
        return self.run.model.method.model_dump(mode="json")

    @cached_property
    def cohort(self) -> Cohort:
        """The fold's studies."""
        fold, protocol = self.split.fold(self.run.fold), self.protocol
        return build_cohort(self.store, fold, protocol.labels, protocol.views, self.run.model.text)

    @cached_property
    def model(self) -> RunModel:
        """The run's model, not loaded before a cell needs it."""
        return RunModel(self.run, self.store, self.config.batch_size)

    @cached_property
    def floor(self) -> FloorModel:
        """The floor's trunk."""
        return FloorModel(self.run.model.image_encoder, self.run.model.image, self.store, self.config.batch_size)

    @property
    def has_floors(self) -> bool:
        """Whether floors were asked for."""
        return "floors" in self.config.tasks

    def evaluate(self) -> dict[str, dict[Evaluated, Arrays]]:
        """The cells of every task that was asked for and can be done."""
        methods: dict[str, Callable[[], dict[Evaluated, Arrays]]] = {
            "retrieval": self.retrieval,
            "zero_shot": self.zero_shot,
            "grounding": self.grounding,
            "probe": self.probe,
            "finetune": self.finetune,
        }
        found: dict[str, dict[Evaluated, Arrays]] = {}
        for task in (name for name in methods if name in self.config.tasks):
            why_not = self.obstacle(task)
            if why_not:
                self.say(f"fold {self.run.fold}: {task} is skipped, {why_not}")
            else:
                found[task] = methods[task]()
        return found

    def obstacle(self, task: str) -> str:
        """Why a task cannot be done with this run and store, in words; empty if it can."""
        if task in TEXT_TASKS and not self._abilities["reads_reports"]:
            return f"{self.run.method} reads no reports"
        if task == "grounding" and not self._abilities["grounds_phrases"]:
            return f"{self.run.method} does not say where a phrase points"
        if task == "grounding" and not len(self.test_phrases):
            return "no phrase of the test side has a known place on its film"
        return ""

    @cached_property
    def test_phrases(self) -> KnownPhrases:
        """Phrases of the test side whose place is known."""
        return known_phrases(self.store, self.cohort.test, self.protocol.grounding)

    def retrieval(self) -> dict[Evaluated, Arrays]:
        """Ranks by the fused score, by its two parts where there are two, and by the ridge."""
        named = unflatten(self._of_scores("retrieval", {}, lambda: flatten(self.retrieval_scores())))
        found = {self.pretrained: named.pop("fused")}
        found |= {Evaluated(self.pretrained.model, f"{name} score", "variant"): cell for name, cell in named.items()}
        if self.has_floors:
            config = self.config.ridge
            found[RIDGE] = self._of_floor(
                "ridge", config.model_dump(mode="json"), lambda: ridge_task(self._floor_features(), self.cohort, config)
            )
        return found

    def retrieval_scores(self) -> dict[str, Arrays]:
        """Cells of the test side by the score that counts, ``fused``, and by its parts where it has any."""
        return retrieval_task(self.model, self.cohort)

    def zero_shot(self) -> dict[Evaluated, Arrays]:
        """Scores by the configured scorer and by its variants."""
        config = self.config.zero_shot
        bank = load_prompts(config.bank, seed=config.seed).model_dump(mode="json")
        depends = {"scorer": config.model_dump(mode="json"), "bank": bank, "class_prompt": CLASS_PROMPT}
        cell = self._of_scores("zero-shot", depends, lambda: flatten(self.zero_shot_scores()))
        return {
            Evaluated(self.pretrained.model, name, "model" if name == config.name else "variant"): arrays
            for name, arrays in unflatten(cell).items()
        }

    def zero_shot_scores(self) -> dict[str, Arrays]:
        """Cells of the test side by the configured scorer and its variants, by name."""
        return zero_shot_task(self.model, self.cohort, self.protocol.labels, self.config.zero_shot)

    def grounding(self) -> dict[Evaluated, Arrays]:
        """Scores of the run's maps of the test phrases, of its maps on other films, and of maps that never look."""
        config, ties = self.protocol.grounding, self.protocol.ties
        judge = Judge(self.cohort.test, self.test_phrases, config, ties)
        depends = {"grounding": config.model_dump(mode="json"), "ties": ties}
        window = evaluation_window(self.store.prepared_size, self.run.model.image)
        found = {
            self.pretrained: self._of_scores("grounding", depends, lambda: grounding_task(self.model, judge, window))
        }
        if self.has_floors:
            found[OTHER_FILM] = self._of_scores(
                "grounding-other-film", depends, lambda: grounding_task(self.model, judge, window, other_films=True)
            )
            # Made from boxes and words alone: the same for every encoder.
            made_from = {**self._data_dependence(), "task": depends}
            cell = self._cell("floor-grounding", made_from, lambda: flatten(self._grounding_floors(judge)))
            found |= {Evaluated(name, kind="floor"): arrays for name, arrays in unflatten(cell).items()}
        return found

    def probe(self) -> dict[Evaluated, Arrays]:
        """Logistic regression on the run's frozen features, and on the floor's."""
        config = self.config.probe
        depends = config.model_dump(mode="json")
        found = {
            self.pretrained: self._of_run(
                "probe", depends, lambda: probe_task(self._run_features(), self.cohort, config)
            )
        }
        if self.has_floors:
            found[trunk_floor(self.run)] = self._of_floor(
                "probe", depends, lambda: probe_task(self._floor_features(), self.cohort, config)
            )
        return found

    def finetune(self) -> dict[Evaluated, Arrays]:
        """Fine-tuning from the run's trunk, and from the floor's."""
        ours, theirs = (self.config.finetune.of_start(floor=floor) for floor in (False, True))

        def tune(model: RunModel | FloorModel, config: FinetuneConfig, title: str) -> Arrays:
            def say(line: str) -> None:
                self.say(f"fold {self.run.fold}, fine-tuning from {title}, {line}")

            return finetune_task(model, self.store, self.run.model.image, self.cohort, config, say)

        found = {
            self.pretrained: self._of_run("finetune", _recipe_of(ours), lambda: tune(self.model, ours, "pretrained"))
        }
        if self.has_floors:
            floor = trunk_floor(self.run)
            found[floor] = self._of_floor("finetune", _recipe_of(theirs), lambda: tune(self.floor, theirs, floor.model))
        return self.with_probes(found)

    def with_probes(self, found: dict[Evaluated, Arrays]) -> dict[Evaluated, Arrays]:
        """Beside each fine-tuned line its mean with the probe of the same trunk, if probes were asked for."""
        probes = self.probe() if "probe" in self.config.tasks else {}
        means = {
            Evaluated(who.model, WITH_PROBE, "variant"): {
                **cell,
                "scores": (cell["scores"] + probes[who]["scores"]) / 2,
            }
            for who, cell in found.items()
            if who in probes
        }
        return found | means

    def _grounding_floors(self, judge: Judge) -> dict[str, Arrays]:
        train = known_phrases(self.store, self.cohort.train, judge.config)
        return grounding_floor_task(GroundingFloors(train, judge.config), judge)

    @cached_property
    def _abilities(self) -> Arrays:
        """What the run's method can do; a cell, so that a finished evaluation is repeated without loading the run."""

        def look() -> Arrays:
            method = self.model.joint.method
            return {
                "reads_reports": np.array(method.reads_reports),
                "grounds_phrases": np.array(isinstance(method, GroundsPhrases)),
            }

        return self._cell("pretrained-abilities", {"weights": self.run.weights_hash}, look)

    def _run_features(self) -> list[NDArray[np.float32]]:
        return [self.model.features(part.films) for part in self._parts]

    def _floor_features(self) -> list[NDArray[np.float32]]:
        """The floor's features of the three parts; kept as a cell of all films, for they are the same in every fold."""
        films = np.unique(np.concatenate([part.films for part in self._parts]))
        depends = {"films": films.tolist(), **self._floor_dependence(), "store": self.store.hash}
        cell = self.cells.get("imagenet-features", depends, lambda: {"features": self.floor.features(films)})
        return [cell["features"][np.searchsorted(films, part.films)] for part in self._parts]

    @property
    def _parts(self) -> tuple[Any, Any, Any]:
        return self.cohort.train, self.cohort.validation, self.cohort.test

    def _of_run(self, task: str, depends: dict[str, Any], make: Callable[[], Arrays]) -> Arrays:
        made_from = {"weights": self.weights, **self._data_dependence(), "task": depends}
        return self._cell(f"pretrained-{task}", made_from, make)

    def _of_scores(self, task: str, depends: dict[str, Any], make: Callable[[], Arrays]) -> Arrays:
        """A cell of what films and texts score: a method has settings for that which leave its weights as they are."""
        return self._of_run(task, {**depends, "method": self.method_settings}, make)

    def _of_floor(self, task: str, depends: dict[str, Any], make: Callable[[], Arrays]) -> Arrays:
        made_from = {**self._floor_dependence(), **self._data_dependence(), "task": depends}
        return self._cell(f"floor-{task}", made_from, make)

    def _cell(self, name: str, made_from: dict[str, Any], make: Callable[[], Arrays]) -> Arrays:
        def make_and_say() -> Arrays:
            self.say(f"fold {self.run.fold}: {name}")
            return make()

        return self.cells.get(f"fold{self.run.fold}/{name}", {"version": CELL_VERSION, **made_from}, make_and_say)

    def _data_dependence(self) -> dict[str, Any]:
        return {
            "store": self.store.hash,
            "split": self.split.hash,
            "fold": self.run.fold,
            "image": self.run.model.image.model_dump(mode="json"),
            "text": self.run.model.text.model_dump(mode="json"),
            "labels": list(self.protocol.labels),
            "views": list(self.protocol.views),
        }

    def _floor_dependence(self) -> dict[str, Any]:
        encoder = floor_encoder(self.run.model.image_encoder).model_dump(mode="json")
        return {"encoder": encoder, "image": self.run.model.image.model_dump(mode="json")}


def _recipe_of(config: FinetuneConfig) -> dict[str, Any]:
    """What a fine-tuned cell depends on: one starting point's recipe."""
    return config.model_dump(mode="json", exclude={"floor_trunk_learning_rate"})
