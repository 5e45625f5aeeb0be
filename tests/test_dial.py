"""Sockets for libraries that cannot open their own."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import pytest
import trustme

from otpsvc.dial import dial
from tests.far_ends.valkey import free_port
from tests.waiting import until


async def _reads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.transport.abort()


@pytest.fixture
def port() -> int:
    """Nobody listens there."""
    return free_port()


async def test_a_socket_that_does_not_block() -> None:
    async with await asyncio.start_server(_reads, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with await dial("127.0.0.1", port, None) as sock:
            assert not sock.getblocking()
            assert sock.getpeername() == ("127.0.0.1", port)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_every_address_of_a_name_is_tried(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def two(*_: object, **__: object) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", at)) for at in (port, listens)]

    async with await asyncio.start_server(_reads, "127.0.0.1", 0) as server:
        listens = server.sockets[0].getsockname()[1]
        monkeypatch.setattr(socket, "getaddrinfo", two)
        with await dial("broker.example", 1883, None) as sock:
            assert sock.getpeername() == ("127.0.0.1", listens)


async def test_nobody_listens(port: int) -> None:
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await dial("127.0.0.1", port, None)


@pytest.mark.parametrize("host", ["nobody.invalid", "a..b", "ü" * 70])
async def test_a_name_that_nobody_has(host: str) -> None:
    with pytest.raises((OSError, UnicodeError)):
        await dial(host, 1883, None)


@pytest.mark.parametrize(
    ("name", "trusted"), [("127.0.0.1", True), ("other.example", True), ("127.0.0.1", False)]
)
async def test_a_certificate_is_looked_at(name: str, trusted: bool) -> None:
    ca = trustme.CA()
    theirs, ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    ca.issue_cert(name).configure_cert(theirs)
    if trusted:
        ca.configure_trust(ours)
    async with await asyncio.start_server(_reads, "127.0.0.1", 0, ssl=theirs) as server:
        port = server.sockets[0].getsockname()[1]
        if trusted and name == "127.0.0.1":
            with await dial("127.0.0.1", port, ours) as sock:
                assert isinstance(sock, ssl.SSLSocket)
            return
        with pytest.raises(ssl.SSLCertVerificationError):
            await dial("127.0.0.1", port, ours)


async def test_cancelled_in_the_handshake_of_tls() -> None:
    """Nothing of it stays open."""
    begun, gone = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        begun.set()
        await reader.read()
        writer.close()
        gone.set()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        dialling = asyncio.create_task(dial("127.0.0.1", port, ssl.create_default_context()))
        await until(begun.is_set)
        dialling.cancel()
        await asyncio.wait([dialling])

        assert dialling.cancelled()
        await until(gone.is_set)
