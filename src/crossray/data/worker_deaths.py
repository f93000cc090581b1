"""What is said when a process that reads the data is killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from crossray.errors import DataError


def killed_worker() -> DataError:
    """The error for it."""
    return DataError(
        "a worker process that reads the data was killed, perhaps for want of memory.",
        field="runtime.workers",
        remedy="The same command goes on from what was saved last; fewer workers need less memory.",
    )


@contextmanager
def explained_worker_deaths() -> Iterator[None]:
    """Turn the death of a loader's worker process, which torch may report at any moment, into one of our errors."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise killed_worker() from error
