"""Work with pixels by as many threads as there are cores, the longest waiting first.

A thread for each visitor would be no faster, and each would keep the memory that a film once needed.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from crossray.data.pool import available_cores

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_HANDS = ThreadPoolExecutor(available_cores(), thread_name_prefix="hands")


def by_hand(work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
    """What a function gives, computed when one of the threads is free."""
    return _HANDS.submit(work, *args, **kwargs).result()
