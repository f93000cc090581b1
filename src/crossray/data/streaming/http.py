"""Ranges of files over HTTP: with the proxies and passwords of the environment, and no more than was asked for."""

from __future__ import annotations

import netrc
import os
from pathlib import Path
from typing import Any

from crossray.errors import ConfigError


class TooMuchError(Exception):
    """An answer that is longer than what was asked for, as from a server that does not know ranges."""


def http_filesystem_options(timeout_seconds: float) -> dict[str, Any]:
    """What fsspec's HTTP file system is made with.

    ``HTTP_PROXY``, ``HTTPS_PROXY``, ``NO_PROXY`` and ``.netrc`` are minded.

    Raises:
        ConfigError: the ``.netrc`` cannot be understood; nothing of it is told but where it is wrong.
    """
    from aiohttp import ClientTimeout

    _require_readable_netrc()
    patience = ClientTimeout(total=None, sock_connect=timeout_seconds, sock_read=timeout_seconds)
    # Ranges count bytes of the file, so it must come as it is.
    headers = {"Accept-Encoding": "identity"}
    return {"client_kwargs": {"timeout": patience, "headers": headers, "trust_env": True}}


def http_read(filesystem: Any, url: str, start: int, most: int, *, to_the_end: bool = False) -> bytes:
    """Bytes of a file from ``start`` on, ``most`` of them.

    Args:
        filesystem: of fsspec, for HTTP.
        url: of the file.
        start, most: which bytes.
        to_the_end: the whole file is meant, and more than ``most`` bytes are too many.

    Raises:
        TooMuchError: more would have come; at most ``most`` bytes and one piece of the connection were read.
        FileNotFoundError, aiohttp.ClientError, OSError, asyncio.TimeoutError: there is no answer, or one that says no.
    """
    from fsspec.asyn import sync  # type: ignore[import-untyped]  # ships no types

    content: bytes = sync(filesystem.loop, _read, filesystem, url, start, most, to_the_end)
    return content


async def _read(filesystem: Any, url: str, start: int, most: int, to_the_end: bool) -> bytes:
    session = await filesystem.set_session()
    headers = {} if to_the_end else {"Range": f"bytes={start}-{start + most - 1}"}
    async with session.get(filesystem.encode_url(url), headers=headers) as answer:
        if answer.status == 404:
            raise FileNotFoundError(url)
        answer.raise_for_status()
        length = answer.content_length
        # Leaving the block with the answer unread closes its connection.
        if (start and answer.status != 206) or (length is not None and length > most):
            raise TooMuchError("the whole file" if length is None else f"{length} bytes")
        pieces, come = [], 0
        async for piece in answer.content.iter_any():
            come += len(piece)
            if come > most:
                raise TooMuchError(f"more than {most} bytes")
            pieces.append(piece)
        return b"".join(pieces)


def _require_readable_netrc() -> None:
    # aiohttp would log the word that it does not understand, which may be a password, and go on without any.
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        netrc.netrc(str(path))
    except (netrc.NetrcParseError, UnicodeDecodeError) as error:
        where = f"line {error.lineno}" if isinstance(error, netrc.NetrcParseError) else "it is no UTF-8 and"
        raise ConfigError(
            f"{where} cannot be understood.",
            file=path,
            remedy="Write 'machine HOST login NAME password PASSWORD'; quote what has spaces or a '#'.",
        ) from None
    except OSError:
        return  # there is none, or none that this user may read; aiohttp says so where NETRC names it
