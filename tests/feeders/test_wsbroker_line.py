"""Lines to brokers that refuse, redirect, hang, fall silent or cut."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from otpsvc.errors import BrokerError, BrokerGone, BrokerRefused
from otpsvc.feeders.wsbroker_line import Door
from tests.far_ends.cut_proxy import CutProxy
from tests.far_ends.ws_broker import LOGIN, Dialect, Misdeed, WsBroker
from tests.feeders.lent import FakeLent
from tests.feeders.ws_rig import Feeder, command, config, consuming, feeder, patient, session
from tests.waiting import PATIENCE, stays, until


@pytest.fixture
async def broker() -> AsyncIterator[WsBroker]:
    async with WsBroker("php") as server:
        yield server


@pytest.mark.parametrize(
    ("misdeed", "error", "words"),
    [
        ("answers_401", BrokerRefused, "refused the login"),
        ("answers_403", BrokerRefused, "refused the login"),
        ("answers_404", BrokerRefused, "no such path"),
        ("answers_200", BrokerRefused, "no WebSocket server"),
        ("answers_426", BrokerRefused, "no WebSocket server"),
        ("answers_429", BrokerGone, "HTTP 429"),
        ("answers_503", BrokerGone, "HTTP 503"),
        ("redirects", BrokerRefused, "redirect refused"),
        ("cuts_at_handshake", BrokerGone, "cannot connect"),
        ("closes_at_once", BrokerRefused, "refused the login"),
        ("cuts_at_once", BrokerRefused, "refused the login"),
        ("goes_away_at_once", BrokerGone, "1001"),
    ],
)
async def test_how_a_line_fails_to_open(
    broker: WsBroker, misdeed: Misdeed, error: type[BrokerError], words: str
) -> None:
    lent = FakeLent()
    broker.misdeed, broker.elsewhere = misdeed, broker.at("sms")
    async with patient(broker, lent) as made:
        with pytest.raises(error, match=words) as raised:
            await made.session()

    assert broker.connects == 1
    assert lent.tally.ups == 0
    assert "sms" not in str(raised.value)


async def test_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{bound.getsockname()[1]}/"
        async with Feeder("ws", config(url), FakeLent().lent) as made:
            with pytest.raises(BrokerGone, match="Connection refused"):
                await made.session()


async def test_a_handshake_that_hangs(broker: WsBroker) -> None:
    broker.misdeed = "hangs_at_handshake"
    async with patient(broker, FakeLent(), timeout=0.1) as made:
        with pytest.raises(BrokerGone, match="no answer in time"):
            await made.session()


async def test_a_proxy_of_the_environment_is_not_used(
    broker: WsBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "ws_proxy", "socks_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    async with consuming(broker, FakeLent()):
        pass


@pytest.mark.parametrize(
    ("close", "words"), [(1000, r"closed by the broker \(1000\)"), (0, "the line was cut")]
)
async def test_a_line_that_ends_may_be_opened_again(broker: WsBroker, close: int, words: str) -> None:
    lent = FakeLent()
    made = feeder(broker, lent)
    async with made:
        for turn in (1, 2):
            task = asyncio.create_task(made.session())
            await until(lambda: lent.tally.ups == turn and broker.receiving)  # noqa: B023 - awaited here
            await broker.publish("sms", command(turn))
            await until(lambda: len(lent.intake.ended) == turn)  # noqa: B023
            if close:
                await broker.close(close)
            else:
                broker.cut()
            with pytest.raises(BrokerGone, match=words):
                await task


async def test_a_message_over_64_kb_is_for_the_intake_to_refuse(broker: WsBroker) -> None:
    lent = FakeLent()
    large = command(1, pad="x" * 1_000_000)
    async with consuming(broker, lent):
        await broker.publish("sms", large, command(2))
        await until(lambda: len(lent.intake.frames) == 2)

    assert lent.intake.bodies[0] == large.encode()


async def test_a_message_over_a_megabyte_ends_the_line(broker: WsBroker) -> None:
    lent = FakeLent()
    async with consuming(broker, lent) as (_, task):
        await broker.publish("sms", command(1), "x" * 1_100_000)
        with pytest.raises(BrokerGone, match="over 1 MiB"):
            await task

    assert lent.intake.bodies == [command(1).encode()]


async def test_a_server_that_never_answers_pings_stays_connected(broker: WsBroker) -> None:
    lent = FakeLent()
    broker.misdeed = "never_pongs"
    async with consuming(broker, lent, ping=0.02) as (_, task):
        # A publisher cannot answer for it.
        await broker.publish("sms", command(1), '{"command":"connect","response_code":"00"}')
        # Time for many more pings than are sent.
        await stays(lambda: not task.done(), seconds=0.5)

        await broker.publish("sms", command(2))
        await until(lambda: len(lent.intake.frames) == 2)


async def test_a_2020_server_that_never_answers_pings_stays_connected() -> None:
    lent = FakeLent()
    async with WsBroker("2020") as broker:
        broker.ping_code, broker.misdeed = "", "never_pongs"
        async with consuming(broker, lent, ping=0.02) as (_, task):
            [client] = broker.clients
            await until(lambda: pings(client.said) == 3)
            await stays(lambda: pings(client.said) == 3 and not task.done())
            assert broker.receiving


@pytest.mark.parametrize("dialect", ["2020", "php", "java"])
async def test_a_server_that_answered_pings_and_falls_silent_is_left(dialect: Dialect) -> None:
    lent = FakeLent()
    async with WsBroker(dialect) as broker, consuming(broker, lent, ping=0.3) as (_, task):
        [client] = broker.clients
        await until(lambda: client.pinged)
        broker.ping_code, broker.misdeed = "", "never_pongs"
        with pytest.raises(BrokerGone, match="fell silent"):
            await asyncio.wait_for(task, PATIENCE)


async def test_no_pings_when_none_are_wanted(broker: WsBroker) -> None:
    async with consuming(broker, FakeLent(), ping=0):
        [client] = broker.clients
        await stays(lambda: client.pinged == 0)


@pytest.mark.parametrize("code", ["00", "01"])
async def test_a_ping_leaves_the_subscription_at_a_2020_server(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There it ends one; and `01` is its answer when its database is away."""
    # On a slow machine answers may be later than the next ping.
    monkeypatch.setattr("otpsvc.feeders.wsbroker_consumer._MISSED", 1_000_000)
    lent = FakeLent()
    async with WsBroker("2020") as broker:
        broker.ping_code = code
        async with consuming(broker, lent, ping=0.05) as (_, task):
            [client] = broker.clients
            await until(lambda: pings(client.said) > 3)
            await until(lambda: broker.receiving)
            said = [json.loads(one)["command"] for one in client.said]

            assert not task.done()

    assert said[:4] == ["receive-message", "ping", "receive-message", "ping"]


async def test_a_half_open_line_is_left(tmp_path: Path) -> None:
    """What we send vanishes, and nothing comes back."""
    lent = FakeLent()
    path = tmp_path / "broker"
    async with WsBroker("php", unix=path) as broker, CutProxy(str(path)) as proxy:
        url = proxy.url.replace("redis://", "ws://") + "/?topic=sms"
        async with session(Feeder("ws", config(url, ping=0.3), lent.lent)) as task:
            await until(lambda: broker.clients and broker.clients[0].pinged)
            await proxy.misbehave("hangs")
            with pytest.raises(BrokerGone, match="fell silent"):
                await asyncio.wait_for(task, PATIENCE)


async def test_a_line_that_we_do_not_read_is_not_held_for_silent(broker: WsBroker) -> None:
    lent = FakeLent()
    lent.intake.block()
    async with consuming(broker, lent, at_once=1, ping=0.2) as (_, task):
        [client] = broker.receiving
        await until(lambda: client.pinged)
        for number in range(200):
            await client.line.send(command(number))
        # Some intervals in which no pong is read.
        await stays(lambda: not task.done(), seconds=0.9)
        lent.intake.release()
        await until(lambda: len(lent.intake.ended) == 200)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the platform has no such option")
async def test_the_system_looks_after_the_line_too(broker: WsBroker) -> None:
    lent = FakeLent()
    async with consuming(broker, lent, ping=7) as (made, _):
        consumer = made._consumer
        assert consumer is not None
        sock = consumer._line.transport.get_extra_info("socket")
        options = {
            name: sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
            for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
        }
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1

    assert options == {
        "TCP_KEEPIDLE": 7,
        "TCP_KEEPINTVL": 7,
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": 21_000,
    }


async def test_a_loss_is_told_of_even_when_it_came_first(broker: WsBroker) -> None:
    told = []
    line = await door().open(broker.at("sms"))
    await line.hang_up()
    line.when_lost(lambda: told.append("lost"))

    assert told == ["lost"]


async def test_reading_again_is_a_sign_of_life(broker: WsBroker) -> None:
    """A pong may be among what was not read."""
    line = await door().open(broker.at("sms"))
    line.heard = 0.0
    line.recv_messages.resume()

    assert line.heard > 0
    await line.hang_up()


async def test_a_ping_and_the_new_subscription_are_one_write(broker: WsBroker) -> None:
    """A server that reads both at once is never without the subscription."""

    class Counted:
        def __init__(self, inner: asyncio.Transport) -> None:
            self.inner, self.writes = inner, list[bytes]()

        def write(self, data: bytes) -> None:
            self.writes.append(data)
            self.inner.write(data)

        def __getattr__(self, name: str) -> object:
            return getattr(self.inner, name)

    line = await door().open(broker.at("sms"))
    counted = Counted(line.transport)
    line.transport = cast("asyncio.Transport", counted)
    await line.say(b"one", b"two")
    [client] = broker.clients
    await until(lambda: client.said == ["one", "two"])
    await line.hang_up()

    assert len(counted.writes) == 1


def door() -> Door:
    return Door(login=LOGIN, tls=None, timeout=PATIENCE)


def pings(said: list[str | bytes]) -> int:
    return sum(json.loads(one)["command"] == "ping" for one in said)
