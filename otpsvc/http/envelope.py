"""How answers look: otpgateway's envelope with a stable `code`, or RFC 9457 for those who ask for it.

Every answer carries the same headers: its id in the log, and that nobody may keep it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from otpsvc import errors

Headers = list[tuple[bytes, bytes]]
#: An extension of our own server, see `protocol.py`: an answer as one message.
WHOLE: Final = "otpsvc.whole"
encode: Final = msgspec.json.Encoder().encode

_JSON: Final = (b"content-type", b"application/json; charset=utf-8")
_PROBLEM: Final = (b"content-type", b"application/problem+json")
_NO_STORE: Final = (b"cache-control", b"no-store")
_NO_SNIFF: Final = (b"x-content-type-options", b"nosniff")
_REALM: Final = (b"www-authenticate", b'Basic realm="otpsvc", charset="UTF-8"')
CLOSE: Final = (b"connection", b"close")

_STATUSES: Final[dict[type[Exception], int]] = {
    errors.BadRequest: 400,
    errors.BadAddress: 400,
    errors.CheckRefused: 400,
    errors.NotVerified: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.StillRunning: 409,
    errors.KeyReused: 422,
    errors.Limited: 429,
}
_CODES: Final = {404: "unknown_route", 405: "unknown_method"}
_SENTENCES: Final = {404: "There is nothing here.", 405: "Unknown method."}


class BodyRefused(errors.BadRequest):
    """A body that is not read to its end: the connection is closed after the answer."""


class Reply:
    """One answer, ready to be sent: an ASGI application of its own."""

    __slots__ = ("body", "code", "headers", "status")

    def __init__(self, status: int, body: bytes, headers: Headers, *, code: str = "") -> None:
        self.status = status
        self.body = body
        self.headers = headers
        self.code = code

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        """Send it, in one piece where the server offers that."""
        if WHOLE in scope.get("extensions", ()) and scope["method"] != "HEAD":
            await send({"type": WHOLE, "status": self.status, "headers": self.headers, "body": self.body})
            return
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


class _Refusal(Struct, omit_defaults=True):
    status: str
    message: str
    code: str
    data: object = None
    field: str = ""


class _Problem(Struct, omit_defaults=True):
    """RFC 9457, 3.1 and 3.2."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retry_after: int = 0
    field: str = ""
    data: object = None


def success(data: object, request_id: bytes, status: int = 200) -> Reply:
    """`data`, with the status of what was done."""
    body = b'{"status":"success","data":' + encode(data) + b"}"
    return Reply(status, body, _headers(_JSON, body, request_id))


def refusal(error: Exception, request_id: bytes, *, problem: bool = False, missing: int = 404) -> Reply:
    """What an error says. `missing`: the status of NotFound on this route.

    A foreign error says nothing but the request's id, by which the log has it.
    """
    if isinstance(error, errors.RequestError):
        status = _STATUSES.get(type(error)) or _inherited(error)
        if status == 404:
            status = missing
        wait = error.retry_after or int(status == 409)
        said = _Refusal("error", error.message, error.code, error.data, error.field)
    elif isinstance(error, errors.Busy):
        status, wait = 503, error.retry_after
        said = _Refusal("error", error.message, error.code)
    else:
        status, wait = 500, 0
        said = _Refusal("error", "Internal error.", "internal", {"request_id": request_id.decode()})
    more = [(b"retry-after", b"%d" % wait)] if wait else []
    if status == 401:
        more.append(_REALM)
    if isinstance(error, BodyRefused):
        more.append(CLOSE)
    return _reply(said, status, request_id, problem=problem, wait=wait, more=more)


def unrouted(
    status: int, request_id: bytes, *, problem: bool, allow: bytes = b"", sentence: str = ""
) -> Reply:
    """An unknown path (404) or method (405, with what is allowed), or what the framework refuses."""
    more = [(b"allow", allow)] if allow else []
    said = _Refusal("error", _SENTENCES.get(status, sentence), _CODES.get(status, "bad_request"))
    return _reply(said, status, request_id, problem=problem, wait=0, more=more)


def secured(headers: Headers, request_id: bytes) -> Headers:
    """Headers of somebody else's answer, with those that every answer of ours has."""
    names = {name for name, _ in headers}
    standard = (_NO_STORE, _NO_SNIFF, (b"x-request-id", request_id))
    return [*headers, *(header for header in standard if header[0] not in names)]


def _reply(
    said: _Refusal,
    status: int,
    request_id: bytes,
    *,
    problem: bool,
    wait: int,
    more: Sequence[tuple[bytes, bytes]],
) -> Reply:
    body = _problem(said, status, wait) if problem else encode(said)
    headers = _headers(_PROBLEM if problem else _JSON, body, request_id)
    headers.extend(more)
    return Reply(status, body, headers, code=said.code)


def _problem(said: _Refusal, status: int, wait: int) -> bytes:
    title = said.code.replace("_", " ").capitalize()
    kind = f"/problems/{said.code}"
    return encode(_Problem(kind, title, status, said.message, said.code, wait, said.field, said.data))


def _headers(kind: tuple[bytes, bytes], body: bytes, request_id: bytes) -> Headers:
    length = (b"content-length", b"%d" % len(body))
    return [kind, length, _NO_STORE, _NO_SNIFF, (b"x-request-id", request_id)]


def _inherited(error: errors.RequestError) -> int:
    return next((_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES), 400)
