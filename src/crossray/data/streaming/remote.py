"""Bytes of files at a URL: ranges of them, asked for again when a connection breaks, checked before they are used."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import time
from importlib import import_module
from typing import Any

from crossray.data.streaming.http import TooMuchError, http_filesystem_options, http_read
from crossray.data.streaming.settings import StreamSettings
from crossray.errors import ConfigError, StoreError

_LONGEST_PAUSE_SECONDS = 60.0
#: Answers that may be others a moment later; every other 4xx stays as it is.
_PASSING = (408, 425, 429)
#: Of a file whose length is not known, a manifest: that of ten million studies has some megabytes.
_MOST_BYTES = 64_000_000


class AbsentError(StoreError):
    """There is no such file at the URL."""


class RemoteFolder:
    """The files of a folder at a URL, read through fsspec; may be used by several threads, and after a fork.

    Attributes:
        shown: the URL, for messages.

    Raises:
        ConfigError: the URL carries more than a place. What is in it would be written into configurations and results.
    """

    def __init__(self, url: str, settings: StreamSettings) -> None:
        if re.search(r"::|[?#@]", url):
            raise ConfigError(
                "is not the plain address of a folder.",
                file=without_secrets(url),
                remedy="Leave out '::', '?', '#' and '@'. Name and password of a web server belong into ~/.netrc, keys "
                "of object storage into its own variables and files.",
            )
        self._url = self.shown = url.rstrip("/")
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
            AbsentError: there is no such file.
            StoreError: they are not to be had; names file and bytes, what was wrong the last time, and what to do.
        """
        problem = ""
        for attempt in range(self._settings.attempts):
            if attempt:
                time.sleep(min(self._settings.retry_seconds * 2.0 ** (attempt - 1), _LONGEST_PAUSE_SECONDS))
            try:
                content = self._attempt(name, start, length)
            except TooMuchError as error:
                problem = f"{error} came, as from a server that does not answer requests for ranges of bytes"
                continue
            except _failures() as error:
                problem = _in_words(error)
                if _lasts(error):  # without its cause, in whose words and objects passwords may stand
                    raise self._refused(name, problem, error) from None
                continue
            if length is not None and len(content) != length:
                problem = f"{len(content)} bytes came"
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

    def require_ranges(self, name: str) -> None:
        """Ask for one byte of a file that is there, to tell at the door of a server that would send all of it.

        Raises:
            StoreError: it sends more.
        """
        self.read(name, 1, 1)

    def _attempt(self, name: str, start: int, length: int | None) -> bytes:
        if length == 0:
            return b""
        filesystem, root = self._filesystem()
        place = f"{root.rstrip('/')}/{name}"
        most = _MOST_BYTES if length is None else length
        if self._is_http:
            return http_read(filesystem, place, start, most, to_the_end=length is None)
        content: bytes = filesystem.cat_file(place, start=start, end=start + most)
        return content

    @property
    def _is_http(self) -> bool:
        return self._url.startswith(("http://", "https://"))

    def _filesystem(self) -> tuple[Any, str]:
        process = os.getpid()
        if process not in self._of_process:
            from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # ships no types

            try:
                options = http_filesystem_options(self._settings.timeout_seconds) if self._is_http else {}
                found = url_to_fs(self._url, skip_instance_cache=True, **options)
            except (ImportError, ValueError) as error:
                raise ConfigError(
                    f"cannot be read: {error}.", file=self.shown, remedy="Install crossray[streaming] for s3://."
                ) from error
            self._of_process[process] = found
        filesystem, root = self._of_process[process]
        return filesystem, str(root)

    def _refused(self, name: str, problem: str, error: Exception) -> StoreError:
        from aiohttp import InvalidURL

        kind = AbsentError if isinstance(error, FileNotFoundError) else StoreError
        remedy = _REMEDIES.get(getattr(error, "status", None), _REMEDY)
        if isinstance(error, InvalidURL):
            remedy = "Check the URL, and that HTTP_PROXY and HTTPS_PROXY, if set, are addresses: http://HOST:PORT."
        return kind(f"cannot be read: {problem}.", file=f"{self.shown}/{name}", remedy=remedy)


_REMEDY = "Give the URL of a store's folder, and check that this machine may read it."
_REMEDIES: dict[int | None, str] = {
    401: "Write name and password of the server into ~/.netrc: machine HOST login NAME password PASSWORD.",
    407: "HTTP_PROXY and HTTPS_PROXY carry name and password of a proxy that asks for them (http://NAME:PASSWORD@HOST).",
}


def without_secrets(text: str) -> str:
    """A text without names and passwords of its URLs, and without what follows their '?' and '#'."""
    return re.sub(r"(//[^\s'\"]*?)[?#][^\s'\"]*", r"\1", re.sub(r"//[^\s'\"]*@", "//", text))


def _in_words(error: Exception) -> str:
    from aiohttp import InvalidURL

    kind = type(error).__name__
    # What cannot be taken apart may hold a password anywhere.
    return kind if isinstance(error, InvalidURL) else without_secrets(f"{kind}: {error}".rstrip(": "))


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
    from aiohttp import InvalidURL

    if isinstance(error, InvalidURL | FileNotFoundError | PermissionError | NotADirectoryError | IsADirectoryError):
        return True
    status = getattr(error, "status", None)
    return isinstance(status, int) and 400 <= status < 500 and status not in _PASSING
