"""One fold of an evaluation: the cells of each task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from crossray.data.augment import evaluation_window
from crossray.errors import ConfigError, DataError
from crossray.evaluation.cells import Arrays, flatten, unflatten
from crossray.evaluation.class_retrieval_task import ListedStudies, class_retrieval_task, listed_studies
from crossray.evaluation.cohort import Part
from crossray.evaluation.fold_probes import FoldProbes
from crossray.evaluation.grounding_floors import GroundingFloors
from crossray.evaluation.grounding_task import Judge, grounding_floor_task, grounding_task
from crossray.evaluation.phrases import KnownPhrases, known_phrases
from crossray.evaluation.prompts import CLASS_PROMPT, load_prompts
from crossray.evaluation.protocol import TEXT_TASKS
from crossray.evaluation.retrieval_task import Gallery, galleries_of, ranked, ridge_gallery
from crossray.evaluation.rows import Evaluated
from crossray.evaluation.tasks import zero_shot_task
from crossray.inference.model import NO_PLACES
from crossray.methods.base import GroundsPhrases

RIDGE = Evaluated("ridge to TF-IDF", kind="floor")
OTHER_FILM = Evaluated("its map on another film", kind="floor")


@dataclass(frozen=True)
class FoldEvaluation(FoldProbes):
    """A run on the test side of its fold; every method returns what was evaluated → its cell."""

    def evaluate(self) -> dict[str, dict[Evaluated, Arrays]]:
        """The cells of every task that was asked for and can be done."""
        methods: dict[str, Callable[[], dict[Evaluated, Arrays]]] = {
            "retrieval": self.retrieval,
            "class_retrieval": self.class_retrieval,
            "zero_shot": self.zero_shot,
            "grounding": self.grounding,
            "probe": self.probe,
            "finetune": self.finetune,
            "text_probe": self.text_probe,
            "joint_probe": self.joint_probe,
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
        if task == "class_retrieval" and self.protocol.class_retrieval.file is None:
            try:
                _ = self.listed
            except (ConfigError, DataError) as error:
                return str(error)
        return ""

    @property
    def grounding_caveat(self) -> str:
        """What must be read with the run's figures and maps of phrases, or empty."""
        return "" if self._abilities["regions_are_places"] else NO_PLACES

    @cached_property
    def test_phrases(self) -> KnownPhrases:
        """Phrases of the test side whose place is known."""
        return known_phrases(self.store, self.cohort.test, self.protocol.grounding)

    def retrieval(self) -> dict[Evaluated, Arrays]:
        """Ranks by the fused score, by its two parts where there are two, and by the ridge."""
        test = self.cohort.test
        sizes = [size for size in self.protocol.pools if size <= len(test)]
        depends: dict[str, Any] = {"pools": sizes} if sizes else {}
        cell = self._of_scores(
            "retrieval", depends, lambda: _of_each(self.galleries(test), lambda g: ranked(g, test, sizes))
        )
        found = self._named(cell)
        if self.has_floors:
            config = self.config.ridge

            def rank() -> Arrays:
                gallery, chosen = ridge_gallery(self._floor_features(), self.cohort, config)
                return {**ranked(gallery, test, sizes), **chosen}

            found[RIDGE] = self._of_floor("ridge", {**config.model_dump(mode="json"), **depends}, rank)
        return found

    def class_retrieval(self) -> dict[Evaluated, Arrays]:
        """How many of the first K have the query's class, by the same scores as :meth:`retrieval`."""
        listed, config, ties = self.listed, self.protocol.class_retrieval, self.protocol.ties

        def judge(gallery: Gallery) -> Arrays:
            return class_retrieval_task(gallery, listed, config, ties)

        depends = {
            "list": config.model_dump(mode="json", exclude={"file"}),
            "studies": listed.part.study_ids,
            "ties": ties,
        }
        cell = self._of_scores("class-retrieval", depends, lambda: _of_each(self.galleries(listed.part), judge))
        found = self._named(cell)
        if self.has_floors:
            ridge = self.config.ridge

            def judge_ridge() -> Arrays:
                features = self._floor_features()
                features[2] = features[2][listed.rows]
                return judge(ridge_gallery(features, replace(self.cohort, test=listed.part), ridge)[0])

            found[RIDGE] = self._of_floor(
                "ridge-classes", {**depends, "ridge": ridge.model_dump(mode="json")}, judge_ridge
            )
        return found

    def galleries(self, part: Part) -> dict[str, Gallery]:
        """How films and reports of a part score, by the score that counts, ``fused``, and by its parts."""
        return galleries_of(self.model, part)

    @cached_property
    def listed(self) -> ListedStudies:
        """The test studies of one class alone: those of the list that was given, or drawn by the protocol."""
        return listed_studies(self.store, self.split, self.cohort, self.protocol.class_retrieval, self.protocol.views)

    def _named(self, cell: Arrays) -> dict[Evaluated, Arrays]:
        """A cell of the fused score and its parts, as lines of the table."""
        named = unflatten(cell)
        found = {self.pretrained: named.pop("fused")}
        return found | {
            Evaluated(self.pretrained.model, f"{name} score", "variant"): own for name, own in named.items()
        }

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
                "regions_are_places": np.array(method.regions_are_places),
            }

        # Earlier versions did not ask for places.
        return self._cell("pretrained-abilities", {"weights": self.run.weights_hash, "places": True}, look)


def _of_each(galleries: dict[str, Gallery], judge: Callable[[Gallery], Arrays]) -> Arrays:
    return flatten({name: judge(gallery) for name, gallery in galleries.items()})
