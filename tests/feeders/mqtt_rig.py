"""An MQTT feeder at work on a private broker, and the clients on its other side."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiomqtt
import msgspec
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from otpsvc.errors import BrokerError, BrokerGone, BrokerRefused
from otpsvc.feeder import Note, Taken, Text
from otpsvc.feeders.mqtt import MqttFeeder
from otpsvc.feeders.mqtt_config import MqttConfig
from tests.far_ends.mosquitto import PASSWORD, MosquittoServer
from tests.feeders.lent import FakeLent
from tests.waiting import PATIENCE, until

TOPIC = "smsoutnew/gate"


def config(broker: MosquittoServer | None = None, **table: Any) -> MqttConfig:
    """With a client id of its own, so that the broker keeps nothing of another test for it."""
    base: dict[str, Any] = {"type": "mqtt", "tenant": "shop", "url": "mqtt://127.0.0.1"}
    base["client_id"] = f"test-{secrets.token_hex(4)}"
    if broker is not None:
        base |= {"url": broker.url, "username": "otpsvc", "password": PASSWORD}
    return msgspec.convert(base | table, MqttConfig)


def text(**other: Any) -> Text:
    base: dict[str, Any] = {
        "id": "t1",
        "mark": "m1",
        "modem": "one",
        "sender": "+628111",
        "text": "hi",
        "at": 1.8e9,
    }
    return Text(**(base | other))


def accepted(body: bytes, number: int = 0) -> Taken:
    """A text that was taken, with the id that its sender gave it."""
    note = Note(id=f"order-{number}", message=f"{number:032x}", status="queued")
    return Taken(answer=b'{"response_code":"0000"}', notes=(note,))


class Feeding:
    """A feeder whose sessions are begun again, as `feeding.py` does it, without the long waits."""

    def __init__(self, settings: MqttConfig, far: FakeLent | None = None, *, pause: float = 0.02) -> None:
        """`pause`: seconds between two sessions."""
        self.far = far or FakeLent()
        self.feeder = MqttFeeder("gate", settings, self.far.lent)
        self._pause = pause
        #: How sessions ended.
        self.ends: list[BaseException] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def line(self) -> Any:
        return self.feeder._line

    async def start(self, *, ready: bool = True) -> None:
        ups = self.far.tally.ups
        await self.feeder.__aenter__()
        self._task = asyncio.create_task(self._supervise())
        if ready:
            await until(lambda: self.far.tally.ups > ups or self._task is None or self._task.done())
            assert not self._task.done(), self.ends

    async def _supervise(self) -> None:
        while True:
            try:
                await self.feeder.session()
            except BrokerGone as gone:
                self.ends.append(gone)
            except Exception as error:
                self.ends.append(error)
                return
            await asyncio.sleep(self._pause)

    async def stop(self, *, drain: bool = True) -> None:
        task, self._task = self._task, None
        if drain and task is not None and not task.done():
            async with asyncio.timeout(PATIENCE):
                await self.feeder.drain()
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await self.feeder.__aexit__(None, None, None)

    def cut(self) -> None:
        """The line breaks, without a goodbye."""
        self.line.cut()


@asynccontextmanager
async def feeding(
    broker: MosquittoServer, far: FakeLent | None = None, *, pause: float = 0.02, **table: Any
) -> AsyncIterator[Feeding]:
    made = Feeding(config(broker, **table), far, pause=pause)
    await made.start()
    try:
        yield made
    finally:
        made.far.intake.release()
        await made.stop()


async def round_trip(gate: Feeding) -> None:
    """The broker has read all that we wrote, and we all that it wrote before."""
    acked = await gate.line.send("elsewhere", b"")
    async with asyncio.timeout(PATIENCE):
        assert await acked >= 0


async def refusal(settings: MqttConfig) -> BrokerError:
    """How a session ends that cannot begin."""
    feeder = MqttFeeder("gate", settings, FakeLent().lent)
    async with asyncio.timeout(PATIENCE), feeder:
        try:
            await feeder.session()
        except (BrokerGone, BrokerRefused) as error:
            return error
    raise AssertionError


class Peer:
    """A client on the other side. `heard`: (topic, body, retained), in the order of arrival."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.messages: list[aiomqtt.Message] = []

    @property
    def heard(self) -> list[tuple[str, bytes]]:
        return [(str(one.topic), bytes(one.payload)) for one in self.messages]

    def bodies(self, topic: str) -> list[bytes]:
        return [body for at, body in self.heard if at == topic]

    async def send(self, *bodies: bytes, topic: str = TOPIC, qos: int = 1, retain: bool = False) -> None:
        for body in bodies:
            await self.client.publish(topic, body, qos=qos, retain=retain)

    async def flood(self, bodies: list[bytes], topic: str = TOPIC) -> None:
        """All of them at QoS 1, ten at a time."""
        for at in range(0, len(bodies), 10):
            await asyncio.gather(*(self.client.publish(topic, body, qos=1) for body in bodies[at : at + 10]))

    async def ask(self, body: bytes, *, reply: str, correlation: bytes) -> None:
        """A request of MQTT 5."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if reply:
            properties.ResponseTopic = reply
        if correlation:
            properties.CorrelationData = correlation
        await self.client.publish(TOPIC, body, qos=1, properties=properties)

    async def hears(self, met: Callable[[], object]) -> None:
        await until(met)

    async def listen(self) -> None:
        with suppress(aiomqtt.MqttError):
            async for message in self.client.messages:
                self.messages.append(message)


@asynccontextmanager
async def peer(broker: MosquittoServer, *topics: str, version5: bool = False) -> AsyncIterator[Peer]:
    """Somebody who publishes, and listens to `topics`."""
    client = aiomqtt.Client(
        "127.0.0.1",
        broker.port,
        username="otpsvc",
        password=PASSWORD,
        protocol=aiomqtt.ProtocolVersion.V5 if version5 else aiomqtt.ProtocolVersion.V311,
        timeout=PATIENCE,
    )
    async with client:
        made = Peer(client)
        for topic in topics:
            await client.subscribe(topic, qos=1)
        task = asyncio.create_task(made.listen())
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.wait([task])
