"""What is learned from a fold's labels: probes of films, of reports and of both, and fine-tuning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from crossray.evaluation.cells import Arrays, flatten, unflatten
from crossray.evaluation.finetune import FinetuneConfig
from crossray.evaluation.fold_cells import FoldCells
from crossray.evaluation.models import FloorModel, RunModel
from crossray.evaluation.report_probes import Features, beside, head_cells, words_of
from crossray.evaluation.rows import Evaluated
from crossray.evaluation.runs import Run
from crossray.evaluation.tasks import finetune_task, probe_task
from crossray.methods.joimternet.heads import Inputs
from crossray.methods.joimternet.method import JoImTeRNet

IMAGENET = Evaluated("ImageNet", kind="floor")
UNTRAINED = Evaluated("untrained trunk", kind="floor")
WORDS = Evaluated("words (TF-IDF)", kind="floor")
WORDS_AND_TRUNK = Evaluated("words and the floor's trunk", kind="floor")
FILM_ALONE = Evaluated("its film alone", kind="floor")
REPORT_ALONE = Evaluated("its report alone", kind="floor")

WITH_PROBE = "mean with the probe's log odds"
"""A variant of fine-tuning: two classifiers of one trunk that err at different films."""


def trunk_floor(run: Run) -> Evaluated:
    """What a run's trunk is measured against: itself with ImageNet's weights, or with the random ones it began with."""
    return UNTRAINED if run.model.image_encoder.pretrained == "none" else IMAGENET


@dataclass(frozen=True)
class FoldProbes(FoldCells):
    """Classifiers on what the run's encoders say of the training side; what was evaluated → its cell."""

    def probe(self) -> dict[Evaluated, Arrays]:
        """Logistic regression on the run's frozen features, and on the floor's."""
        found = {self.pretrained: self._probe_of("probe", lambda: self._run_features)}
        if self.has_floors:
            probing = self._probing(self._floor_features)
            found[trunk_floor(self.run)] = self._of_floor("probe", self._probe_recipe, probing)
        return found

    def text_probe(self) -> dict[Evaluated, Arrays]:
        """The same on the text encoder's vector of the report, and on the report's words."""
        found = {self.pretrained: self._probe_of("text-probe", lambda: self._text_features)}
        if self.has_floors:
            depends = {**self._data_dependence(), "task": {"probe": self._probe_recipe, "words": self._words_recipe}}
            found[WORDS] = self._cell("floor-words-probe", depends, self._probing(self._words))
        return found | self._published_heads("text")

    def joint_probe(self) -> dict[Evaluated, Arrays]:
        """The same on film and report side by side, and on each of them alone."""
        joint = self._probe_of("joint-probe", lambda: beside(self._run_features, self._text_features))
        found = {self.pretrained: joint}
        if self.has_floors:
            found[FILM_ALONE] = self._probe_of("probe", lambda: self._run_features)
            found[REPORT_ALONE] = self._probe_of("text-probe", lambda: self._text_features)
            depends = {"probe": self._probe_recipe, "words": self._words_recipe}
            probing = self._probing(lambda: beside(self._floor_features(), self._words()))
            found[WORDS_AND_TRUNK] = self._of_floor("words-joint-probe", depends, probing)
        return found | self._published_heads("both", "image")

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

    def _probe_of(self, name: str, features: Callable[[], Features]) -> Arrays:
        return self._of_run(name, self._probe_recipe, self._probing(features))

    def _probing(self, features: Callable[[], Features]) -> Callable[[], Arrays]:
        return lambda: probe_task(features(), self.cohort, self.config.probe)

    @property
    def _probe_recipe(self) -> dict[str, Any]:
        return self.config.probe.model_dump(mode="json")

    @property
    def _words_recipe(self) -> dict[str, Any]:
        """What decides a vocabulary."""
        return self.config.ridge.model_dump(mode="json", include={"min_document_frequency", "bigrams"})

    @cached_property
    def _text_features(self) -> Features:
        return [self.model.text_features(part.texts) for part in self._parts]

    def _words(self) -> Features:
        return words_of(self.cohort, self.config.ridge)

    def _published_heads(self, *inputs: Inputs) -> dict[Evaluated, Arrays]:
        """JoImTeRNet's own heads, where the run is one of JoImTeRNet."""
        if self.run.method != JoImTeRNet.name:
            return {}
        config = self.config.joimternet_head
        cell = self._of_run(
            f"head-{'-'.join(inputs)}",
            config.model_dump(mode="json"),
            lambda: flatten(head_cells(self.model, self.cohort, inputs, config, self.config.batch_size)),
        )
        return {Evaluated(self.pretrained.model, name, "variant"): own for name, own in unflatten(cell).items()}


def _recipe_of(config: FinetuneConfig) -> dict[str, Any]:
    """What a fine-tuned cell depends on: one starting point's recipe."""
    return config.model_dump(mode="json", exclude={"floor_trunk_learning_rate"})
