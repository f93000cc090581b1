"""The cost formula counts what torch counts, behaves as its sentences say, and the page of the docs is made from it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks.scale.cost import Encoders, Machine, Words, exchange_seconds, overtaking_batch, reduce_seconds, step
from benchmarks.scale.counting import count
from benchmarks.scale.page import RESULTS, encoders_of, words_of
from benchmarks.speed.loss import inputs, our_loss
from torch import nn

ROOT = Path(__file__).parents[1]
MACHINE = Machine("made up", 100e12, 10e12, 1e12, 80e9, inside=200e9, between=20e9)
ENCODERS = Encoders("made up", flops=60e9, moved=800e6, saved=150e6, weights=130_000_000)
WORDS = Words(regions=49, words=34, slots=97, width=768, passes=70)


@pytest.mark.parametrize(("pairs", "regions"), [(48, 9), (48, 16)])
def test_the_formula_of_the_loss_counts_what_torch_counts(pairs: int, regions: int) -> None:
    given = inputs(pairs, regions, width=64)
    words = int(given[2].sum())
    counted = count(lambda: our_loss(*given))
    formula = Words(regions, words / pairs, 60, 64, passes=0.0)
    assert formula.flops_of_a_pair(words) * pairs * pairs == pytest.approx(counted.flops, rel=0.03)


def test_a_linear_layer_is_counted_by_hand() -> None:
    with torch.device("meta"):
        layer, rows = nn.Linear(30, 20, bias=False), torch.zeros(10, 30)
    counted = count(lambda: layer(rows).square().sum(), layer)
    assert counted.flops == 2 * (2 * 10 * 30 * 20)  # forward and the weights' gradient; the rows ask for none
    assert counted.saved == 4 * (10 * 30 + 10 * 20)  # what came in, and what was squared
    assert counted.moved >= 4 * 2 * 10 * 20


def test_words_take_as_long_as_the_encoders_at_the_overtaking_batch() -> None:
    batch = overtaking_batch(MACHINE, ENCODERS, WORDS)
    own = step(MACHINE, ENCODERS, WORDS, own=round(batch), accelerators=1, contrast="all")
    assert own.word_region == pytest.approx(own.encoders, rel=0.1)
    spread = step(MACHINE, ENCODERS, WORDS, own=round(batch / 16), accelerators=16, contrast="all")
    assert spread.word_region == pytest.approx(spread.encoders, rel=0.1)


def test_own_and_drawn_reports_cost_the_same_on_any_number_of_accelerators() -> None:
    for contrast, sampled in (("own", 0), ("sampled", 16)):
        one, many = (
            step(MACHINE, ENCODERS, WORDS, own=48, accelerators=n, contrast=contrast, sampled=sampled)  # type: ignore[arg-type]
            for n in (1, 64)
        )
        assert many.word_region == one.word_region
    everything = step(MACHINE, ENCODERS, WORDS, own=48, accelerators=64, contrast="all")
    assert (
        everything.word_region > 60 * step(MACHINE, ENCODERS, WORDS, own=48, accelerators=1, contrast="own").word_region
    )
    assert everything.gather > many.gather > 0.0 == one.gather


def test_a_reduction_sends_twice_what_a_gather_sends_and_slows_down_between_hosts() -> None:
    gathered, reduced = (f(MACHINE, 1e9, 8) - MACHINE.latency for f in (exchange_seconds, reduce_seconds))
    assert reduced == pytest.approx(2 * gathered)
    assert gathered == pytest.approx(7 / 8 * 1e9 / 100e9)
    assert exchange_seconds(MACHINE, 1e9, 16) > 10 * exchange_seconds(MACHINE, 1e9, 8)
    assert exchange_seconds(MACHINE, 1e9, 1) == 0.0


def test_the_page_says_what_the_result_file_and_the_formula_say() -> None:
    command = [sys.executable, "-m", "benchmarks.scale.page", "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert checked.returncode == 0, checked.stderr
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    both = encoders_of(found, "ResNet-50")
    assert both.flops == found["encoders"]["ResNet-50"]["flops"] + found["encoders"]["BERT-base"]["flops"]
    assert words_of(found, 49).regions == 49
