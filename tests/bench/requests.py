"""The bytes of requests: made before the clock starts, as a tenant's server would send them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

#: A code that callers supply where a later check must know it, and one that is never right.
CODE: Final = "271828"
WRONG: Final = "314159"
#: Checks of one challenge; the cap of a default config.
ATTEMPTS: Final = 10
#: Seconds that challenges live: nothing ends by itself while it is measured.
LIFE: Final = 86_400

_HEAD: Final = (
    b"%s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: %s\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n%sContent-Length: %d\r\n\r\n%s"
)


def new_ids(count: int) -> list[str]:
    """Ids as long as those that the service makes itself (22 characters)."""
    return [secrets.token_hex(11) for _ in range(count)]


def create(
    authorization: bytes,
    ids: Sequence[str],
    *,
    code: str = "",
    idempotent: bool = False,
    life: int = LIFE,
) -> list[bytes]:
    """PUT /api/otp/{id} with a phone number of its own for each; `code` is supplied if given.

    `life` in seconds.
    """
    supplied = f"&otp={code}" if code else ""
    requests = []
    for at, id in enumerate(ids):
        number = f"%2B62812{secrets.randbelow(10**4):04d}{at % 10**5:05d}"
        body = f"provider=hook&to={number}&ttl={life}&max_attempts={ATTEMPTS}{supplied}"
        key = f"Idempotency-Key: {secrets.token_hex(11)}\r\n" if idempotent else ""
        requests.append(_request(f"PUT /api/otp/{id}", authorization, body, more=key))
    return requests


def check(authorization: bytes, ids: Sequence[str], code: str) -> list[bytes]:
    """POST /api/otp/{id}."""
    return [_request(f"POST /api/otp/{id}", authorization, f"otp={code}") for id in ids]


def status(authorization: bytes, ids: Sequence[str]) -> list[bytes]:
    """POST /api/otp/{id}/status."""
    return [_request(f"POST /api/otp/{id}/status", authorization, "") for id in ids]


def page(targets: Sequence[str]) -> list[bytes]:
    """GET of the page of a code, as a browser asks for it."""
    head = "GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html\r\nAccept-Encoding: gzip, br\r\n\r\n"
    return [head.format(target).encode() for target in targets]


def bare() -> list[bytes]:
    """For the yardstick, as long as a status."""
    return status(b"Basic " + b"x" * 66, new_ids(1))


def _request(line: str, authorization: bytes, body: str, *, more: str = "") -> bytes:
    return _HEAD % (line.encode(), authorization, more.encode(), len(body), body.encode())
