"""What is planted in studies, and near misses of it: identifiers, patients, reports and labels."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import product

import yaml

from crossray.data.findings import FINDINGS
from crossray.data.reports import parse_report
from crossray.data.splits import SIDES, Side
from crossray.data.study import Study

TWO_SIDES: tuple[tuple[Side, Side], ...] = (("train", "test"), ("train", "validation"), ("validation", "test"))

#: Beside the CheXpert classes: a label that is known by its name alone.
OWN_LABELS = ("Hilar mass", "Mass")


@dataclass(frozen=True)
class Case:
    """A plant or a near miss.

    Attributes:
        kind: the audit's finding that must name it, or must not.
        form: how it looks, in a few words.
        planted: whether it is there, or only looks so.
        studies: the studies that it stands in.
        sides: the side of each.
    """

    kind: str
    form: str
    planted: bool
    studies: tuple[Study, ...]
    sides: tuple[Side, ...]


class Bases:
    """Phantom studies, one after another, each with a patient and a report of its own."""

    def __init__(self, studies: Iterator[Study]) -> None:
        self._studies = studies
        self._count = 0

    def next(self, text: str | None = None, patient: str | None = "") -> Study:
        """The next study; ``text`` takes the place of its report, ``patient`` of its patient's id."""
        self._count += 1
        own = f"FINDINGS: Seen as film {self._count} of the series. No effusion is seen in ___ since XXXX."
        return replace(
            next(self._studies),
            patient_id=f"patient {self._count}" if patient == "" else patient,
            report=parse_report(text.format(number=self._count) if text is not None else own),
            labels={},
            phrase_regions=(),
        )

    def pair(self, texts: Sequence[str | None] = (None, None)) -> tuple[Study, Study]:
        """Two next studies with these reports."""
        return self.next(texts[0]), self.next(texts[1])


def planted_sentences() -> dict[str, dict[str, list[str]]]:
    """Of each kind of identifier the sentences ``planted``, with one each, and ``near_misses``, with none."""
    text = files("benchmarks.planted_audit").joinpath("texts.yaml").read_text(encoding="utf-8")
    content: dict[str, dict[str, list[str]]] = yaml.safe_load(text)
    return content


def cases_in_text(bases: Bases) -> Iterator[Case]:
    """One sentence a study: an identifier of each kind in a form of its own, and what may be taken for one."""
    content = planted_sentences()
    for number, (kind, planted) in enumerate(product(content, (True, False))):
        for sentence in content[kind]["planted" if planted else "near_misses"]:
            written = sentence.replace("{", "{{").replace("}", "}}")
            study = bases.next(f"FINDINGS: Film {{number}} of the series is unchanged. {written}")
            yield Case(f"report: {kind}", sentence, planted, (study,), (SIDES[number % 3],))


def cases_of_patients(bases: Bases) -> Iterator[Case]:
    """Patients with studies on two sides, and patients that only look so."""
    kind, rng = "patients across sides", random.Random(5)
    for sides, count in product(TWO_SIDES, (2, 3, 5)):
        for _ in range(4):
            patient = f"P{rng.randrange(10**6):06d}"
            given = (*sides, *(rng.choice(sides) for _ in range(count - 2)))
            studies = tuple(bases.next(patient=patient) for _ in given)
            yield Case(kind, f"{count} studies, {sides[0]} and {sides[1]}", True, studies, given)
    for number in range(5):
        for side in SIDES:
            studies = tuple(bases.next(patient=f"Q{number}{side}") for _ in range(3))
            yield Case(kind, "three studies on one side", False, studies, (side,) * 3)
    for (one, other), sides in product(
        (("R12", "R120"), ("R0012", "R12x"), ("R-7", "R_7"), ("S1/2", "S12"), ("s77", "S77b"), (None, None)), TWO_SIDES
    ):
        named = tuple(patient and f"{patient}{sides[0]}{sides[1]}" for patient in (one, other))
        form = "two unknown patients" if one is None else "ids alike"
        yield Case(kind, form, False, tuple(bases.next(patient=patient) for patient in named), sides)


_SAME_REPORT = {
    "letter for letter": ("{a}", "{a}"),
    "in capitals": ("{a}", "{A}"),
    "other white space": ("{a}", "{wide}"),
    "other lines": ("{a}", "{lines}"),
    "without full stops": ("{a}", "{bare}"),
    "other dashes and commas": ("{a}", "{dashed}"),
    "another indication": ("INDICATION: Cough.\n\n{a}", "INDICATION: Fever since Sunday.\n\n{a}"),
    "another comparison": ("COMPARISON: None.\n\n{a}", "COMPARISON: Film of last year.\n\n{a}"),
    "without its indication": ("INDICATION: Cough.\n\n{a}", "{a}"),
    "marks of de-identification": ("{a} Seen by ___.", "{a} Seen by XXXX."),
    "a numbered impression": ("{a}\n\nIMPRESSION:\nNormal heart.", "{a}\n\nIMPRESSION:\n1. Normal heart."),
}
_OTHER_REPORT = {
    "one word more": ("{a} No nodule is seen.", "{a} No large nodule is seen."),
    "without its no": ("{a} No nodule is seen.", "{a} A nodule is seen."),
    "the other side": ("{a} Small left nodule.", "{a} Small right nodule."),
    "another size": ("{a} Nodule of 4 mm.", "{a} Nodule of 5 mm."),
    "other order": ("{a} No nodule. No mass.", "{a} No mass. No nodule."),
    "one sentence more": ("{a}", "{a} The bones are intact."),
    "another impression": ("{a}\n\nIMPRESSION: Normal chest.", "{a}\n\nIMPRESSION: Stable chest."),
    "another number of the same word": ("{a} Nodule.", "{a} Nodules."),
    "another word of few letters": ("{a} Lines in place.", "{a} Lines on place."),
}


def cases_of_reports(bases: Bases) -> Iterator[Case]:
    """Reports that are the same to a reader on two sides, the same on one side, and others that differ in a word."""
    kind = "reports across sides"
    for planted, forms in ((True, _SAME_REPORT), (False, _OTHER_REPORT)):
        for (form, (one, other)), sides in product(forms.items(), TWO_SIDES):
            ways = _written(f"{form}, {sides[0]} and {sides[1]}")
            yield Case(kind, form, planted, bases.pair((one.format(**ways), other.format(**ways))), sides)
    for number in range(2):
        for side in SIDES:
            text = _written(f"twice, {side} {number}")["a"]
            yield Case(kind, "the same on one side", False, bases.pair((text, text)), (side, side))


def _written(key: str) -> dict[str, str]:
    """One report of its own for each key, in several ways of writing it."""
    drawn = random.Random(key)
    own = " ".join("".join(drawn.choices("bcdfgklmnprst", k=5)) for _ in range(3))
    text = f"FINDINGS: The heart is normal, seen with {own}. Clear lungs. No pleural effusion."
    return {
        "a": text,
        "A": text.upper(),
        "wide": text.replace(" ", "  "),
        "lines": text.replace(". ", ".\n"),
        "bare": text.replace(".", ""),
        "dashed": text.replace(", ", " - "),
    }


_NAMED = {
    "Edema": ("Pulmonary edema.", "PULMONARY EDEMA.", "Interstitial edema is seen.", "No edema.", "Mild oedema."),
    "Cardiomegaly": ("Cardiomegaly.", "The heart is enlarged.", "Enlarged heart.", "Enlarged cardiac silhouette."),
    "Pneumothorax": ("Small pneumothorax.", "Apical ptx.", "No pneumothorax.", "Hydropneumothorax on the left."),
    "Pleural Effusion": ("Left pleural effusion.", "Bilateral effusions.", "Small pleural fluid."),
    "Atelectasis": ("Basal atelectasis.", "Atelectatic bands.", "Bibasilar atelectases."),
    "Pneumonia": ("Lobar pneumonia.", "PNEUMONIA CANNOT BE RULED OUT.", "Bronchopneumonia."),
    "Consolidation": ("Consolidation in the right base.", "Consolidated lower lobe."),
    "Fracture": ("Rib fracture.", "Fractured ribs."),
    "Support Devices": ("Pacemaker in place.", "Endotracheal tube in place."),
    "Lung Opacity": ("Patchy opacity.", "Ground-glass opacities."),
    "Hilar mass": ("Hilar mass on the left.", "HILAR MASS.", "A hilar\nmass is seen."),
}  # fmt: skip
_NOT_NAMED = {
    "Edema": ("Full vessels, septal lines.", "Swollen vessels.", "Hilar haze of vessels."),
    "Cardiomegaly": ("A ratio of 0.6.", "The apex lies far to the left.", "Wide shadow."),
    "Pneumothorax": ("A pleural line without vessels beyond it.", "Deep sulcus on the left.", "The lung is collapsed."),
    "Pleural Effusion": ("The costophrenic angle is not seen.", "A meniscus on the left.", "Blunt angle."),
    "Atelectasis": ("Volume loss with shift of the fissure.", "Raised diaphragm.", "Plates at the base."),
    "Pneumonia": ("Air bronchogram in the right base.", "Fever and cough with a shadow.", "Antibiotics are given."),
    "Fracture": ("A step in the sixth rib.", "Callus on the left.", "Displaced rib."),
    "Consolidation": ("Air bronchogram on the left.", "White lower lobe.", "Dense lobe."),
    "Mass": ("Massive shadow.", "Masses were not asked for.", "En masse."),
    "Hilar mass": ("Mass near the hilum.", "Hilar vessels are full.", "The hilum is thick."),
}  # fmt: skip


def cases_of_labels(bases: Bases) -> Iterator[Case]:
    """Studies with a label whose text names it, and with one whose text does not, or only where no model reads it."""
    for planted, named in ((True, _NAMED), (False, _NOT_NAMED)):
        for number, (label, sentence) in enumerate((label, one) for label, ones in named.items() for one in ones):
            study = bases.next(f"FINDINGS: {sentence} Film {{number}} of the series.")
            yield _labelled(label, sentence, planted, study, SIDES[number % 3])
    for label in ("Edema", "Pneumonia", "Pneumothorax", "Fracture"):
        text = f"INDICATION: Evaluate for {label.lower()}.\n\nFINDINGS: Film {{number}} is unchanged."
        yield _labelled(label, "in the indication alone", False, bases.next(text), "train")


def _labelled(label: str, form: str, planted: bool, study: Study, side: Side) -> Case:
    known = {name: float(name == label) for name in (*FINDINGS, *OWN_LABELS)}
    return Case(f"label in text: {label}", form, planted, (replace(study, labels=known),), (side,))
