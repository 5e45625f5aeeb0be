"""A RabbitMQ feeder at a real broker, and a hand of our own at the same one."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import struct
from collections.abc import Mapping
from typing import Any, Self

import aiormq
from aiormq.abc import AbstractChannel, AbstractConnection, ChannelFrame, DeliveredMessage
from pamqp.commands import Basic

from otpsvc.errors import BrokerError
from otpsvc.feeder import Taken
from otpsvc.feeders.rabbitmq import RabbitFeeder
from otpsvc.feeders.rabbitmq_config import RabbitConfig
from tests.far_ends.rabbitmq import RabbitServer
from tests.feeders.lent import FakeLent
from tests.waiting import PATIENCE, until

_numbers = itertools.count()
REFUSED = Taken(refusals={0: "bad_request"})


class Rig:
    """`queue` is new for every test. At the end nothing of the feeder may be left."""

    def __init__(self, server: RabbitServer) -> None:
        self.server = server
        self.queue = f"sms-{next(_numbers)}"
        self.fake = FakeLent()
        self.intake = self.fake.intake
        self.tally = self.fake.tally
        self.feeder: RabbitFeeder | None = None
        self.session: asyncio.Task[None] | None = None
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._opening = asyncio.Lock()
        self._others: set[asyncio.Task[Any]] = set()
        self._complaints: list[str] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        # What earlier tests left is told of now, and not at the end of this one.
        gc.collect()
        self._others = asyncio.all_tasks()
        loop.set_exception_handler(lambda _, context: self._complaints.append(str(context)))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        await self.forget(self.queue, f"{self.queue}.dead")
        await self._hang_up()
        await until(lambda: not self.left(), self.left)
        gc.collect()
        await asyncio.sleep(0)
        asyncio.get_running_loop().set_exception_handler(None)
        assert not self._complaints, self._complaints

    def left(self) -> set[asyncio.Task[Any]]:
        """Tasks that were not there before."""
        return {task for task in asyncio.all_tasks() - self._others if task is not asyncio.current_task()}

    # The feeder

    def make(self, **settings: Any) -> RabbitFeeder:
        given = {"type": "rabbitmq", "tenant": "shop", "url": self.server.url, "queue": self.queue}
        made = RabbitFeeder("line", RabbitConfig(**(given | settings)), self.fake.lent)
        made.connect_limit = PATIENCE
        return made

    async def alone(self) -> None:
        """Until the broker has no lines of earlier tests any more: for those who count them."""
        await until(lambda: self.server.connections() == 0)

    async def start(self, **settings: Any) -> RabbitFeeder:
        """A feeder that consumes."""
        self.feeder = self.make(**settings)
        await self.run()
        return self.feeder

    async def run(self) -> None:
        """A (further) session of the feeder, until it consumes."""
        assert self.feeder is not None
        ups = self.tally.ups
        self.session = session = asyncio.create_task(self.feeder.session())
        await until(lambda: self.tally.ups > ups or session.done())
        if session.done():
            session.result()

    async def ended(self) -> BrokerError:
        """Why the session ended by itself."""
        assert self.session is not None
        await asyncio.wait([self.session], timeout=PATIENCE)
        error = self.session.exception()
        assert isinstance(error, BrokerError)
        return error

    async def why_not(self, **settings: Any) -> BrokerError:
        """Why a session with these settings does not come about."""
        self.session = asyncio.create_task(self.make(**settings).session())
        return await self.ended()

    async def stop(self) -> None:
        if self.session is not None:
            self.session.cancel()
            await asyncio.wait([self.session], timeout=PATIENCE)
            assert self.session.done()
            if not self.session.cancelled():
                self.session.exception()

    # Our own hand

    async def channel(self) -> AbstractChannel:
        async with self._opening:
            if self._channel is None or self._channel.is_closed:
                self._channel = await (await self._connected()).channel(publisher_confirms=True)
            return self._channel

    async def _connected(self) -> AbstractConnection:
        if self._connection is None or self._connection.is_closed:
            self._connection = await aiormq.connect(self.server.url)
        return self._connection

    async def publish(self, *bodies: bytes, to: str = "", exchange: str = "", **properties: Any) -> None:
        channel = await self.channel()
        for body in bodies:
            await channel.basic_publish(
                body,
                exchange=exchange,
                routing_key=to or self.queue,
                properties=Basic.Properties(**properties),
                mandatory=True,
                timeout=PATIENCE,
            )

    async def publish_octets(self, body: bytes, properties: bytes = b"\0\0", *, to: bytes = b"") -> None:
        """With flags and properties as they are, and a routing key too; aiormq alone would make them good."""
        connection = await self._connected()
        channel = await connection.channel(publisher_confirms=False)
        name = to or self.queue.encode()
        exchange = b"amq.topic" if to else b""
        method = b"\0\x3c\0\x28\0\0" + _short(exchange) + _short(name) + b"\0"
        header = struct.pack(">HHQ", 60, 0, len(body)) + properties
        frames = b"".join(
            struct.pack(">BHI", kind, channel.number, len(payload)) + payload + b"\xce"
            for kind, payload in ((1, method), (2, header), (3, body))
        )
        await connection.write_queue.put(ChannelFrame(payload=frames, should_close=False))

    async def make_queue(self, name: str = "", **settings: Any) -> str:
        """A queue that goes with our connection, if not told otherwise."""
        channel = await self.channel()
        declared = await channel.queue_declare(name, **({"exclusive": True} | settings))
        return declared.queue or ""

    async def next(self, queue: str) -> DeliveredMessage:
        """The next message of a queue, once there is one."""
        channel = await self.channel()

        async def found() -> DeliveredMessage | None:
            got = await channel.basic_get(queue, no_ack=True)
            return got if isinstance(got.delivery, Basic.GetOk) else None

        message: DeliveredMessage = await until(found, lambda: f"nothing in {queue}")
        return message

    async def ready(self, queue: str = "") -> int:
        channel = await self.channel()
        return (await channel.queue_declare(queue or self.queue, passive=True)).message_count or 0

    async def acknowledged(self, queue: str = "") -> None:
        """Until the broker keeps nothing of the queue. Not of a quorum queue: it counts every 5 s."""
        await until(lambda: self.server.count(queue or self.queue) == (0, 0))

    async def all_done(self, count: int) -> None:
        """Until so many takes have ended; then nothing goes back to the queue with the session's end."""
        await until(lambda: len(self.intake.ended) >= count)
        assert self.feeder is not None
        await self.feeder.drain()
        before = self.server.connections()
        await self.stop()
        await until(lambda: self.server.connections() < before)
        assert await self.ready() == 0

    async def forget(self, *queues: str) -> None:
        for queue in queues:
            with contextlib.suppress(aiormq.exceptions.AMQPError, OSError, RuntimeError):
                await (await self.channel()).queue_delete(queue)

    async def _hang_up(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(aiormq.exceptions.AMQPError, OSError, RuntimeError):
                await self._connection.close()


def _short(octets: bytes) -> bytes:
    return bytes([len(octets)]) + octets


def headers_of(message: DeliveredMessage) -> Mapping[str, Any]:
    return message.header.properties.headers or {}
