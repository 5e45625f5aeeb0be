"""MQTT channels when something goes wrong: nothing lost, nothing doubled without a doubt."""

from __future__ import annotations

import asyncio
import gc
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otpsvc.errors import Unavailable
from tests.channels import message
from tests.channels.insisting import (
    Ends,
    check_asked_once,
    check_closing,
    check_none_lost,
    check_not_hammered,
    cut_off,
    insist,
    insist_over_cuts,
    insist_over_restart,
    reason,
    settled,
    sockets,
)
from tests.channels.mqtt_rig import Listener, channel, listener, wire
from tests.far_ends.mosquitto import MosquittoServer
from tests.waiting import until


async def rest(box: Listener) -> list[str]:
    """Ids of all that came until now: the last is one of ours."""
    found: list[str] = []
    while not found or found[-1] != "end":
        payload = (await box.next()).payload
        assert isinstance(payload, bytes)
        found.append(json.loads(payload)["id"])
    return found[:-1]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"password": "wrong"}, "login refused"),
        ({"url": "mqtt://127.0.0.1:1"}, "cannot connect (Connection refused)"),
    ],
)
async def test_a_message_that_was_not_taken_is_free(
    mosquitto: MosquittoServer, table: dict[str, Any], expected: str, protocol: str
) -> None:
    """Another channel may send it, and the operator can see why."""
    before = asyncio.all_tasks()
    async with channel(mosquitto, protocol=protocol, **table) as way:
        assert await reason(way) == expected
    await settled(before)


async def test_a_login_that_may_not_publish_is_told(mosquitto: MosquittoServer) -> None:
    async with channel(mosquitto, username="reader") as way:
        assert await reason(way) == "the login may not publish there"


async def test_another_host_than_its_certificate_says_is_not_talked_to(mosquitto: MosquittoServer) -> None:
    async with channel(url=mosquitto.tls_url) as stranger:
        assert "look at ca_file" in await reason(stranger)
    async with (
        listener(mosquitto) as box,
        channel(url=mosquitto.tls_url, ca_file=str(mosquitto.ca_file)) as way,
    ):
        await asyncio.gather(*(way.send(message(id=f"m{at}")) for at in range(100)))
        await way.send(message(id="end"))

        assert len(await rest(box)) == 100


async def test_a_login_that_was_refused_is_not_hammered(mosquitto: MosquittoServer) -> None:
    async with wire(mosquitto) as far, channel(port=far.port, password="wrong") as way:
        await check_not_hammered(far, way)


async def test_a_broker_that_does_not_answer_is_not_asked_again(mosquitto: MosquittoServer) -> None:
    """The next message goes over a new connection; the first one's may have been its last."""
    async with listener(mosquitto), wire(mosquitto) as far, channel(port=far.port) as way:
        await check_asked_once(far, way)


@pytest.fixture
def _no_collection() -> Iterator[None]:
    """What nobody closes stays open."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="Linux tells what is open")
@pytest.mark.usefixtures("_no_collection")
async def test_a_broker_that_does_not_greet_leaves_the_message_free(mosquitto: MosquittoServer) -> None:
    before, opened = asyncio.all_tasks(), sockets()
    mosquitto.pause()
    try:
        async with channel(mosquitto) as way:
            sending = asyncio.ensure_future(way.send(message()))
            await until(lambda: sockets() - opened)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError) as cut:
                await sending
    finally:
        mosquitto.resume()
    assert isinstance(cut.value.__cause__, Unavailable)
    await settled(before)
    await until(lambda: sockets() <= opened)


async def test_nothing_is_lost_when_lines_are_cut(mosquitto: MosquittoServer) -> None:
    ends = Ends()
    async with listener(mosquitto) as box, wire(mosquitto) as far, channel(port=far.port) as way:
        await insist_over_cuts(far, way, ends)
        await insist(way, "end", ends)
        found = await rest(box)

    check_none_lost([*found, "end"], ends)


async def test_nothing_is_lost_when_the_broker_is_started_anew(mosquitto: MosquittoServer) -> None:
    """For a listener that the broker knows by name."""
    ends = Ends()
    async with listener(mosquitto, name="durable"):
        pass
    async with channel(mosquitto) as way:
        await insist_over_restart(mosquitto.restart, way, ends)
        await insist(way, "end", ends)
    async with listener(mosquitto, name="durable") as box:
        found = await rest(box)

    check_none_lost([*found, "end"], ends)


@pytest.mark.parametrize("kept", [True, False])
async def test_a_send_may_be_cut_off_anywhere(mosquitto: MosquittoServer, kept: bool) -> None:
    """What is said to be free was not published, what is said to be sent was; and the next one passes."""
    ends, before = Ends(), asyncio.all_tasks()
    async with listener(mosquitto) as box:
        for turns in range(30):
            async with channel(mosquitto) as way:
                if kept:
                    await way.ping()
                await cut_off(way, f"m{turns}", ends, turns=turns)
                await insist(way, f"next{turns}", ends)
        async with channel(mosquitto) as way:
            await insist(way, "end", ends)
        found = set(await rest(box)) | {"end"}

    assert ends.sent <= found
    assert not (ends.free - ends.sent) & found
    assert ends.free
    if kept:
        assert ends.doubtful
    await settled(before)


@pytest.fixture
def narrow(mosquitto: MosquittoServer) -> Iterator[MosquittoServer]:
    """Takes one unacknowledged message of each client. (MQTT 5, 3.2.2.3.3)"""
    with MosquittoServer("max_inflight_messages 1") as running:
        yield running


async def test_the_bound_of_the_broker_is_kept(narrow: MosquittoServer) -> None:
    async with listener(narrow) as box, channel(narrow) as way:
        await asyncio.gather(*(way.send(message(id=f"m{at}")) for at in range(50)))
        await way.send(message(id="end"))

        assert len(await rest(box)) == 50


async def test_who_waits_for_its_turn_is_free(narrow: MosquittoServer) -> None:
    async with listener(narrow), wire(narrow) as far, channel(port=far.port) as way:
        await way.ping()
        far.misdeed = "takes_and_waits"
        sends = [asyncio.ensure_future(way.send(message(id=f"m{at}"))) for at in range(4)]
        await far.arrived.wait()
        sends[1].cancel()
        with pytest.raises(asyncio.CancelledError) as cut:
            await sends[1]
        assert isinstance(cut.value.__cause__, Unavailable)

        far.cut()
        ends = await asyncio.gather(sends[0], *sends[2:], return_exceptions=True)
        assert [type(end).__name__ for end in ends] == ["Uncertain", "Unavailable", "Unavailable"]
        far.misdeed = ""
        await way.send(message())


async def test_it_says_goodbye_and_leaves_nothing(mosquitto: MosquittoServer) -> None:
    before = asyncio.all_tasks()
    async with channel(mosquitto, client_id="polite") as way:
        await way.ping()

    await settled(before)
    log = mosquitto.folder / "log"
    # How it ended, in a whole line.
    await until(lambda: re.search(r"Client polite .*\n", log.read_text().partition("as polite")[2]))
    assert "Client polite disconnected." in log.read_text()


async def test_closing_ends_what_is_under_way(mosquitto: MosquittoServer) -> None:
    before = asyncio.all_tasks()
    async with listener(mosquitto), wire(mosquitto) as far:
        await check_closing(far, channel(port=far.port))
    await settled(before)


async def test_what_a_broker_sends_unasked_does_not_pile_up() -> None:
    """Some subscribe their clients to topics by themselves."""

    async def chatty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(2)
        # CONNACK, then PUBLISH at QoS 0. (MQTT 5, 3.2, 3.3)
        writer.write(b"\x20\x03\x00\x00\x00" + b"\x30\x06\x00\x01a\x00{}" * 100)
        writer.write_eof()
        await reader.read()
        writer.close()

    async with (
        await asyncio.start_server(chatty, "127.0.0.1", 0) as server,
        channel(url=f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}") as way,
    ):
        line = await way._kept.line()
        await until(lambda: not line.is_open)

        assert len(line.messages) == 0
