"""Requests with the retain flag: a broker hands them to every newcomer, and they were meant for one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.far_ends.mosquitto import MosquittoServer
from tests.feeders.lent import FakeLent
from tests.feeders.mqtt_rig import feeding, peer, round_trip
from tests.waiting import until

TOPICS = [f"kept/{number}" for number in range(30)]


@pytest.fixture
async def storm(broker: MosquittoServer) -> AsyncIterator[None]:
    """30 retained requests."""
    async with peer(broker) as shop:
        for topic in TOPICS:
            await shop.send(b"kept", topic=topic, retain=True)
        yield
        for topic in TOPICS:
            await shop.send(b"", topic=topic, retain=True)


@pytest.mark.usefixtures("storm")
async def test_ignored(broker: MosquittoServer, protocol: str) -> None:
    """Acknowledged, for they would fill the broker's window, and not taken; not at a reconnect either."""
    async with (
        feeding(broker, topic="kept/#", protocol=protocol) as gate,
        peer(broker) as shop,
    ):
        await shop.send(b"one", topic="kept/new")
        await until(lambda: gate.far.intake.ended)
        await round_trip(gate)
        gate.cut()
        await until(lambda: gate.far.tally.ups == 2)
        await shop.send(b"two", topic="kept/new")
        await until(lambda: len(gate.far.intake.ended) == 2)

        assert gate.far.intake.bodies == [b"one", b"two"]


@pytest.mark.usefixtures("storm")
async def test_taken_when_configured(broker: MosquittoServer, protocol: str) -> None:
    """Once: a broker that knows us handed them over before."""
    wanted: dict[str, Any] = {"topic": "kept/#", "client_id": f"takes-{protocol}", "protocol": protocol}
    async with feeding(broker, retained=True, **wanted) as gate, peer(broker) as shop:
        await until(lambda: len(gate.far.intake.ended) == len(TOPICS))
        await round_trip(gate)
        gate.cut()
        await until(lambda: gate.far.tally.ups == 2)
        await shop.send(b"new", topic="kept/new")
        await until(lambda: gate.far.intake.bodies[-1] == b"new")
        await round_trip(gate)

        assert gate.far.intake.bodies == [b"kept"] * len(TOPICS) + [b"new"]
    async with feeding(broker, retained=True, **wanted) as gate, peer(broker) as shop:
        await shop.send(b"newer", topic="kept/new")
        await until(lambda: gate.far.intake.ended)
        assert gate.far.intake.bodies == [b"newer"]


@pytest.mark.usefixtures("storm")
async def test_one_that_was_not_acknowledged_comes_again(broker: MosquittoServer, protocol: str) -> None:
    far = FakeLent()
    far.intake.block()
    async with feeding(broker, far, topic="kept/1", protocol=protocol, retained=True) as gate:
        await until(lambda: gate.far.intake.in_hand == 1)
        gate.cut()
        await until(lambda: gate.far.intake.in_hand == 2)

        assert [frame.again for frame in gate.far.intake.frames] == [False, True]


async def test_a_request_published_with_the_flag_while_we_are_here(broker: MosquittoServer) -> None:
    """To those who are subscribed already it comes without the flag, and is meant for now. (3.3.1.3)"""
    async with feeding(broker, topic="kept/now") as gate, peer(broker) as shop:
        await shop.send(b"now", topic="kept/now", retain=True)
        await until(lambda: gate.far.intake.ended)

        assert gate.far.intake.bodies == [b"now"]
        await shop.send(b"", topic="kept/now", retain=True)
