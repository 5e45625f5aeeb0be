"""Stands in front of Litestar: serves the three busiest calls and relay clients, watches over the rest.

A create, check or status as a plain form costs no routing and no framework here; any
other form of them, and everything else, goes on to Litestar. Both ways meet in
`Exchange.answer`, and both end in one line of the log. Relay clients have paths of the
operator's choice, and `/api/otp` beside them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from otpsvc.http.asked import Call
from otpsvc.http.calls import CHECK, CREATE, NEW, NEW_BY_PUT, STATUS
from otpsvc.http.client import Trusted, read_trusted
from otpsvc.http.envelope import WHOLE, secured, unrouted
from otpsvc.http.exchange import Exchange
from otpsvc.http.fields import FORM
from otpsvc.http.health import Pulse
from otpsvc.http.parts import Parts

_PREFIX: Final = b"/api/otp/"
_STATUS: Final = b"/status"
_HEALTH: Final = b"/api/health"
_NEW: Final = b"/api/otp"
_NEWS: Final = {"POST": NEW, "PUT": NEW_BY_PUT}


class Front:
    """The public application. `inner` is Litestar's."""

    def __init__(self, parts: Parts, trusted: Trusted, inner: Any) -> None:
        self._parts = parts
        self._trusted = trusted
        self._inner = inner
        self._pulse = Pulse(parts.verifier.store)
        self._relay = {path.encode() + end: path for path in parts.relay_paths for end in (b"", b"/")}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        exchange = Exchange(self._parts, self._trusted, scope)
        path = scope["raw_path"]
        if path == _HEALTH and scope["method"] == "GET":
            reply = await self._pulse.answer(exchange)
            await reply(scope, receive, send)
            exchange.log("/api/health", reply.status)
            return
        if path in self._relay:
            reply = await exchange.relayed(receive)
            await reply(scope, receive, send)
            exchange.log(self._relay[path], reply.status)
            return
        found = _found(scope, path, exchange)
        if found is None:
            await self._pass_on(exchange, scope, receive, send)
            return
        call, id = found
        reply = await exchange.answer(call, id, receive)
        await reply(scope, receive, send)
        exchange.log(call.route, reply.status)

    async def _pass_on(self, exchange: Exchange, scope: Any, receive: Any, send: Any) -> None:
        path = scope["raw_path"].decode("latin-1")
        # Routed by the path as it was sent: an escaped slash is no slash.
        scope = {**scope, "path": path, "state": {**scope.get("state", {}), "exchange": exchange}}
        watch = _Watch(send, exchange.id)
        try:
            if "//" in path:
                exchange.code = "unknown_route"
                reply = unrouted(404, exchange.id, problem=exchange.problem)
                await reply(scope, receive, watch)
            else:
                await self._inner(scope, receive, watch)
        except Exception as error:
            reply = exchange.refuse(error)
            if watch.status:
                raise
            await reply(scope, receive, watch)
        finally:
            exchange.log(scope.get("path_template", "?").replace(":str}", "}"), watch.status)


class Later:
    """An application that is made in a thread, at its first request or when `begin` is called.

    Litestar takes a quarter of a second to import; the busiest calls need not wait for it.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._app: Any = None
        self._making: asyncio.Future[Any] | None = None

    def begin(self) -> asyncio.Future[Any]:
        """Make it, if nobody has begun to."""
        if self._making is None:
            self._making = asyncio.get_running_loop().run_in_executor(None, self._make)
        return self._making

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._app is None:
            self._app = await asyncio.shield(self.begin())
        await self._app(scope, receive, send)


def build(parts: Parts) -> tuple[Front, Later]:
    """The public application, and the part of it that is made later. Raises: ValueError.

    ValueError names a proxy of `parts.trusted_proxies` that is no network.
    """
    framed = Later(partial(_framed, parts))
    return Front(parts, read_trusted(parts.trusted_proxies), framed), framed


def _framed(parts: Parts) -> Any:
    from otpsvc.http import api

    return api.framed(parts)


class _Watch:
    """A `send` that notes the status and completes the headers."""

    __slots__ = ("_request_id", "_send", "status")

    def __init__(self, send: Any, request_id: bytes) -> None:
        self._send = send
        self._request_id = request_id
        self.status = 0

    async def __call__(self, message: Any) -> None:
        if message["type"] == WHOLE:
            self.status = message["status"]
        elif message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": secured(list(message["headers"]), self._request_id)}
        await self._send(message)


def _found(scope: Any, path: bytes, exchange: Exchange) -> tuple[Call, str] | None:
    """What is served here, and the id in the path."""
    if path == _NEW:
        call = _NEWS.get(scope["method"])
        return (call, "") if call else None
    return _hot(scope["method"], path) if path.startswith(_PREFIX) and _plain(scope, exchange) else None


def _plain(scope: Any, exchange: Exchange) -> bool:
    """True for a form without query, Idempotency-Key and wish for another kind of answer."""
    headers = exchange.headers
    return (
        not scope["query_string"]
        and headers.get(b"content-type") == FORM
        and b"idempotency-key" not in headers
        and not exchange.problem
    )


def _hot(method: str, path: bytes) -> tuple[Call, str] | None:
    rest = path[len(_PREFIX) :]
    call = None
    if method == "POST":
        call = CHECK
        if rest.endswith(_STATUS):
            call, rest = STATUS, rest[: -len(_STATUS)]
    elif method == "PUT":
        call = CREATE
    if call is None or not rest or b"/" in rest or b"%" in rest:
        return None
    return call, rest.decode("latin-1")
