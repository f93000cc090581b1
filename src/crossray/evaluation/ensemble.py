"""Runs that score together: of one fold each, trained with other seeds or by other methods.

Every member says its own, in its own scale, and the mean of what they say is what is ranked. Scores are brought to one
scale before: in retrieval each member's are standardised over the gallery, as its global and local scores already are;
of zero-shot scores each class is divided by its deviation on the validation side, so that what a film gets depends on
no other film of the test side; the probes' and the fine-tuned classifiers' log odds are in one scale as they are.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from crossray.errors import ConfigError
from crossray.evaluation.cells import Arrays
from crossray.evaluation.cohort import Part
from crossray.evaluation.fold import FoldEvaluation
from crossray.evaluation.fold_probes import FILM_ALONE, REPORT_ALONE
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.retrieval import IntArray, zscore_over
from crossray.evaluation.retrieval_task import Gallery, galleries_of
from crossray.evaluation.rows import Evaluated
from crossray.evaluation.tasks import classification_arrays, zero_shot_task


@dataclass(frozen=True)
class EnsembleFold(FoldEvaluation):
    """One fold of an ensemble; its first member stands for it where only one can, such as for the floors."""

    members: tuple[FoldEvaluation, ...] = ()

    @classmethod
    def of(cls, members: Sequence[FoldEvaluation]) -> EnsembleFold:
        """Members of one fold.

        Raises:
            ConfigError: they are not of one fold, or do not read the same part of reports.
        """
        first = members[0]
        for other in members[1:]:
            for name in ("fold", "text"):
                own, wanted = _compared(other, name), _compared(first, name)
                if own != wanted:
                    raise ConfigError(
                        f"{first.run.path} and {other.run.path} differ in {name} ({wanted} and {own}).",
                        remedy="Members of an ensemble are compared on the same pairs: pretrain them on the same text.",
                    )
        return cls(
            **{name: getattr(first, name) for name in FoldEvaluation.__dataclass_fields__},
            members=(first, *map(_without_floors, members[1:])),
        )

    @property
    def pretrained(self) -> Evaluated:
        """``ensemble (2 × global_local, convirt)``."""
        counts = Counter(member.run.method for member in self.members)
        names = ", ".join(name if count == 1 else f"{count} × {name}" for name, count in counts.items())
        return Evaluated(f"ensemble ({names})")

    @property
    def trained(self) -> str:
        """All members."""
        return "; ".join(member.trained for member in self.members)

    @property
    def weights(self) -> str:
        """Hash of the members' hashes."""
        return hashlib.sha256(" ".join(member.weights for member in self.members).encode()).hexdigest()

    @property
    def method_settings(self) -> object:
        """Those of each member."""
        return [member.method_settings for member in self.members]

    def obstacle(self, task: str) -> str:
        """Why a task cannot be done, in words; empty if every member can."""
        if task == "grounding":
            return "an ensemble does not say where a phrase points"
        return next((why for member in self.members if (why := member.obstacle(task))), "")

    def galleries(self, part: Part) -> dict[str, Gallery]:
        """The mean of the members' scores, each standardised among the candidates."""
        fused = [galleries_of(member.model, part)["fused"] for member in self.members]

        def mean(rows: IntArray) -> tuple[FloatArray, FloatArray]:
            texts, films = np.zeros((2, len(rows), len(rows)))
            for gallery in fused:
                to_texts, to_films = gallery(rows)
                texts += zscore_over(to_texts, axis=1)
                films += zscore_over(to_films, axis=0)
            return texts / len(fused), films / len(fused)

        return {"fused": mean}

    def zero_shot_scores(self) -> dict[str, Arrays]:
        """Means of the members' scores; where a scorer asks for local scores, a member without has its headline's."""
        labels, config = self.protocol.labels, self.config.zero_shot
        by_member: list[dict[str, FloatArray]] = []
        for member in self.members:
            tests, validations = (
                zero_shot_task(member.model, replace(self.cohort, test=part), labels, config)
                for part in (self.cohort.test, self.cohort.validation)
            )
            by_member.append({name: _in_deviations(cell, validations[name]) for name, cell in tests.items()})
        names = dict.fromkeys(name for own in by_member for name in own)
        return {
            name: classification_arrays(
                self.cohort.test, np.mean([own.get(name, own[config.name]) for own in by_member], axis=0)
            )
            for name in names
        }

    def probe(self) -> dict[Evaluated, Arrays]:
        """The mean of the members' probes."""
        return self._mean([member.probe() for member in self.members])

    def finetune(self) -> dict[Evaluated, Arrays]:
        """The mean of the classifiers that the members were fine-tuned to."""
        return self.with_probes(self._mean([member.finetune() for member in self.members]))

    def text_probe(self) -> dict[Evaluated, Arrays]:
        """The mean of the members' probes of the report."""
        return self._mean([member.text_probe() for member in self.members])

    def joint_probe(self) -> dict[Evaluated, Arrays]:
        """The mean of the members' probes of film and report, beside the means of those that read one of them."""
        found = self._mean([member.joint_probe() for member in self.members])
        alone = {FILM_ALONE: self.probe, REPORT_ALONE: self.text_probe}
        return found | {who: probe()[self.pretrained] for who, probe in alone.items() if who in found}

    def _mean(self, found: Sequence[Mapping[Evaluated, Arrays]]) -> dict[Evaluated, Arrays]:
        own = [cells[member.pretrained] for cells, member in zip(found, self.members, strict=True)]
        scores: FloatArray = np.mean([cell["scores"] for cell in own], axis=0)
        floors = {who: cell for who, cell in found[0].items() if who.kind == "floor"}
        return {self.pretrained: classification_arrays(self.cohort.test, scores)} | floors


def _in_deviations(cell: Arrays, validation: Arrays) -> FloatArray:
    """Scores ``[N, K]`` in units of each class's deviation on the validation side; a constant class stays as it is."""
    spread = validation["scores"].std(axis=0)
    scaled: FloatArray = cell["scores"] / np.where(spread > 0, spread, 1.0)
    return scaled


def _without_floors(member: FoldEvaluation) -> FoldEvaluation:
    tasks = tuple(task for task in member.config.tasks if task != "floors")
    return replace(member, config=member.config.model_copy(update={"tasks": tasks}))


def _compared(member: FoldEvaluation, name: str) -> object:
    return member.run.fold if name == "fold" else getattr(member.run.model, name).model_dump(mode="json")
