"""Stands in front of the service: lets in what this machine asks for, and serves `/demo` beside it."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from litestar.types import ASGIApp, Receive, Scope, Send

#: Any port: it may be forwarded. What counts is that no foreign name stands here.
_OWN_HOST: Final = re.compile(rb"(?:localhost|127\.0\.0\.1)(?::[0-9]{1,5})?", re.IGNORECASE)
_REFUSED: Final = b"This demo answers as localhost or 127.0.0.1 alone.\n"


class Front:
    """An ASGI app that splits the paths between the demo's pages and the service.

    A page of another site whose name is made to point to this machine (DNS
    rebinding) would be of our origin for its browser; its name stands in Host.
    """

    def __init__(self, *, service: ASGIApp, demo: ASGIApp) -> None:
        self._service = service
        self._demo = demo

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = str(scope["type"])
        if kind not in ("http", "websocket"):
            await self._service(scope, receive, send)
        elif not _from_here(scope["headers"]):
            await _refuse(send, websocket=kind == "websocket")
        elif scope["path"] == "/demo" or scope["path"].startswith("/demo/"):
            await self._demo(scope, receive, send)
        else:
            await self._service(scope, receive, send)


def is_ours(*, site: str, origin: str, host: str, given: str, token: str) -> bool:
    """True when a POST comes from a page of the demo.

    `site` and `origin` are headers, which browsers set and pages cannot change;
    `given` is what the form carried. `same-site` is not enough: every port of
    localhost is the same site.
    """
    if site not in ("", "same-origin", "none"):
        return False
    if origin and urlsplit(origin).netloc != host:
        return False
    return hmac.compare_digest(given.encode(), token.encode())


def _from_here(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    hosts = [value for name, value in headers if name == b"host"]
    return len(hosts) == 1 and _OWN_HOST.fullmatch(hosts[0]) is not None


async def _refuse(send: Send, *, websocket: bool) -> None:
    if websocket:
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(_REFUSED))]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": _REFUSED, "more_body": False})
