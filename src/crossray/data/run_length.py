"""SIIM-ACR's run-length code: pairs of a relative start and a length, down the columns (`localized_evaluation` 5.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossray.errors import StudyError

#: What the publisher writes for a film without pneumothorax; some copies have a blank before it.
EMPTY_CODE = "-1"


class RunLengthError(StudyError):
    """A run-length code that is none."""

    rule = "bad_mask"


def decode_relative_runs(code: str, size: int) -> NDArray[np.bool_]:
    """The positive pixels of a code, flat.

    Pairs ``start length``; a start counts from the end of the run before (one past its last pixel), the first from
    pixel 0. ``"3 2 4 1"`` is {3, 4, 9} (numeric check E8).

    Args:
        code: numbers with blanks between; ``-1`` is empty.
        size: number of pixels.

    Returns:
        ``[size]`` bool; the order is that of the code, so for SIIM-ACR column after column.

    Raises:
        RunLengthError: not a number, a pair without its length, a negative number, or a run beyond the film.
    """
    inside = np.zeros(size, dtype=np.bool_)
    if code.strip() == EMPTY_CODE:
        return inside
    try:
        numbers = np.array([int(part) for part in code.split()], dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise RunLengthError(f"the run-length code holds '{_shown(code)}', not numbers alone.") from error
    if len(numbers) % 2 or not len(numbers):
        raise RunLengthError(f"the run-length code has {len(numbers)} numbers, not pairs of start and length.")
    starts, lengths = numbers[0::2], numbers[1::2]
    if (numbers < 0).any() or (numbers > size).any() or numbers.sum() > size:
        raise RunLengthError(f"the run-length code leaves the film of {size} pixels.")
    ends = np.cumsum(starts + lengths)
    for end, length in zip(ends, lengths, strict=True):
        inside[end - length : end] = True
    return inside


def encode_relative_runs(inside: NDArray[np.bool_]) -> str:
    """The code of flat pixels ``[size]`` bool, such that decoding gives them back."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8)))
    starts, ends = edges[0::2], edges[1::2]
    if not len(starts):
        return EMPTY_CODE
    before = np.concatenate([[0], ends[:-1]])
    return " ".join(f"{start} {length}" for start, length in zip(starts - before, ends - starts, strict=True))


def _shown(code: str) -> str:
    return code if len(code) <= 40 else f"{code[:37]}..."
