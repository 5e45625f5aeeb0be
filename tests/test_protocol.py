"""One connection's bounds, on a real server: with little patience where it is about that."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest
import uvicorn

from otpsvc.protocol import HEAD_MAX, TARGET_MAX, HttpProtocol
from tests.waiting import PATIENCE

HEAD = b"GET / HTTP/1.1\r\nhost: otp\r\n"


class Patient(HttpProtocol):
    patience: ClassVar[float] = PATIENCE


class Brisk(HttpProtocol):
    patience: ClassVar[float] = 1.0


class Hasty(HttpProtocol):
    patience: ClassVar[float] = 0.3


async def app(_scope: Any, receive: Any, send: Any) -> None:
    """Answers once the body is there."""
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def port(request: pytest.FixtureRequest) -> AsyncIterator[int]:
    """Of a patient server, unless a test names another one."""
    kind: type[HttpProtocol] = getattr(request, "param", Patient)
    config = uvicorn.Config(app, http=kind, ws="none", lifespan="off", log_config=None, access_log=False)
    config.load()
    state: Any = uvicorn.server.ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: kind(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    async with server:
        yield server.sockets[0].getsockname()[1]
        for connection in list(state.connections):
            connection.transport.abort()


async def first(port: int, *sent: bytes, gap: float = 0.0) -> bytes:
    """The first bytes of the answer; b"" when the connection was cut instead."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = asyncio.create_task(reader.read(12))
    for piece in sent:
        writer.write(piece)
        await asyncio.wait([answer], timeout=gap)
        if answer.done():
            break
    try:
        async with asyncio.timeout(PATIENCE):
            return await answer
    except ConnectionError:
        return b""
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize(
    "request_",
    [
        HEAD + b"\r\n",
        b"POST / HTTP/1.1\r\nhost: otp\r\ncontent-length: 3\r\n\r\nabc",
        HEAD + b"x: " + b"y" * (HEAD_MAX - 100) + b"\r\n\r\n",
        b"GET /" + b"y" * (TARGET_MAX - 1) + b" HTTP/1.1\r\nhost: otp\r\n\r\n",
    ],
)
async def test_what_is_within_bounds_is_answered(port: int, request_: bytes) -> None:
    assert await first(port, request_) == b"HTTP/1.1 200"


async def test_a_request_in_pieces(port: int) -> None:
    assert await first(port, HEAD[:10], HEAD[10:], b"\r\n", gap=0.05) == b"HTTP/1.1 200"


@pytest.mark.parametrize(
    "request_",
    [
        HEAD + b"x: " + b"y" * (HEAD_MAX + TARGET_MAX) + b"\r\n\r\n",
        HEAD + b"x: y\r\n" * 5000 + b"\r\n",
        b"GET /" + b"y" * TARGET_MAX + b" HTTP/1.1\r\nhost: otp\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
async def test_what_is_larger_is_refused(port: int, request_: bytes) -> None:
    assert await first(port, request_) == b"HTTP/1.1 400"


async def test_a_head_without_end_is_refused_before_its_end(port: int) -> None:
    assert await first(port, HEAD, *(b"x: yyyyyyyyyyyyyyyy\r\n" * 100 for _ in range(15))) == b"HTTP/1.1 400"


@pytest.mark.parametrize(
    "begin", [b"", b"GET /", HEAD, HEAD + b"x-slow: ", b"POST / HTTP/1.1\r\ncontent-length: 9999\r\n\r\n"]
)
@pytest.mark.parametrize("port", [Hasty], indirect=True)
async def test_who_dawdles_is_cut(port: int, begin: bytes) -> None:
    """However often another byte of it comes."""
    began = asyncio.get_running_loop().time()
    drops = [b"x"] * 600 if begin else []

    assert await first(port, begin, *drops, gap=0.1) == b""

    # Not at once, and long before the last byte of it.
    assert 0.2 < asyncio.get_running_loop().time() - began < 30


@pytest.mark.parametrize("port", [Brisk], indirect=True)
async def test_a_kept_connection_may_rest_between_requests(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(3):
        writer.write(HEAD + b"\r\n")
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(1.2 * Brisk.patience)
    writer.close()
