"""A broker, or somebody who publishes there, that means harm; and what waits for its word."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from otpsvc.feeders.mqtt import MqttFeeder
from otpsvc.feeders.mqtt_verdict import LOST
from otpsvc.feeders.mqtt_window import Window
from tests.far_ends.mosquitto import MosquittoServer
from tests.feeders.lent import FakeLent
from tests.feeders.mqtt_rig import Feeding, config, feeding, peer, refusal, round_trip
from tests.waiting import PATIENCE, until

#: (MQTT 3.1.1, 3.2)
CONNACK: Final = b"\x20\x02\x00\x00"


@contextlib.asynccontextmanager
async def hostile(octets: bytes, *, late: bool) -> AsyncIterator[str]:
    """A broker that welcomes everybody, and says this: at once, or to a SUBSCRIBE. The URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.read(1000)
            writer.write(CONNACK)
            if late:
                await reader.read(1000)
            writer.write(octets)
            await reader.read()
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        # PUBLISH at QoS 2, of which we would keep every one until its second half comes.
        (b"\x34\x07\x00\x01a\x00\x01{}", "QoS 2"),
        # A length of five octets.
        (b"\x30\xff\xff\xff\xff\x01", "lost"),
        # A topic that is longer than its packet.
        (b"\x30\x03\xff\xffa", "unreadable packet|lost"),
        # PINGREQ, which is for clients.
        (b"\xc0\x00", "lost"),
        (b"\xf0\x00", "lost"),
        (b"\x00\x00", "lost"),
    ],
)
@pytest.mark.parametrize("late", [False, True])
async def test_what_nobody_may_send_ends_the_line(octets: bytes, words: str, late: bool) -> None:
    async with hostile(octets, late=late) as url:
        ended = await refusal(config(url=url))

    assert re.search(words, ended.reason), ended.reason


async def test_a_body_of_megabytes_is_not_kept_and_never_comes_again(broker: MosquittoServer) -> None:
    sizes = []

    class Measured(MqttFeeder):
        def _sort(self, line: Any, message: Any) -> None:
            sizes.append(len(message.payload))
            super()._sort(line, message)

    made = Feeding(config(broker), FakeLent())
    made.feeder = Measured("gate", made.feeder.config, made.far.lent)
    await made.start()
    async with peer(broker) as shop:
        await shop.send(b"x" * 30_000_000, b"{}")
        await until(lambda: len(made.far.intake.ended) == 2)
        # The broker has read the acknowledgements.
        await round_trip(made)
        made.cut()
        await until(lambda: made.far.tally.ups == 2)
        await shop.send(b"[]")
        await until(lambda: len(made.far.intake.ended) == 3)
        await made.stop()

    assert sizes[0] < 10_000_000
    assert made.far.intake.bodies[1:] == [b"{}", b"[]"]


@pytest.mark.parametrize("granted", [False, True])
async def test_a_turn_that_nobody_takes_any_more_is_the_next_ones(granted: bool) -> None:
    window = Window(1)
    window.sent(1)
    waiting = [asyncio.create_task(window.room()) for _ in range(2)]
    await asyncio.sleep(0)
    if granted:
        window.acked(1, 0)
    waiting[0].cancel()
    await asyncio.wait(waiting[:1])
    if not granted:
        window.acked(1, 0)

    await asyncio.wait_for(waiting[1], PATIENCE)
    assert len(window) == 0


async def test_the_end_of_a_line_ends_every_wait() -> None:
    window = Window(1)
    acked = window.sent(1)
    waits = asyncio.create_task(window.room())
    await asyncio.sleep(0)
    window.close()

    await asyncio.wait_for(waits, PATIENCE)
    assert acked.result() == LOST
    await asyncio.wait_for(window.room(), PATIENCE)


async def test_no_answer_to_a_place_that_only_looks_allowed(broker: MosquittoServer) -> None:
    """What a publisher names is taken as it is: braces stand for nothing in it."""
    far = FakeLent()
    far.intake.replies = {"answers/*"}
    async with feeding(broker, far) as gate:
        assert gate.feeder._answers_to("answers/{gateway}") == "answers/{gateway}"
        assert gate.feeder._answers_to("elsewhere") == ""


@pytest.mark.parametrize("steps", range(12))
async def test_a_session_that_is_cancelled_as_its_line_breaks_ends(
    broker: MosquittoServer, steps: int
) -> None:
    """The line's end and the cancellation meet: the first must not hide the second."""
    gate = Feeding(config(broker))
    session = asyncio.create_task(gate.feeder.session())
    await until(lambda: gate.far.tally.ups)
    gate.cut()
    for _ in range(steps):
        await asyncio.sleep(0)
    told = session.cancel()
    await asyncio.wait([session])

    assert session.cancelled() is told
    await gate.feeder.__aexit__(None, None, None)
