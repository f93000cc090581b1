from __future__ import annotations

import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from crossray.data.equalise import EqualisedPixels, equalise
from crossray.errors import StudyError
from tests.data.studies import Broken, Gradient

Pixels = NDArray[np.uint8]


def equalised_by_interpolation(pixels: Pixels) -> Pixels:
    """The slow way: histogram over the levels that occur, its running sum, a look-up by interpolation."""
    lowest, highest = int(pixels.min()), int(pixels.max())
    levels = np.arange(lowest, highest + 1)
    counts = np.array([np.count_nonzero(pixels == level) for level in levels], dtype=np.float64)
    share = np.cumsum(counts) / counts.sum()
    made: Pixels = np.rint(np.interp(pixels.ravel(), levels, share) * 255).astype(np.uint8)
    return made.reshape(pixels.shape)


@dataclass(frozen=True)
class Given:
    pixels: Pixels

    def read(self) -> Pixels:
        return self.pixels


@settings(max_examples=40, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_equalising_agrees_with_interpolating_the_running_sum(pixels: Pixels) -> None:
    np.testing.assert_array_equal(equalise(pixels), equalised_by_interpolation(pixels))


def test_four_levels_of_equal_share_become_quarters() -> None:
    pixels = np.array([[3, 3, 90, 90], [91, 91, 200, 200]], dtype=np.uint8)
    # 0.25, 0.5 and 0.75 of 255 are 63.75, 127.5 (half to even: 128) and 191.25
    assert equalise(pixels).tolist() == [[64, 64, 128, 128], [191, 191, 255, 255]]


def test_order_is_kept_and_the_brightest_level_is_white() -> None:
    pixels = np.random.default_rng(0).integers(20, 90, (40, 30), dtype=np.uint8)
    made = equalise(pixels)
    assert made.max() == 255
    darker, brighter = pixels.ravel()[:-1], pixels.ravel()[1:]
    assert ((made.ravel()[:-1] <= made.ravel()[1:]) == (darker <= brighter)).all()


def test_a_film_of_one_level_becomes_white() -> None:
    assert (equalise(np.full((3, 4), 7, dtype=np.uint8)) == 255).all()


def test_the_source_around_a_film_travels_to_workers_and_leaves_the_film_alone() -> None:
    inner = Gradient(5)
    source = pickle.loads(pickle.dumps(EqualisedPixels(inner)))
    np.testing.assert_array_equal(source.read(), equalise(inner.read()))
    kept = np.arange(12, dtype=np.uint8).reshape(3, 4)
    EqualisedPixels(Given(kept)).read()
    assert kept.tolist() == np.arange(12).reshape(3, 4).tolist()


def test_what_is_wrong_with_a_film_is_told_as_without_equalising() -> None:
    with pytest.raises(StudyError, match="damaged"):
        EqualisedPixels(Broken()).read()
