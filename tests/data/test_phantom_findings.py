"""Findings on phantom films: masks, boxes and the drawing agree; difficulty and film size do what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from crossray.data.phantom.build import PhantomKey, plan_film
from crossray.data.phantom.case import CLASS_OF, SHAPE_NUMBERS, SIZES, Case, Finding, Kind
from crossray.data.phantom.draws import Draws, Stream
from crossray.data.phantom.render import FilmPlan, finding_parts, render_film

KINDS: tuple[Kind, ...] = tuple(CLASS_OF)
DEVICES = ("central_line", "picc", "pacemaker", "endotracheal_tube", "enteric_tube", "chest_tube")


def one_finding(kind: Kind, number: int, variant: str = "") -> Finding:
    draws = Draws(number, Stream.CASE, 77)
    sides: tuple[int, ...] = (draws.choice((-1, 1)),)
    if kind == "cardiomegaly" or variant in ("endotracheal_tube", "enteric_tube"):
        sides = (0,)
    if kind == "edema":
        sides = (-1, 1)
    zone = ("mid", "lower")[number % 2] if kind in ("atelectasis", "consolidation", "nodule") else ""
    if kind == "device" and not variant:
        variant = "central_line"
    shape = tuple(draws.unit() for _ in range(SHAPE_NUMBERS))
    return Finding(kind, sides, SIZES[number % 3], zone, variant, shape, contrast=0.9, extent=1.0)


def plan_with(finding: Finding | None, number: int, size: int = 192) -> FilmPlan:
    plan = plan_film(PhantomKey("easy", 3, number, size))
    return replace(plan, case=Case((finding,) if finding else ()))


def change(plan: FilmPlan) -> NDArray[np.float64]:
    without = replace(plan, case=Case(()))
    return np.abs(render_film(plan).astype(np.float64) - render_film(without).astype(np.float64))


@pytest.mark.parametrize("kind", KINDS)
def test_a_finding_changes_the_film_inside_its_mask_more_than_outside(kind: Kind) -> None:
    for number in range(3):
        plan = plan_with(one_finding(kind, number), number)
        difference = change(plan)
        mask = np.logical_or.reduce([part.mask for part in finding_parts(plan)])
        assert difference[mask].mean() > 3 * difference[~mask].mean()
        assert difference[mask].mean() > 1.0


@pytest.mark.parametrize("variant", DEVICES)
def test_every_device_is_seen_where_its_mask_says(variant: str) -> None:
    plan = plan_with(one_finding("device", 4, variant), 4)
    difference = change(plan)
    mask = finding_parts(plan)[0].mask
    assert difference[mask].mean() > 4.0
    assert difference[~mask].mean() < 0.4 * difference[mask].mean()


@pytest.mark.parametrize("kind", ["effusion", "pneumothorax", "consolidation", "nodule", "atelectasis", "fracture"])
def test_one_sided_findings_lie_on_their_side(kind: Kind) -> None:
    for number in range(6):
        finding = one_finding(kind, number)
        plan = plan_with(finding, number)
        x, _ = plan.frame.grid
        mask = finding_parts(plan)[0].mask
        assert np.all(x[mask] * finding.sides[0] > 0)


@pytest.mark.parametrize("kind", ["cardiomegaly", "effusion", "pneumothorax", "consolidation", "nodule", "atelectasis"])
def test_a_larger_finding_has_a_larger_mask(kind: Kind) -> None:
    finding = one_finding(kind, 2)
    areas = [int(finding_parts(plan_with(replace(finding, size=size), 2))[0].mask.sum()) for size in SIZES]
    assert areas[0] < areas[1] < areas[2]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "cardiomegaly"])
def test_less_contrast_changes_the_film_less(kind: Kind) -> None:
    finding = one_finding(kind, 5)
    plans = [plan_with(replace(finding, contrast=contrast), 5) for contrast in (0.35, 1.1)]
    faint, plain = (change(plan)[finding_parts(plan)[0].mask].mean() for plan in plans)
    assert faint < plain


def test_healthy_hearts_are_narrower_than_half_the_chest_and_enlarged_ones_wider() -> None:
    finding = replace(one_finding("cardiomegaly", 0), size="small", contrast=0.35)
    for number in range(40):
        healthy, enlarged = (cardiothoracic_ratio(plan_with(case, number)) for case in (None, finding))
        assert healthy < 0.5 < enlarged


def cardiothoracic_ratio(plan: FilmPlan) -> float:
    scene = plan.scene()
    right, left = scene.anatomy.silhouette(scene.heart_ratio)
    cage = float(np.max(scene.anatomy.half_width(np.linspace(0.5, 1.1, 50))))
    return float(left.max() - right.min()) / (2 * cage)


@pytest.mark.parametrize("kind", KINDS)
def test_masks_do_not_depend_on_the_size_of_the_film(kind: Kind) -> None:
    finding = replace(one_finding(kind, 6), size="large")
    small, large = (finding_parts(plan_with(finding, 6, size))[0].mask for size in (160, 320))
    halved = large[: 2 * small.shape[0], : 2 * small.shape[1]]
    halved = halved.reshape(small.shape[0], 2, small.shape[1], 2).mean(axis=(1, 3)) >= 0.5
    overlap = (small & halved).sum() / (small | halved).sum()
    assert overlap > (0.5 if kind == "device" else 0.85)


def test_a_mask_ends_where_the_shutter_begins() -> None:
    plan = plan_with(one_finding("device", 1, "enteric_tube"), 1)
    plan = replace(plan, style=replace(plan.style, border=(0.1, 0.2, 0.05, 0.15)))
    mask = finding_parts(plan)[0].mask
    opening = plan.style.opening(*mask.shape)
    assert mask[opening].sum() == mask.sum() > 0
    film = render_film(plan)
    assert np.unique(film[: opening[0].start]).size == 1
