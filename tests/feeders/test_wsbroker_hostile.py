"""A far end that speaks no WebSocket, or speaks it to do harm."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest
from websockets.utils import accept_key

from otpsvc.errors import BrokerError, BrokerGone, BrokerRefused
from otpsvc.feeder import Frame, Taken
from otpsvc.feeders.wsbroker_consumer import Consumer
from otpsvc.feeders.wsbroker_hand import Hand
from tests.far_ends.ws_broker import WsBroker
from tests.feeders.lent import FakeIntake, FakeLent
from tests.feeders.ws_rig import Feeder, Patient, command, config, consuming, feeder
from tests.waiting import PATIENCE, until

Handler = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
TEXT, PING, CONT = 1, 9, 0
UPGRADE: Final = b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


@contextlib.asynccontextmanager
async def listening(handler: Handler, *, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """A server of octets; `handler` is given what answers the handshake. The URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            await handler(_welcome(head), reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(serve, host, 0)
    shown = f"[{host}]" if ":" in host else host
    try:
        yield f"ws://{shown}:{server.sockets[0].getsockname()[1]}/?topic=sms"
    finally:
        server.close()


def _welcome(head: bytes) -> bytes:
    [key] = [line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:")]
    accept = accept_key(key.partition(b": ")[2].decode()).encode()
    return UPGRADE + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"


def frame(kind: int, body: bytes = b"", *, last: bool = True) -> bytes:
    return bytes([last << 7 | kind, len(body)]) + body


def saying(octets: bytes, *, welcome: bool = False) -> Handler:
    """Says this, and hangs up when it is hung up on or everything was read."""

    async def handler(greeting: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((greeting if welcome else b"") + octets)
        writer.write_eof()
        await reader.read()

    return handler


async def session_at(handler: Handler, *, made_by: type[Feeder | Patient] = Patient) -> BrokerError:
    """How it ends."""
    async with listening(handler) as url, made_by("ws", config(url, timeout=20), FakeLent().lent) as made:
        with pytest.raises(BrokerError) as raised:
            await asyncio.wait_for(made.session(), PATIENCE)
    return raised.value


@pytest.mark.parametrize(
    ("octets", "error"),
    [
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", BrokerRefused),
        (b"HTTP/1.0 101 X\r\n\r\n", BrokerRefused),
        (b"HTTP/1.1 101 X\r\n\r\n", BrokerRefused),
        (UPGRADE + b"\r\n", BrokerRefused),
        (UPGRADE + b"Sec-WebSocket-Accept: of-another-key\r\n\r\n", BrokerRefused),
        (b"HTTP/1.1 404 X\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", BrokerRefused),
        (b"HTTP/1.1 101 X\r\n" + b"A: b\r\n" * 1000, BrokerRefused),
        (b"H" * 100_000, BrokerRefused),
        # Cut short, as by a server that is going away.
        (b"HTTP/1.1 500 X\r\nContent-Length: 1000\r\n\r\n", BrokerGone),
        (b"", BrokerGone),
    ],
)
async def test_what_is_no_handshake_ends_the_attempt(octets: bytes, error: type[BrokerError]) -> None:
    ended = await session_at(saying(octets))

    assert type(ended) is error
    assert "H" * 100 not in str(ended)


@pytest.mark.parametrize("header", [b"Sec-WebSocket-Protocol: x", b"Sec-WebSocket-Extensions: x"])
async def test_what_we_did_not_ask_for_is_refused(header: bytes) -> None:
    async def handler(greeting: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting[:-2] + header + b"\r\n\r\n")
        await reader.read()

    assert isinstance(await session_at(handler), BrokerRefused)


@pytest.mark.parametrize(
    "octets",
    [
        b"\x83\x00",
        b"\x81\x81\x01\x02\x03\x04\x05",
        b"\xf1\x00",
        b"\x81\x7f\x7f" + b"\xff" * 7,
        b"\x09\x00",
        frame(CONT, b"x"),
        frame(8, b"\x03\xe8\xff\xfe"),
        frame(8, b"\x00"),
    ],
)
async def test_what_is_no_frame_ends_the_line(octets: bytes) -> None:
    error = await session_at(saying(octets, welcome=True))

    assert isinstance(error, BrokerGone)
    assert "no WebSocket frame" in str(error) or "over 1 MiB" in str(error)


@pytest.mark.parametrize("made_by", [Feeder, Patient])
async def test_a_message_in_endless_pieces_ends_the_line(made_by: type[Feeder | Patient]) -> None:
    pieces = frame(TEXT, last=False) + frame(CONT, last=False) * 20_000
    error = await session_at(saying(pieces, welcome=True), made_by=made_by)

    assert isinstance(error, BrokerGone)
    assert "too many pieces" in str(error)


async def test_a_broker_that_pings_and_never_reads_is_left() -> None:
    """Else all our pongs would wait in memory."""
    written = 0

    async def handler(greeting: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(greeting)
        for _ in range(400):
            writer.write(frame(PING, b"p" * 125) * 1000)
            await writer.drain()
            written += 1

    assert isinstance(await session_at(handler, made_by=Feeder), BrokerGone)
    # Of 50 MB; what the system holds in between counts, too.
    assert written < 300


async def test_text_that_is_no_utf_8_is_for_the_intake_to_refuse() -> None:
    lent, bodies = FakeLent(), [b"\xff\xfe", b"{}"]

    async def handler(greeting: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting + b"".join(frame(TEXT, body) for body in bodies))
        await reader.read()

    async with listening(handler) as url, Feeder("ws", config(url), lent.lent) as made:
        task = asyncio.create_task(made.session())
        await until(lambda: len(lent.intake.ended) == 2)
        task.cancel()
        await asyncio.wait([task])

    assert lent.intake.bodies == bodies


async def test_a_host_in_ipv6() -> None:
    async def handler(greeting: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting + frame(TEXT, b"{}"))
        await reader.read()

    lent, stack = FakeLent(), contextlib.AsyncExitStack()
    async with stack:
        try:
            url = await stack.enter_async_context(listening(handler, host="::1"))
        except OSError:
            pytest.skip("no IPv6 here")
        made = await stack.enter_async_context(Feeder("ws", config(url), lent.lent))
        task = asyncio.create_task(made.session())
        await until(lambda: lent.intake.ended)
        task.cancel()
        await asyncio.wait([task])


async def test_many_lines_one_after_the_other_leave_nothing_behind() -> None:
    lent = FakeLent()
    # No ping ends a task that was forgotten.
    async with WsBroker("php") as broker, feeder(broker, lent, ping=3600) as made:

        async def line(number: int) -> None:
            task = asyncio.create_task(made.session())
            await until(lambda: lent.tally.ups == number and broker.receiving)
            await broker.receiving[0].line.send(command(number))
            await until(lambda: len(lent.intake.ended) == number)
            broker.cut()
            await asyncio.wait([task])
            assert isinstance(task.exception(), BrokerGone)
            await until(lambda: not broker.clients)

        await line(1)
        before = _held()
        for number in range(2, 22):
            await line(number)
        await until(lambda: all(now <= then for now, then in zip(_held(), before, strict=True)))

    assert lent.tally.losses == []


def _held() -> tuple[int, int, int]:
    """Tasks, threads and open files of this process."""
    gc.collect()
    return len(asyncio.all_tasks()), threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))


async def test_a_rejection_that_nobody_waits_for_any_more_ends_nothing() -> None:
    """It came while the session was cut off."""
    lent = FakeLent()
    async with WsBroker("2020") as broker, feeder(broker, lent) as made:
        broker.greeting = "01"
        line = await made._door.open(broker.at("sms"))
        await until(lambda: len(line.recv_messages.frames))
        await line.hang_up()
        consumer = Consumer(line, made._hand, own=made._own, place="sms", moment=1, ping=0, up=lent.tally.up)

        await consumer.rest()
    assert lent.intake.frames == []


async def test_a_take_that_ends_well_when_it_is_cut_off_is_not_lost() -> None:
    class Quick(FakeIntake):
        async def take(self, frame: Frame) -> Taken:
            with contextlib.suppress(asyncio.CancelledError):
                return await super().take(frame)
            return Taken()

    lent = FakeLent()
    lent.intake = Quick()
    lent.intake.block()
    async with WsBroker("php") as broker, consuming(broker, lent) as (_, task):
        await broker.publish("sms", command(1))
        await until(lambda: lent.intake.in_hand)
        task.cancel()
        await asyncio.wait([task])

    assert lent.tally.losses == []


async def test_a_broker_that_floods_a_line_that_closes_fills_no_memory() -> None:
    """Nobody waits for room then; but there is an end to that, too."""
    lent, said = FakeLent(), command(1, pad="x" * 1_000_000).encode()
    hand = Hand(lent.intake, lent.tally, at_once=1, name="ws", taken=lambda _: None)
    lent.intake.block()
    hand.flood()
    put = 0
    while hand._room.is_set() and put < 100:
        hand.put(said)
        put += 1

    assert 15 < put < 25
    lent.intake.release()
    await asyncio.wait_for(hand.empty(), PATIENCE)
    await asyncio.wait_for(hand.room(), PATIENCE)
    await hand.give_up()


async def test_drained_while_the_broker_thinks_about_the_handshake() -> None:
    lent, asked, go, left = FakeLent(), asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handler(greeting: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await go.wait()
        writer.write(greeting + frame(TEXT, b"{}"))
        with contextlib.suppress(ConnectionError):
            await reader.read()
        left.set()

    async with listening(handler) as url, Feeder("ws", config(url, timeout=60), lent.lent) as made:
        task = asyncio.create_task(made.session())
        await asked.wait()
        await made.drain()
        go.set()
        await asyncio.wait_for(left.wait(), PATIENCE)
        task.cancel()
        await asyncio.wait([task])

    assert lent.tally.ups == 0
    assert lent.intake.frames == []
