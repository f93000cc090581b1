"""What a patient has: findings that occur together as they do in practice, and how they change between visits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from crossray.data.phantom.draws import Draws
from crossray.data.phantom.presets import DifficultySettings, Range

Kind = Literal[
    "cardiomegaly",
    "effusion",
    "pneumothorax",
    "consolidation",
    "nodule",
    "atelectasis",
    "edema",
    "device",
    "fracture",
]
Size = Literal["small", "moderate", "large"]
SIZES: tuple[Size, ...] = ("small", "moderate", "large")
Change = Literal["none", "new", "unchanged", "increased", "decreased"]

CLASS_OF: Mapping[Kind, str] = MappingProxyType(
    {
        "cardiomegaly": "Cardiomegaly",
        "effusion": "Pleural Effusion",
        "pneumothorax": "Pneumothorax",
        "consolidation": "Consolidation",
        "nodule": "Lung Lesion",
        "atelectasis": "Atelectasis",
        "edema": "Edema",
        "device": "Support Devices",
        "fracture": "Fracture",
    }
)

NORMAL_SHARE = 0.38

# (weight of the story, probability of each finding in it): findings come in company.
_STORIES: tuple[tuple[float, Mapping[Kind, float]], ...] = (
    (0.20, {"cardiomegaly": 0.85, "edema": 0.55, "effusion": 0.55, "atelectasis": 0.2, "device": 0.25}),
    (0.20, {"consolidation": 0.95, "effusion": 0.25, "atelectasis": 0.1, "device": 0.1}),
    (0.12, {"fracture": 0.8, "pneumothorax": 0.45, "effusion": 0.15, "device": 0.15}),
    (0.13, {"nodule": 0.95, "effusion": 0.2, "atelectasis": 0.1}),
    (0.15, {"device": 0.9, "atelectasis": 0.5, "effusion": 0.35, "pneumothorax": 0.2, "edema": 0.15}),
    (0.10, {"atelectasis": 0.9, "cardiomegaly": 0.2}),
    (0.05, {"effusion": 0.95}),
    (0.05, {"pneumothorax": 0.95, "device": 0.3}),
)

_BOTH_SIDES: Mapping[Kind, float] = MappingProxyType({"effusion": 0.3, "atelectasis": 0.3, "consolidation": 0.12})
_ZONES: Mapping[Kind, Mapping[str, float]] = MappingProxyType(
    {
        "consolidation": {"upper": 0.3, "mid": 0.3, "lower": 0.4},
        "nodule": {"upper": 0.35, "mid": 0.35, "lower": 0.3},
        "atelectasis": {"mid": 0.15, "lower": 0.85},
    }
)
_DEVICES: Mapping[str, float] = MappingProxyType(
    {"central_line": 0.26, "picc": 0.18, "pacemaker": 0.2, "endotracheal_tube": 0.16, "enteric_tube": 0.2}
)
# How likely a finding is still there at the next visit; others with 0.65.
_STAYS: Mapping[Kind, float] = MappingProxyType({"fracture": 1.0, "cardiomegaly": 1.0, "nodule": 0.85})
_FLUID_LIMIT: Mapping[str, Size] = MappingProxyType({"upper": "large", "mid": "moderate", "lower": "small"})
MIDLINE_DEVICES = frozenset({"endotracheal_tube", "enteric_tube"})
SHAPE_NUMBERS = 12


@dataclass(frozen=True)
class Finding:
    """One finding as it is both drawn and reported.

    ``sides`` holds -1 (the patient's right), 1 (left), both, or 0 for the midline. ``variant`` names the device,
    or says whether a consolidation is a ``pneumonia``. ``shape`` are numbers in [0, 1) that its form and place
    follow from; ``contrast`` and ``extent`` multiply attenuation and lengths.
    """

    kind: Kind
    sides: tuple[int, ...]
    size: Size
    zone: str
    variant: str
    shape: tuple[float, ...]
    contrast: float
    extent: float
    change: Change = "none"

    @property
    def label(self) -> str:
        """The CheXpert class of the finding."""
        return CLASS_OF[self.kind]


@dataclass(frozen=True)
class Distractor:
    """Something harmless on the film (``granuloma``, ``leads`` or ``nipples``); no mask, no label."""

    kind: str
    side: int
    shape: tuple[float, ...]


@dataclass(frozen=True)
class Case:
    """What one film shows, and what was there at the visit before and is gone."""

    findings: tuple[Finding, ...]
    distractors: tuple[Distractor, ...] = ()
    resolved: tuple[Finding, ...] = ()
    follow_up: bool = False


def sample_case(draws: Draws, settings: DifficultySettings, previous: Case | None = None) -> Case:
    """A patient's case; on a further visit, what the case before it has become."""
    distractors = _distractors(draws, settings)
    if previous is None:
        kinds = () if draws.chance(NORMAL_SHARE) else _story(draws)
        return Case(_keep_in_sight(_complete(draws, settings, kinds, ())), distractors)
    kept: list[Finding] = []
    resolved: list[Finding] = []
    for finding in previous.findings:
        (kept if draws.chance(_STAYS.get(finding.kind, 0.65)) else resolved).append(finding)
    changed = tuple(_evolve(draws, finding) for finding in kept)
    # A new story starts seldom where much was left, often enough that follow-ups are as ill as first visits.
    kinds = _story(draws) if draws.chance(0.25 if changed else 0.35) else ()
    found = {finding.kind for finding in changed}
    new = _complete(draws, settings, tuple(kind for kind in kinds if kind not in found), changed)
    fresh = tuple(replace(finding, change="new") for finding in new)
    gone = tuple(old for old in resolved if old.kind not in {f.kind for f in (*changed, *fresh)})
    return Case(_keep_in_sight((*changed, *fresh)), distractors, gone, follow_up=True)


def _keep_in_sight(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Lower the fluid where it would hide what else the report speaks of on that side."""
    limit: Size = "large"
    fluid = [finding for finding in findings if finding.kind == "effusion"]
    for finding in findings:
        if finding.zone and fluid and set(finding.sides) & set(fluid[0].sides):
            limit = _smaller(limit, _FLUID_LIMIT[finding.zone])
    return tuple(_at_most(finding, limit) if finding.kind == "effusion" else finding for finding in findings)


def _at_most(finding: Finding, limit: Size) -> Finding:
    if _smaller(finding.size, limit) == finding.size:
        return finding
    # What was about to grow has not been let.
    return replace(finding, size=limit, change="unchanged" if finding.change == "increased" else finding.change)


def _smaller(one: Size, other: Size) -> Size:
    return one if SIZES.index(one) <= SIZES.index(other) else other


def _story(draws: Draws) -> tuple[Kind, ...]:
    chosen = draws.weighted({index: weight for index, (weight, _) in enumerate(_STORIES)})
    story = _STORIES[chosen][1]
    kinds = tuple(kind for kind, probability in story.items() if draws.chance(probability))
    return kinds or (next(iter(story)),)


def _complete(
    draws: Draws, settings: DifficultySettings, kinds: tuple[Kind, ...], company: tuple[Finding, ...]
) -> tuple[Finding, ...]:
    findings: list[Finding] = []
    for kind in kinds:
        findings.append(_finding(draws, settings, kind, (*company, *findings)))
    return tuple(findings)


def _finding(draws: Draws, settings: DifficultySettings, kind: Kind, company: tuple[Finding, ...]) -> Finding:
    size = draws.weighted(dict(zip(SIZES, settings.sizes, strict=True)))
    zone = draws.weighted(_ZONES[kind]) if kind in _ZONES else ""
    variant = ""
    sides = _sides(draws, kind)
    if kind == "consolidation":
        variant = "pneumonia" if draws.chance(0.6) else "plain"
    if kind == "device":
        variant, sides = _device(draws, company, sides)
    shape = tuple(draws.unit() for _ in range(SHAPE_NUMBERS))
    contrast, extent = _within(draws, settings.contrast), _within(draws, settings.extent)
    return Finding(kind, sides, size, zone, variant, shape, contrast, extent)


def _sides(draws: Draws, kind: Kind) -> tuple[int, ...]:
    if kind == "cardiomegaly":
        return (0,)
    if kind == "edema" or draws.chance(_BOTH_SIDES.get(kind, 0.0)):
        return (-1, 1)
    return (draws.choice((-1, 1)),)


def _device(draws: Draws, company: tuple[Finding, ...], sides: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    drained = [finding for finding in company if finding.kind == "pneumothorax"]
    if drained and draws.chance(0.7):
        return "chest_tube", drained[0].sides
    variant = draws.weighted(_DEVICES)
    return variant, (0,) if variant in MIDLINE_DEVICES else sides


def _evolve(draws: Draws, finding: Finding) -> Finding:
    if finding.kind in ("device", "fracture"):
        return replace(finding, change="unchanged")
    step = draws.choice((-1, 0, 0, 1))
    place = min(max(SIZES.index(finding.size) + step, 0), 2)
    moved = place - SIZES.index(finding.size)
    change: Change = "unchanged" if moved == 0 else ("increased" if moved > 0 else "decreased")
    return replace(finding, size=SIZES[place], change=change)


def _distractors(draws: Draws, settings: DifficultySettings) -> tuple[Distractor, ...]:
    found = []
    for kind in ("granuloma", "leads", "nipples"):
        present, side = draws.chance(settings.distractor_rate), draws.choice((-1, 1))
        shape = tuple(draws.unit() for _ in range(SHAPE_NUMBERS))
        if present:
            found.append(Distractor(kind, side, shape))
    return tuple(found)


def _within(draws: Draws, bounds: Range) -> float:
    return draws.between(*bounds)
