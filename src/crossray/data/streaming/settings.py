"""How a store at a URL is read: where what was fetched is kept, how much of it, and how patiently it is fetched."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pydantic import Field

from crossray.errors import ConfigError, StoreError
from crossray.files import explained_disk_errors
from crossray.settings import Settings

CACHE_VARIABLE, CACHE_GB_VARIABLE = "CROSSRAY_CACHE", "CROSSRAY_CACHE_GB"

#: Folders of the cache.
FILMS, STORES = "films", "stores"
_CACHE_GB = 16.0
_URL = re.compile(r"[a-z][a-z0-9+.:-]*://")


def is_url(place: Path | str) -> bool:
    """Whether a store's place is an address (``https://...``, ``s3://...``) and not a folder."""
    return isinstance(place, str) and _URL.match(place) is not None


def _gigabytes_of_environment() -> float:
    text = os.environ.get(CACHE_GB_VARIABLE, str(_CACHE_GB))
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"'{text}' is no number of gigabytes.", field=CACHE_GB_VARIABLE) from None


class StreamSettings(Settings):
    """How a store at a URL is read; nothing of it changes a result.

    Attributes:
        cache: folder on a local disk; the environment's ``CROSSRAY_CACHE``, or ``~/.cache/crossray``, without it.
        cache_gb: films and tables of all stores in the cache take no more than this (10^9 bytes; the environment's
            ``CROSSRAY_CACHE_GB``, or 16, without it), those used longest ago go first, tables that a process
            reads never.
        connections: films are fetched in so many requests at a time by each process.
        attempts: a request that fails is made at most so many times.
        retry_seconds: the pause before the second attempt; it doubles each time.
        timeout_seconds: an attempt fails when nothing comes for so long (HTTP; other protocols have their own).
    """

    cache: str | None = None
    cache_gb: float | None = Field(default=None, gt=0.0)
    connections: int = Field(default=8, ge=1)
    attempts: int = Field(default=6, ge=1)
    retry_seconds: float = Field(default=0.5, ge=0.0)
    timeout_seconds: float = Field(default=60.0, gt=0.0)

    @property
    def folder(self) -> Path:
        """The cache's folder."""
        named = self.cache or os.environ.get(CACHE_VARIABLE)
        return Path(named) if named else Path.home() / ".cache" / "crossray"

    def made_folder(self, name: str) -> Path:
        """A folder in the cache, which is made for this user alone: reports and films of patients come to lie there.

        Raises:
            StoreError: it cannot be made.
        """
        with explained_disk_errors(StoreError, self.folder):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
            (self.folder / name).mkdir(exist_ok=True)
        return self.folder / name

    @property
    def cache_bytes(self) -> int:
        """The most bytes that are kept."""
        return int((self.cache_gb or _gigabytes_of_environment()) * 1e9)

    def with_cache_of_environment(self) -> StreamSettings:
        """The same but for what the environment says of the cache: for a run on another machine than its own."""
        names = {"cache": CACHE_VARIABLE, "cache_gb": CACHE_GB_VARIABLE}
        return self.model_copy(update={name: None for name, variable in names.items() if os.environ.get(variable)})
