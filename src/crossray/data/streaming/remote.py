"""Bytes of files at a URL: ranges of them, asked for again when a connection breaks, checked before they are used."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import time
from importlib import import_module
from typing import Any

from crossray.data.streaming.settings import StreamSettings
from crossray.errors import ConfigError, StoreError

_LONGEST_PAUSE_SECONDS = 60.0
#: Answers that may be others a moment later; every other 4xx stays as it is.
_PASSING = (408, 425, 429)


class RemoteFolder:
    """The files of a folder at a URL, read through fsspec; may be used by several threads, and after a fork.

    Attributes:
        shown: the URL without a password, for messages.
    """

    def __init__(self, url: str, settings: StreamSettings) -> None:
        if re.search(r"::|\?|#", url):
            raise ConfigError("is not the plain address of a folder.", file=url, remedy="Leave out '::', '?' and '#'.")
        self._url = url.rstrip("/")
        self.shown = _without_password(self._url)
        self._settings = settings
        # A forked process may not use its parent's connections, and closing them would disturb the parent.
        self._of_process: dict[int, Any] = {}

    def read(self, name: str, start: int = 0, length: int | None = None, sha256: str | None = None) -> bytes:
        """Bytes ``start .. start + length`` of a file, or all of it.

        Args:
            name: of the file, in the folder.
            start, length: which bytes; all without a length.
            sha256: what they are; other bytes are asked for again like those of a broken connection.

        Raises:
            StoreError: they are not to be had; names file and bytes, what was wrong the last time, and what to do.
        """
        problem = ""
        for attempt in range(self._settings.attempts):
            if attempt:
                time.sleep(min(self._settings.retry_seconds * 2.0 ** (attempt - 1), _LONGEST_PAUSE_SECONDS))
            try:
                content = self._attempt(name, start, length)
            except _failures() as error:
                problem = _without_password(f"{type(error).__name__}: {error}".rstrip(": "))
                if _lasts(error):
                    raise self._refused(name, problem) from error
                continue
            if length is not None and len(content) != length:
                problem = f"{len(content)} bytes came"
                if len(content) > length:
                    problem += ", as from a server that does not answer requests for ranges"
            elif sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
                problem = "other bytes came than were written"
            else:
                return content
        which = "it" if length is None else f"bytes {start} to {start + length - 1}"
        raise StoreError(
            f"{which} could not be read in {self._settings.attempts} attempts; the last time: {problem}.",
            file=f"{self.shown}/{name}",
            remedy="Check the network and the server, or upload the store again if it was changed or damaged there "
            "('crossray verify URL'); the same command then goes on.",
        )

    def _attempt(self, name: str, start: int, length: int | None) -> bytes:
        filesystem, root = self._filesystem()
        place = f"{root.rstrip('/')}/{name}"
        if length is None:
            content: bytes = filesystem.cat_file(place)
        elif length == 0:
            content = b""
        else:
            content = filesystem.cat_file(place, start=start, end=start + length)
        return content

    def _filesystem(self) -> tuple[Any, str]:
        process = os.getpid()
        if process not in self._of_process:
            from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # ships no types

            try:
                found = url_to_fs(self._url, skip_instance_cache=True, **self._options())
            except (ImportError, ValueError) as error:
                raise ConfigError(
                    f"cannot be read: {error}.", file=self.shown, remedy="Install crossray[streaming] for s3://."
                ) from error
            self._of_process[process] = found
        filesystem, root = self._of_process[process]
        return filesystem, str(root)

    def _options(self) -> dict[str, Any]:
        if not self._url.startswith(("http://", "https://")):
            return {}
        from aiohttp import ClientTimeout

        seconds = self._settings.timeout_seconds
        patience = ClientTimeout(total=None, sock_connect=seconds, sock_read=seconds)
        # Ranges count bytes of the file, so it must come as it is.
        return {"client_kwargs": {"timeout": patience, "headers": {"Accept-Encoding": "identity"}}}

    def _refused(self, name: str, problem: str) -> StoreError:
        return StoreError(
            f"cannot be read: {problem}.",
            file=f"{self.shown}/{name}",
            remedy="Give the URL of a store's folder, and check that this machine may read it.",
        )


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//", text)


def _failures() -> tuple[type[Exception], ...]:
    from aiohttp import ClientError

    kinds = (OSError, asyncio.TimeoutError, ClientError)
    try:
        of_s3 = import_module("botocore.exceptions")
    except ImportError:
        return kinds
    return (*kinds, of_s3.BotoCoreError)  # no credentials, no connection: s3fs hands on what had no answer


def _lasts(error: Exception) -> bool:
    """Whether a failure would be the same the next time."""
    if isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError | IsADirectoryError):
        return True
    status = getattr(error, "status", None)
    return isinstance(status, int) and 400 <= status < 500 and status not in _PASSING
