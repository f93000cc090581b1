"""The door: who may ask, how much may be sent, and what every answer carries."""

from __future__ import annotations

import hmac
import json
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from crossray.serve.limits import NOTICE, Limits

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Message, Receive, Send], Awaitable[None]]

UPLOAD_PATH = "/api/film"
COOKIE = "crossray_token"
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
    "x-crossray-notice": NOTICE,
}
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1", "testserver")


class Guard:
    """Around the application: host names, origins, the token, sizes, headers, counts.

    Args:
        app: what is guarded.
        limits: of request sizes.
        token: asked for with every request, as ``Authorization: Bearer`` or in the page's cookie; ``None`` = open, and
            then only loopback names are answered, so that no web site can reach the server by a name of its own.
    """

    def __init__(self, app: Asgi, limits: Limits, token: str | None = None) -> None:
        self._app = app
        self._limits = limits
        self._token = token
        self.answers: Counter[tuple[str, int]] = Counter()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *extra]
                self.answers[(_counted_path(scope), message["status"])] += 1
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is None:
            await self._app(scope, receive, send_guarded)
        else:
            await _answer(send_guarded, *refusal)

    def _refusal(self, scope: Message, headers: dict[str, str]) -> tuple[int, str, dict[str, str]] | None:
        if self._token is None and _name_of(headers.get("host", "")) not in _LOOPBACK_NAMES:
            return 421, "This server answers on the loopback address only.", {}
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            return 403, "Requests of other sites are refused.", {}
        if self._token is not None:
            refusal = self._token_refusal(scope, headers, self._token)
            if refusal is not None:
                return refusal
        if scope["method"] in ("POST", "PUT", "PATCH") and scope["path"] != UPLOAD_PATH:
            length = headers.get("content-length", "")
            if not length.isdecimal():
                return 411, "Say the request's length (Content-Length).", {}
            if int(length) > self._limits.request_bytes:
                return 413, f"The request has more than {self._limits.request_bytes} bytes.", {}
        return None

    def _token_refusal(
        self, scope: Message, headers: dict[str, str], token: str
    ) -> tuple[int, str, dict[str, str]] | None:
        if _same(headers.get("authorization", ""), f"Bearer {token}") or _same(_cookie(headers), token):
            return None
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        if scope["path"] == "/" and _same(query.get("token", [""])[0], token):
            # The page is opened once with the token, which then stands in no address.
            cookie = f"{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/"
            return 303, "", {"location": "/", "set-cookie": cookie}
        return 401, "A token is needed: open /?token=... or send Authorization: Bearer.", {"www-authenticate": "Bearer"}


async def _answer(send: Send, status: int, problem: str, headers: dict[str, str]) -> None:
    body = json.dumps({"problem": problem, "notice": NOTICE}).encode()
    own = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    fields = [(name.encode(), value.encode()) for name, value in own.items()]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())


def _cookie(headers: dict[str, str]) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def _name_of(host: str) -> str:
    return urlsplit(f"//{host}").hostname or ""


def _counted_path(scope: Message) -> str:
    # Handles are secrets and paths are the visitor's words: only the known part is counted.
    parts = scope["path"].split("/")
    return "/".join(parts[:3]) if parts[1:2] == ["api"] and len(parts[2:]) and parts[2].isalpha() else "/"
