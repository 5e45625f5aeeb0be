"""How relay clients are answered: as OTP-Broker and OTP-Pi answered them.

Their answers are 200 with JSON indented by 4 whatever became of the command, `{}` to what
they do not know, and bodies that are empty where nobody is let in (no WWW-Authenticate,
which would open a window in browsers). Unlike theirs, the length counts octets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from otpsvc.command import Batch
from otpsvc.errors import BadRequest, Busy, Limited, Unauthorized
from otpsvc.http.envelope import CLOSE, BodyRefused, Headers, Reply, secured
from otpsvc.lenient import read_json
from otpsvc.oldwords import FAILED, OK, encoded
from otpsvc.relay import Relay
from otpsvc.tenant import Tenant

METHODS: Final = frozenset({"POST", "PUT"})
_JSON: Final = (b"content-type", b"application/json")
_ALLOW: Final = (b"allow", b"POST, PUT")


def is_command(body: bytes) -> bool:
    """Whether this is a command, and no verification: an object, maybe broken, with a text `command`."""
    if not (b'"command"' in body and body.lstrip().startswith(b"{")):
        return False
    try:
        return isinstance(read_json(body).get("command"), str)
    except BadRequest:
        return True


async def carry_out(relay: Relay, tenant: Tenant, body: bytes, request_id: bytes) -> Reply:
    """Run the commands of a body."""
    try:
        batch = relay.read(body)
    except BadRequest as error:
        return _unread(error, request_id)
    try:
        answer = (await relay.run(tenant, batch)).answer or {}
    except Busy as error:
        return _busy(error, request_id, batch)
    code = answer.get("response_code", OK)
    return _reply(200, answer, request_id, code="" if code == OK else str(code))


def unknown_method(request_id: bytes) -> Reply:
    """405 without a body."""
    return _empty(405, request_id, "unknown_method", [_ALLOW])


def refusal(error: Exception, request_id: bytes) -> Reply:
    """What is said before a command is known, and when something broke."""
    if isinstance(error, Unauthorized):
        return _empty(401, request_id, error.code, [])
    if isinstance(error, Limited):
        return _empty(429, request_id, error.code, [_retry(error.retry_after)])
    if isinstance(error, Busy):
        return _busy(error, request_id, Batch(()))
    if isinstance(error, BodyRefused):
        status = 413 if error.code == "body_too_large" else 400
        return _reply(status, _failed("", error.message), request_id, code=error.code, more=[CLOSE])
    return _reply(500, _failed("", "Internal error."), request_id, code="internal")


def _unread(error: BadRequest, request_id: bytes) -> Reply:
    """`{}` to what is no JSON, as ever; other refusals have words."""
    answer = {} if error.code == "broken_json" else _failed("", error.message)
    return _reply(200, answer, request_id, code=error.code)


def _busy(error: Busy, request_id: bytes, batch: Batch) -> Reply:
    more = [_retry(error.retry_after)]
    return _reply(503, _failed(batch.word, error.message), request_id, code=error.code, more=more)


def _failed(word: str, words: str) -> dict[str, Any]:
    return {"command": word, "response_code": FAILED, "error": words, "data": {}}


def _retry(seconds: int) -> tuple[bytes, bytes]:
    return b"retry-after", b"%d" % seconds


def _empty(status: int, request_id: bytes, code: str, more: Headers) -> Reply:
    return Reply(status, b"", secured([(b"content-length", b"0"), *more], request_id), code=code)


def _reply(
    status: int, answer: Mapping[str, Any], request_id: bytes, *, code: str, more: Headers | None = None
) -> Reply:
    body = encoded(answer, indent=4)
    length = (b"content-length", b"%d" % len(body))
    return Reply(status, body, secured([_JSON, length, *(more or [])], request_id), code=code)
