"""What stands before every route: who may ask, how much and for how long; the headers, the log line, the counts.

A plain ASGI middleware, so that limits hold while a body streams in, whatever reads it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from novanda.serve.limits import Limits
from novanda.serve.measures import Measures
from novanda.serve.refusals import Refused, busy, refused, too_large

SMALL_BODY = 64 * 2**10
"""Bytes of a request that carries no files."""
FILE_ROUTES = frozenset({"/v1/score", "/v1/explain"})
LINGER_SECONDS = 2.0
"""How long a refused client may go on sending before the connection is closed under it."""

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
LOG = logging.getLogger("novanda.serve")


@dataclass(frozen=True)
class Admission:
    """Who may ask.

    Attributes:
        token: asked of every route that is not open; None: nobody is asked.
        hosts: names by which the service may be called; None: any. Without it a foreign page whose name is made to
            point at this machine could read answers through its visitor's browser.
        open_paths: what needs no token: the page's own files and the health routes, which tell nothing.
    """

    token: str | None = None
    hosts: frozenset[str] | None = None
    open_paths: frozenset[str] = frozenset()

    def check(self, path: str, headers: Headers) -> None:
        """Raise Refused for whoever may not."""
        host = _host_name(headers.get("host", ""))
        if self.hosts is not None and host not in self.hosts:
            raise refused(
                403, "unknown_host", expected=f"a request to {' or '.join(sorted(self.hosts))}", got=repr(host[:100]),
                hint="start the service with --allow-host for every other name it is called by",
            )  # fmt: skip
        if headers.get("sec-fetch-site") == "cross-site" and path not in self.open_paths:
            raise refused(
                403, "cross_site", expected="a request from the service's own page, or from no page",
                got="one from another site's page", hint="open the service's own page, or call it from a program",
            )  # fmt: skip
        if self.token is not None and path not in self.open_paths:
            self._check_token(headers.get("authorization", ""))

    def _check_token(self, given: str) -> None:
        assert self.token is not None
        scheme, _, credentials = given.partition(" ")
        # Digests are compared, in constant time: neither content nor length of the token shows in the time taken.
        digests = (
            hashlib.sha256(word.encode("utf-8", "replace")).digest() for word in (credentials.strip(), self.token)
        )
        if not hmac.compare_digest(*digests) or scheme.lower() != "bearer":
            raise refused(
                401, "unauthorized", expected="Authorization: Bearer TOKEN, with the service's token",
                got="another one" if given else "none", hint="ask whoever runs the service",
                headers={"WWW-Authenticate": "Bearer"},
            )  # fmt: skip


def _host_name(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()


class Guard:
    """The middleware; `limits`, `admission` and `measures` are those of the application."""

    def __init__(self, app: ASGIApp, *, limits: Limits, admission: Admission, measures: Measures) -> None:
        self.app = app
        self.limits, self.admission, self.measures = limits, admission, measures
        self._in_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; pass on what is none."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope.setdefault("state", {})
        headers = Headers(scope=scope)
        most = self.limits.request_bytes if scope["path"] in FILE_ROUTES else SMALL_BODY
        exchange = _Exchange(receive, send, most, headers)
        began = time.perf_counter()
        self.measures.in_work.inc()
        try:
            await self._answered(scope, headers, exchange)
        finally:
            self.measures.in_work.dec()
            self._record(scope, exchange, time.perf_counter() - began)

    async def _answered(self, scope: Scope, headers: Headers, exchange: _Exchange) -> None:
        limited = scope["method"] == "POST"
        try:
            self.admission.check(scope["path"], headers)
            exchange.check_announced(headers)
            if limited and self._in_work >= self.limits.requests:
                raise busy("requests")
            self._in_work += limited
            try:
                await self._in_time(scope, exchange)
            finally:
                self._in_work -= limited
        except Refused as refusal:
            await exchange.refuse(scope, refusal)
        except ClientDisconnect:
            pass
        except Exception:  # a bug: whoever asked gets JSON all the same, and the log its traceback
            LOG.exception("failed", extra={"facts": {"request": exchange.identity}})
            await exchange.refuse(
                scope,
                refused(
                    500, "failed", expected="an answer", got="a fault in the service",
                    hint=f"report it to whoever runs the service, with the number {exchange.identity}",
                ),
            )  # fmt: skip

    async def _in_time(self, scope: Scope, exchange: _Exchange) -> None:
        timer = asyncio.timeout(self.limits.seconds)
        try:
            async with timer:
                await self.app(scope, exchange.take, exchange.give)
        except TimeoutError:
            if not timer.expired():
                raise
            got = "more work than that" if exchange.whole else f"{exchange.received:,} bytes"
            raise refused(
                408, "too_slow", expected=f"a whole request, and its answer, within {self.limits.seconds:g} seconds",
                got=got, hint="send fewer files in one request",
            ) from None  # fmt: skip

    def _record(self, scope: Scope, exchange: _Exchange, seconds: float) -> None:
        # Refused before it was routed: told by its address, where that is one of ours. No client's words are kept.
        known = scope["path"] in FILE_ROUTES | self.admission.open_paths
        route = getattr(scope.get("route"), "path", scope["path"] if known else "unmatched")
        # 499: nginx's number for a client that went away before its answer.
        status = exchange.status or 499
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "DELETE") else "other"
        self.measures.requests.labels(route, method, str(status)).inc()
        self.measures.seconds.labels(route).observe(seconds)
        facts = {
            "request": exchange.identity,
            "method": method,
            "route": route,
            "status": status,
            "seconds": round(seconds, 4),
            "bytes": exchange.received,
            **scope["state"].get("facts", {}),
        }
        LOG.info("request", extra={"facts": facts})


@dataclass
class _Exchange:
    """One request and its answer, watched while they pass."""

    receive: Receive
    send: Send
    most: int
    headers: Headers
    received: int = 0
    whole: bool = False
    gone: bool = False
    status: int | None = None
    identity: str = field(default_factory=lambda: secrets.token_hex(8))

    def __post_init__(self) -> None:
        self.whole = "transfer-encoding" not in self.headers and self.headers.get("content-length", "0") == "0"

    def check_announced(self, headers: Headers) -> None:
        """Refuse what says that it will be too large before any of it is read."""
        announced = headers.get("content-length", "0")
        if announced.isascii() and announced.isdigit() and int(announced) > self.most:
            raise self._too_large(f"{int(announced):,} bytes announced")

    async def take(self) -> Message:
        """The next piece of the request; Refused once there are too many bytes."""
        message = await self.receive()
        if message["type"] == "http.disconnect":
            self.gone = True
        else:
            self.received += len(message.get("body", b""))
            self.whole = not message.get("more_body", False)
            if self.received > self.most:
                raise self._too_large("more")
        return message

    async def give(self, message: MutableMapping[str, Any]) -> None:
        """The next piece of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers[name] = value
            headers["X-Request-Id"] = self.identity
            headers.setdefault("Cache-Control", "no-store")
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if not last or self.whole or self.gone:
            await self.send(message)
            return
        # Closed while the client still sends, the connection would be reset, and the answer lost with it.
        await self.send({**message, "more_body": True})
        await self._linger()
        await self.send({"type": "http.response.body", "body": b""})

    async def refuse(self, scope: Scope, refusal: Refused) -> None:
        """Answer with a refusal, unless an answer has begun."""
        if self.status is None and not self.gone:
            response = JSONResponse(refusal.content(), refusal.status_code, refusal.headers)
            await response(scope, self.take, self.give)

    async def _linger(self) -> None:
        """Let the client go on sending for a while, keeping nothing of it."""
        if "expect" in self.headers and not self.received:
            return  # it waits for a word before it sends, and that word was no
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while not self.whole and not self.gone:
                    message = await self.receive()
                    self.gone = message["type"] == "http.disconnect"
                    self.whole = not message.get("more_body", False)
        except TimeoutError:
            return

    def _too_large(self, got: str) -> Refused:
        return too_large("a request", self.most, got, "send the files in several requests")
