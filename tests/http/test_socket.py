"""What only shows on a real connection: large and slow bodies, raw paths."""

from __future__ import annotations

import base64

import pytest

from tests.http.door import FORM, RARE_FORM, Door, Wire


async def said(wire: Wire, raw: bytes) -> tuple[int, bytes]:
    answer = await wire.say(raw)
    return int(answer.split(b" ")[1]), answer


def head(method: str, target: str, *lines: str) -> bytes:
    login = base64.b64encode(b"shop:planted-secret").decode()
    every = (f"{method} {target} HTTP/1.1", "Host: localhost", f"Authorization: Basic {login}", *lines)
    return "\r\n".join(every).encode() + b"\r\n\r\n"


@pytest.mark.parametrize("form", [FORM, RARE_FORM], ids=["hot", "litestar"])
async def test_a_large_body_is_refused_before_it_is_sent(
    form: str, plain_door: Door, session_wire: Wire
) -> None:
    session_wire.app = plain_door.app
    lines = (f"Content-Type: {form}", "Content-Length: 65537")

    status, answer = await said(session_wire, head("PUT", "/api/otp/user-123", *lines) + b"a=1")

    assert (status, b'"code":"body_too_large"' in answer, b"\r\nconnection: close\r\n" in answer) == (
        400,
        True,
        True,
    )


async def test_a_chunked_body_is_counted(plain_door: Door, session_wire: Wire) -> None:
    session_wire.app = plain_door.app
    lines = (f"Content-Type: {FORM}", "Transfer-Encoding: chunked")
    chunk = b"4000\r\n" + b"a" * 0x4000 + b"\r\n"

    fits = await said(session_wire, head("PUT", "/api/otp/user-123", *lines) + chunk + b"0\r\n\r\n")
    large = await said(session_wire, head("PUT", "/api/otp/user-123", *lines) + chunk * 5 + b"0\r\n\r\n")

    assert b'"code":"unknown_provider"' in fits[1]
    assert b'"code":"body_too_large"' in large[1]


async def test_no_body_is_read_from_strangers(plain_door: Door, session_wire: Wire) -> None:
    session_wire.app = plain_door.app
    raw = (
        b"PUT /api/otp/user-123 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 60000\r\n\r\n"
    )

    status, answer = await said(session_wire, raw)

    assert (status, answer.count(b"HTTP/1.1")) == (401, 1)


async def test_ids_are_read_from_the_raw_path(plain_door: Door, session_wire: Wire) -> None:
    session_wire.app = plain_door.app
    for target, status in (
        ("/api/otp/user%2F123", 400),
        ("/api/otp/user%252F123", 400),
        ("/api/otp/a%40b:c+d", 404),
        ("/api/otp/..%2f..%2fapi", 400),
        ("//api/otp/user-123", 404),
    ):
        assert (await said(session_wire, head("GET", target)))[0] == status, target
