"""An MQTT feeder over kills, cuts, restarts and rivals: nothing that was published at QoS 1 is lost."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import aiomqtt
import msgspec
import pytest

from otpsvc.errors import BrokerGone
from otpsvc.feeders.mqtt_verdict import LOST
from tests.channels.insisting import sockets
from tests.far_ends.mosquitto import PASSWORD, MosquittoServer
from tests.feeders.lent import FakeLent
from tests.feeders.mqtt_rig import Feeding, config, feeding, peer
from tests.waiting import PATIENCE, until

#: A feeder in a process of its own that says what it takes, and never ends a take.
VICTIM = """
import asyncio, sys, msgspec
from tests.feeders.lent import FakeLent
from otpsvc.feeders.mqtt import MqttFeeder, MqttConfig

async def main():
    far = FakeLent()
    far.intake.block()
    settings = msgspec.convert(msgspec.json.decode(sys.argv[1]), MqttConfig)
    async with MqttFeeder("gate", settings, far.lent) as feeder:
        task = asyncio.create_task(feeder.session())
        while not far.tally.ups:
            await asyncio.sleep(0.005)
        print("up", flush=True)
        while not far.intake.frames:
            await asyncio.sleep(0.005)
        print("taken", far.intake.frames[0].again, flush=True)
        await task

asyncio.run(main())
"""


async def test_killed_between_receipt_and_acknowledgement(broker: MosquittoServer, protocol: str) -> None:
    """kill -9 of the process that has the command in hand: the broker hands it over again, with DUP."""
    table = {"type": "mqtt", "tenant": "shop", "url": broker.url, "protocol": protocol}
    table |= {"username": "otpsvc", "password": PASSWORD, "client_id": f"killed-{protocol}"}
    root = Path(__file__).parent.parent.parent
    victim = await asyncio.create_subprocess_exec(
        sys.executable, "-c", VICTIM, msgspec.json.encode(table).decode(), cwd=root, stdout=-1
    )
    assert victim.stdout is not None
    try:
        async with asyncio.timeout(2 * PATIENCE), peer(broker) as shop:
            assert await victim.stdout.readline() == b"up\n"
            await shop.send(b"command")
            assert await victim.stdout.readline() == b"taken False\n"
    finally:
        with suppress(ProcessLookupError):
            victim.kill()
        await victim.communicate()

    async with feeding(broker, protocol=protocol, client_id=f"killed-{protocol}") as gate:
        await until(lambda: gate.far.intake.ended)
        assert [(one.body, one.again) for one in gate.far.intake.frames] == [(b"command", True)]


async def test_cut_while_a_take_runs(broker: MosquittoServer, protocol: str) -> None:
    """The take goes on; its end acknowledges nothing on the new line, where ids have begun anew."""
    async with feeding(broker, protocol=protocol, client_id=f"cut-{protocol}") as gate, peer(broker) as shop:
        gate.far.intake.block()
        await shop.send(b"one")
        await until(lambda: gate.far.intake.in_hand == 1)
        gate.cut()
        await until(lambda: gate.far.intake.in_hand == 2)
        # The first one ends now, the second is the same message, still in hand.
        gate.far.intake.release(1)
        await until(lambda: len(gate.far.intake.ended) == 1)
        gate.cut()
        await until(lambda: gate.far.intake.in_hand == 2)

        gate.far.intake.release()
        await until(lambda: len(gate.far.intake.ended) == 3)
        assert [(one.body, one.again) for one in gate.far.intake.frames] == [
            (b"one", False),
            (b"one", True),
            (b"one", True),
        ]
        assert gate.far.intake.cancelled == 0


async def test_the_end_of_a_line_ends_every_wait(broker: MosquittoServer) -> None:
    """Nobody hears of a message that the broker did not acknowledge."""
    async with feeding(broker) as gate:
        broker.pause()
        try:
            acked = await gate.line.send("elsewhere", b"")
            gate.cut()
            async with asyncio.timeout(PATIENCE):
                assert await acked == LOST
        finally:
            broker.resume()


async def test_what_was_not_begun_is_forgotten_with_its_line(broker: MosquittoServer) -> None:
    """Else it would be taken twice: the broker hands it over again."""
    async with feeding(broker, at_once=1, client_id="forgets") as gate, peer(broker) as shop:
        gate.far.intake.block()
        await shop.send(b"one", b"two", b"three")
        await until(lambda: len(gate.feeder._inflow._waiting) == 2)
        gate.cut()
        await until(lambda: gate.far.tally.ups == 2)
        await until(lambda: len(gate.feeder._inflow._waiting) == 3)
        gate.far.intake.release()
        await until(lambda: len(gate.far.intake.ended) == 4)

        assert gate.far.intake.bodies == [b"one", b"one", b"two", b"three"]


async def test_published_while_nobody_is_here(broker: MosquittoServer, protocol: str) -> None:
    async with feeding(broker, protocol=protocol, client_id=f"away-{protocol}"):
        pass
    async with peer(broker) as shop:
        await shop.send(b"one", b"two")
    async with feeding(broker, protocol=protocol, client_id=f"away-{protocol}") as gate:
        await until(lambda: len(gate.far.intake.ended) == 2)

        assert [(one.body, one.again) for one in gate.far.intake.frames] == [(b"one", False), (b"two", False)]


async def insistent(broker: MosquittoServer, bodies: list[bytes]) -> None:
    """Publish each until the broker has it, over its restarts."""
    rest = list(bodies)
    while rest:
        shop = aiomqtt.Client("127.0.0.1", broker.port, username="otpsvc", password=PASSWORD, timeout=10)
        try:
            async with shop:
                while rest:
                    await shop.publish("smsoutnew/gate", rest[0], qos=1)
                    rest.pop(0)
        except aiomqtt.MqttError:
            # aiomqtt leaves it there, and asyncio would complain.
            if shop._disconnected.done():
                shop._disconnected.exception()
            await asyncio.sleep(0.05)


async def test_the_broker_restarts_in_mid_stream(need: Callable[[str], str], protocol: str) -> None:
    """With persistence: every command that it took is taken."""
    need("mosquitto")
    bodies = [b"%d" % number for number in range(400)]
    with MosquittoServer() as broker:
        async with feeding(broker, at_once=5, protocol=protocol) as gate:
            publishing = asyncio.create_task(insistent(broker, bodies))
            for share in (100, 250):
                await until(lambda share=share: len(gate.far.intake.ended) >= share)  # type: ignore[misc]
                await asyncio.to_thread(broker.restart)
            await until(publishing.done)
            await publishing
            await until(lambda: {frame.body for frame in gate.far.intake.ended} >= set(bodies))
            assert gate.ends
            assert all(isinstance(end, BrokerGone) for end in gate.ends)


async def test_two_with_one_client_id(broker: MosquittoServer, protocol: str) -> None:
    """Each throws the other out in turn; nothing breaks, and nothing is lost."""
    # The pause leaves a slow machine time for the one that is there.
    async with (
        feeding(broker, pause=0.2, client_id=f"twin-{protocol}", protocol=protocol) as one,
        feeding(broker, pause=0.2, client_id=f"twin-{protocol}", protocol=protocol) as two,
        peer(broker) as shop,
    ):
        bodies = [b"%d" % number for number in range(50)]
        for body in bodies:
            await shop.send(body)
        await until(lambda: {*one.far.intake.bodies, *two.far.intake.bodies} == set(bodies))
        await until(lambda: len(one.ends) > 2 and len(two.ends) > 2)

        assert all(isinstance(end, BrokerGone) for end in [*one.ends, *two.ends])


async def test_the_broker_says_why(broker: MosquittoServer) -> None:
    """Version 5 has a DISCONNECT of the broker; here for an octet that begins no packet."""
    async with feeding(broker, protocol="5", client_id="babbler") as gate:
        gate.line._stream.send(b"\x00\x00")
        await until(lambda: gate.ends)

        assert str(gate.ends[0]).startswith("the broker ended it: ")


async def test_a_half_open_line_is_found(broker: MosquittoServer) -> None:
    """The broker is there no more, but no packet says so."""
    async with feeding(broker, keepalive=1, client_id="half-open") as gate:
        broker.pause()
        try:
            await until(lambda: gate.ends)
        finally:
            broker.resume()
        await until(lambda: gate.far.tally.ups >= 2)

        assert isinstance(gate.ends[0], BrokerGone)


async def test_drain_ends_what_is_in_hand(broker: MosquittoServer) -> None:
    """And begins nothing more: the broker keeps the rest."""
    gate = Feeding(config(broker, at_once=2, client_id="drained"))
    await gate.start()
    async with peer(broker) as shop:
        gate.far.intake.block()
        await shop.send(*[b"%d" % number for number in range(6)])
        await until(lambda: len(gate.feeder._inflow._waiting) == 4)
        draining = asyncio.create_task(gate.feeder.drain())
        await asyncio.sleep(0)
        await shop.send(b"late")
        assert not draining.done()
        gate.far.intake.release()
        async with asyncio.timeout(PATIENCE):
            await draining
    await gate.stop()
    assert gate.far.intake.bodies == [b"0", b"1"]

    async with feeding(broker, client_id="drained") as gate:
        await until(lambda: len(gate.far.intake.ended) == 5)
        assert sorted(gate.far.intake.bodies) == [b"2", b"3", b"4", b"5", b"late"]


async def test_what_cannot_come_again_is_counted(broker: MosquittoServer) -> None:
    """QoS 0, in hand or waiting when the feeder is closed."""
    gate = Feeding(config(broker, at_once=1, client_id="counts"))
    await gate.start()
    async with peer(broker) as shop:
        gate.far.intake.block()
        await shop.send(b"a", b"b", b"c", qos=0)
        await until(lambda: len(gate.feeder._inflow._waiting) == 2)
    await gate.stop(drain=False)

    assert sum(gate.far.tally.losses) == 3
    assert gate.far.intake.cancelled == 1


async def test_what_cannot_come_again_outlives_its_line(broker: MosquittoServer) -> None:
    async with feeding(broker, at_once=1, client_id="outlives") as gate, peer(broker) as shop:
        gate.far.intake.block()
        await shop.send(b"a", b"b", qos=0)
        await until(lambda: len(gate.feeder._inflow._waiting) == 1)
        gate.cut()
        await until(lambda: gate.far.tally.ups == 2)
        gate.far.intake.release()
        await until(lambda: len(gate.far.intake.ended) == 2)

        assert gate.far.tally.losses == []


@pytest.mark.parametrize("tls", [False, True])
async def test_cancelled_at_any_stage(broker: MosquittoServer, tls: bool) -> None:
    """Nothing is left behind: no task, no socket, no warning."""
    settings = config(broker, client_id="cancelled", heartbeat=1)
    if tls:
        settings = config(broker, url=broker.tls_url, ca_file=str(broker.ca_file), client_id="cancelled")
    before, tasks = sockets(), asyncio.all_tasks()
    stages = set()
    for turns in range(40):
        gate = Feeding(settings, FakeLent())
        await gate.start(ready=turns == 39)
        for _ in range(turns):
            await asyncio.sleep(0.0005)
        stages.add((gate.line is not None, gate.far.tally.ups))
        await gate.stop()
        assert gate.ends == []
        assert asyncio.all_tasks() <= tasks

    assert {(False, 0), (True, 1)} <= stages
    await until(lambda: sockets() <= before)
