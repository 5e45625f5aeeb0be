"""A process that feeds is killed, stopped, reloaded and robbed of its store in mid-stream."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.drills.conftest import Enter, NewPlace, Store
from tests.drills.ends import Hook
from tests.drills.feeders_stream import KEPT, Stream, left_behind
from tests.drills.place import Place, Service, tenant, webhook
from tests.far_ends.mosquitto import MosquittoServer
from tests.far_ends.rabbitmq import RabbitServer
from tests.feeders.mqtt_rig import Peer, peer
from tests.flows.feeders_rig import Amqp, connected, mqtt_feeder, rabbit_feeder, serve_feeders
from tests.waiting import PATIENCE, until

pytest_plugins = ["tests.drills.feeders_far"]
#: A broker that starts slowly is tried again every 30 s: longer than a test usually may take.
pytestmark = pytest.mark.timeout(600)

SHOP = tenant("shop", scopes=["otp", "sms"])


class Rig:
    """One process feeds, another delivers; the first is what is hurt."""

    def __init__(self, place: Place, store: Store, hook: Hook, amqp: Amqp, mqtt: Peer) -> None:
        self.place, self.store, self.hook, self.amqp, self.mqtt = place, store, hook, amqp, mqtt
        self.stream = Stream(hook)
        self.feeding: Service

    async def stream_of(self, rabbit: int, mqtt: int, *, taken: int = 40) -> None:
        """So many over each broker, let go at once; until the store has something of so many."""
        self.feeding.pause()
        await self.amqp.publish("stream", *self.stream.make(rabbit))
        await self.mqtt.flood([one.encode() for one in self.stream.make(mqtt)], "smsoutnew/stream")
        keys = int(self.store.ask("DBSIZE"))
        self.feeding.resume()
        await until(lambda: int(self.store.ask("DBSIZE")) >= keys + taken, lambda: self.feeding.log[-3000:])

    async def again(self) -> None:
        self.feeding = await serve_feeders(self.place)

    async def whole(self) -> None:
        """All arrived, each as one message, handed over once."""
        await self.stream.arrived(lambda: f"{len(self.stream.missing())} missing\n{self.feeding.log[-3000:]}")
        assert self.stream.doubled() == {}
        assert self.stream.repeated() == []
        assert self.stream.strangers() == set()


@pytest.fixture(scope="module")
async def rig(far_rabbit: RabbitServer, far_mosquitto: MosquittoServer) -> AsyncIterator[Rig]:
    async with AsyncExitStack() as stack:
        hook = await stack.enter_async_context(Hook())
        store = stack.enter_context(Store("always", *KEPT))
        place = await stack.enter_async_context(
            Place(
                SHOP,
                webhook("hook", hook.url, address="phone", timeout=60.0),
                rabbit_feeder("rabbit", far_rabbit, queue="stream", queue_type="quorum", at_once=100),
                mqtt_feeder("mqtt", far_mosquitto, gateway="stream", at_once=100),
                store=store.url,
            )
        )
        await place.serve(only="delivery")
        amqp = await stack.enter_async_context(Amqp(far_rabbit.url))
        made = Rig(place, store, hook, amqp, await stack.enter_async_context(peer(far_mosquitto)))
        await made.again()
        await connected(place.services[0], "rabbit", "mqtt")
        yield made


async def test_killed_at_any_moment(rig: Rig) -> None:
    """Before the outbox has a command, and after, before the broker hears of it."""
    chance = random.Random(5)
    # The MQTT line is held by whom was killed for a while, so it is the first time that counts there.
    for rabbit, mqtt in ((100, 300), (300, 50), (300, 50)):
        await rig.stream_of(rabbit, mqtt, taken=chance.randrange(20, 200))
        rig.feeding.kill()
        await rig.again()
    await rig.whole()


async def test_ended_in_peace_in_mid_stream(rig: Rig) -> None:
    """SIGTERM: what is in hand is ended, the rest waits at the brokers."""
    await rig.stream_of(200, 200)
    process = rig.feeding._process
    assert process is not None
    process.terminate()
    assert await asyncio.to_thread(process.wait, 60) == 0
    assert "Traceback" not in rig.feeding.log
    await rig.again()
    await rig.whole()


async def test_reloaded_in_mid_stream(rig: Rig) -> None:
    """Feeders are made anew each time; the old ones end what they have."""
    path = rig.place.folder / "config.toml"
    whole = path.read_text()
    for at_once in (7, 30, 90):
        await rig.stream_of(100, 100)
        path.write_text(whole.replace("at_once = 100", f"at_once = {at_once}"))
        before = rig.feeding.log.count('"event":"reloaded"')
        os.kill(rig.feeding.pid, signal.SIGHUP)
        await until(
            lambda: rig.feeding.log.count('"event":"reloaded"') > before,  # noqa: B023
            lambda: rig.feeding.log[-2000:],
        )
    await rig.whole()
    path.write_text(whole)


@pytest.mark.parametrize("misdeed", ["pause", "kill"])
async def test_store_gone_in_mid_stream(rig: Rig, misdeed: str) -> None:
    """Commands wait at the brokers; nothing is asked for in a hurry."""
    await rig.stream_of(200, 200)
    before, tries = len(rig.feeding.log), await count(rig.feeding, "later")
    getattr(rig.store, misdeed)()
    await asyncio.sleep(3.0)
    await asyncio.to_thread(rig.store.resume if misdeed == "pause" else rig.store.start)
    await rig.stream.arrived(lambda: f"{len(rig.stream.missing())} missing\n{rig.feeding.log[-3000:]}")

    assert rig.stream.doubled() == {}
    assert rig.stream.strangers() == set()
    assert rig.feeding.log.count("\n", before) < 50, "no hot loop, no flood of lines"
    # 200 commands in hand, a handful of tries each; without a pause there would be thousands.
    assert await count(rig.feeding, "later") - tries < 4000


async def count(service: Service, outcome: str) -> float:
    """Over all feeders of this process."""
    page = (await service.admin.ask("GET", "/metrics", tenant="")).raw.decode()
    found = [line for line in page.splitlines() if line.startswith("otpsvc_feeder_commands_total")]
    return sum(float(line.split()[-1]) for line in found if f'"{outcome}"' in line)


async def test_nothing_of_it_is_left_behind(rig: Rig) -> None:
    """Last in this file: texts, numbers and ids stand in no log, no metric, no file of the store."""
    await rig.stream_of(30, 30)
    await rig.stream.arrived()

    assert rig.stream.planted.found_in(await left_behind(rig.place, rig.store)) == set()


async def test_a_whole_service_stopped_and_killed_in_mid_stream(
    far_rabbit: RabbitServer, enter: Enter, new_place: NewPlace
) -> None:
    """The deliverer too. Killed, what it had in hand is handed over again under the same id; else not."""
    hook: Hook = await enter(Hook())
    amqp: Amqp = await enter(Amqp(far_rabbit.url))
    feeder = rabbit_feeder("rabbit", far_rabbit, queue="whole", queue_type="quorum")
    place = await new_place(SHOP, webhook("hook", hook.url, address="phone", timeout=60.0), feeder)
    stream, service = Stream(hook), await place.serve()
    await connected(service, "rabbit")
    for how in (signal.SIGTERM, signal.SIGKILL):
        service.pause()
        await amqp.publish("whole", *stream.make(200))
        service.resume()
        least = len(hook.posts) + 20
        await until(lambda: len(hook.posts) >= least, lambda: service.log[-3000:])  # noqa: B023
        os.kill(service.pid, how)
        assert service._process is not None
        await asyncio.to_thread(service._process.wait, PATIENCE)
        service = await place.serve()
        await stream.arrived(lambda: service.log[-3000:])  # noqa: B023

    assert stream.doubled() == {}
    assert stream.strangers() == set()
    peaceful, ids = set(list(stream.asked)[:200]), stream.sent()
    assert [text for text in peaceful if len(ids[text]) != 1] == []
    for id in stream.repeated():
        found = (await service.api.ask("GET", f"/api/messages/{id}")).record
        assert found["uncertain"] >= 1, "a doubt is told"
    assert stream.planted.found_in(await left_behind(place)) == set()
