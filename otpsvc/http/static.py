"""`/static/…`: the widget for tenants' sites, under its name and under one that changes with it.

`otp.js` may be kept for an hour, `otp.<hash>.js` for ever: the hash is the first 8 hex
digits of the file's SHA-256. Any site may load them (CORS), as subresource integrity wants.
"""

from __future__ import annotations

import gzip
from functools import cache
from hashlib import sha256
from typing import Any, Final

from litestar import Request
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp
from msgspec import Struct

from otpsvc.http.envelope import Headers, Reply, secured, unrouted
from otpsvc.http.exchange import Exchange
from otpsvc.render import script_folder

_KINDS: Final = {
    "otp.js": b"text/javascript; charset=utf-8",
    "otp.mjs": b"text/javascript; charset=utf-8",
    "otp.d.ts": b"text/plain; charset=utf-8",
}
_HOUR: Final = b"public, max-age=3600"
_FOR_EVER: Final = b"public, max-age=31536000, immutable"


class File(Struct, frozen=True):
    """One file as it is served."""

    kind: bytes
    body: bytes
    packed: bytes
    tag: bytes
    keep: bytes


@cache
def files() -> dict[str, File]:
    """By name, both names of each."""
    found: dict[str, File] = {}
    for name, kind in _KINDS.items():
        body = (script_folder() / name).read_bytes()
        digest = sha256(body).hexdigest()[:8]
        stem, dot, rest = name.partition(".")
        packed = gzip.compress(body, mtime=0)
        # Weak: packed or not, it is the same file.
        tag = b'W/"%s"' % digest.encode()
        found[name] = File(kind, body, packed, tag, _HOUR)
        found[f"{stem}.{digest}{dot}{rest}"] = File(kind, body, packed, tag, _FOR_EVER)
    return found


def static() -> HTTPRouteHandler:
    """For Litestar."""

    async def serve(request: Request[Any, Any, Any]) -> ASGIApp:
        exchange: Exchange = request.scope["state"]["exchange"]
        file = files().get(request.path_params["name"])
        if file is None:
            return unrouted(404, exchange.id, problem=exchange.problem)
        return _reply(file, exchange)

    return HTTPRouteHandler("/static/{name:str}", http_method=["GET", "HEAD"])(serve)


def _reply(file: File, exchange: Exchange) -> Reply:
    headers: Headers = [
        (b"cache-control", file.keep),
        (b"etag", file.tag),
        (b"vary", b"accept-encoding"),
        (b"access-control-allow-origin", b"*"),
        (b"cross-origin-resource-policy", b"cross-origin"),
    ]
    if file.tag in exchange.headers.get(b"if-none-match", b""):
        return Reply(304, b"", secured(headers, exchange.id))
    packs = b"gzip" in exchange.headers.get(b"accept-encoding", b"")
    body = file.packed if packs else file.body
    headers += [(b"content-type", file.kind), (b"content-length", b"%d" % len(body))]
    if packs:
        headers.append((b"content-encoding", b"gzip"))
    return Reply(200, body, secured(headers, exchange.id))
