"""Sockets for libraries that cannot open their own."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
from typing import Any

import pytest
import trustme

from otpsvc.dial import dial, why_no_line
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


# --- why there is no line --------------------------------------------------


async def _why(host: str, port: int, trust: trustme.CA | None) -> tuple[str, bool]:
    """As asyncio tells it, and as `dial` does: in the same words."""
    ours = ssl.create_default_context() if trust else None
    if trust and ours:
        trust.configure_trust(ours)
    with pytest.raises((OSError, UnicodeError)) as first:
        await dial(host, port, ours)
    with pytest.raises((OSError, UnicodeError)) as second:
        await asyncio.open_connection(host, port, ssl=ours)
    told = why_no_line(first.value, tls=bool(ours))
    assert why_no_line(second.value, tls=bool(ours)) == told
    return told


@pytest.mark.parametrize(
    ("name", "trusted", "expired", "words"),
    [
        ("localhost", True, True, "certificate has expired): the broker needs a new one"),
        ("localhost", False, False, "look at ca_file"),
        ("other.example", True, False, "look at the host in url"),
    ],
)
async def test_what_is_wrong_with_a_certificate(name: str, trusted: bool, expired: bool, words: str) -> None:
    ca, theirs = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    end = dt.datetime(2020, 1, 1) if expired else None
    start = dt.datetime(2019, 1, 1) if expired else None
    ca.issue_cert(name, not_before=start, not_after=end).configure_cert(theirs)
    async with await asyncio.start_server(_reads, "localhost", 0, ssl=theirs) as server:
        port = server.sockets[0].getsockname()[1]
        reason, lasting = await _why("localhost", port, ca if trusted else trustme.CA())

    assert lasting
    assert words in reason


@pytest.mark.parametrize(
    ("greeting", "words", "lasting"),
    [(b"AMQP\0\0\x09\x01", "speaks no TLS", True), (b"", "speak TLS?", False)],
)
async def test_a_port_without_tls(greeting: bytes, words: str, lasting: bool) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10_000)
        writer.write(greeting)
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        told = await _why("127.0.0.1", port, trustme.CA())

    assert words in told[0]
    assert told[1] == lasting


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_nobody_listens_is_told(host: str, port: int) -> None:
    assert await _why(host, port, None) == ("cannot connect (Connection refused)", False)


def test_a_name_that_is_not_found_is_told() -> None:
    for error in (socket.gaierror(socket.EAI_NONAME, "hidden"), UnicodeError("hidden")):
        assert why_no_line(error, tls=True) == ("cannot connect (Name not found)", False)
    away = why_no_line(socket.gaierror(socket.EAI_AGAIN, "hidden"), tls=True)
    assert away.reason == "cannot connect (Name cannot be looked up)"


def test_several_addresses_are_told_by_the_last() -> None:
    error = OSError("Multiple exceptions: [Errno 99] Connect call failed, [Errno 111] Connect call failed")

    assert why_no_line(error, tls=False).reason == "cannot connect (Connection refused)"
