"""A RabbitMQ channel, its broker, and what a consumer finds there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import aio_pika
import msgspec
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue

from otpsvc.channels.rabbitmq import RabbitChannel
from otpsvc.channels.rabbitmq_config import RabbitConfig
from tests.channels import ignore
from tests.channels.broker_wire import BrokerWire
from tests.far_ends.rabbitmq import PASSWORD, RabbitServer
from tests.waiting import PATIENCE

SECRET = "planted secret of shop and box 7c1f"
_numbers = count()


def config(broker: RabbitServer | None = None, *, port: int = 0, **table: Any) -> RabbitConfig:
    base: dict[str, Any] = {
        "type": "rabbitmq",
        "url": f"amqp://127.0.0.1:{port or (broker.port if broker else 5672)}",
        "username": "otpsvc",
        "password": PASSWORD,
        "routing_key": "nobody",
        "secret": SECRET,
    }
    if table.get("payload") == "plain":
        del base["secret"]
    return msgspec.convert(base | table, RabbitConfig)


def channel(broker: RabbitServer | None = None, **table: Any) -> RabbitChannel:
    return RabbitChannel(config(broker, **table), ignore)


class Consumer:
    """Takes what came into one queue."""

    def __init__(self, queue: AbstractQueue) -> None:
        self.queue = queue
        self.name = queue.name

    async def next(self) -> AbstractIncomingMessage:
        async with asyncio.timeout(PATIENCE):
            while (found := await self.queue.get(no_ack=True, fail=False)) is None:
                await asyncio.sleep(0.01)
        return found

    async def rest(self) -> list[AbstractIncomingMessage]:
        """All that is there now."""
        found = []
        while (one := await self.queue.get(no_ack=True, fail=False)) is not None:
            found.append(one)
        return found


@asynccontextmanager
async def consumer(
    broker: RabbitServer, name: str = "", *, settings: Mapping[str, str | int] | None = None
) -> AsyncIterator[Consumer]:
    """Of a durable queue that is there under this name, or of a new one; gone at the end."""
    async with await aio_pika.connect(broker.url) as connection:
        line = await connection.channel()
        if name:
            queue = await line.get_queue(name)
        else:
            own = f"channel-{next(_numbers)}"
            queue = await line.declare_queue(own, durable=True, arguments=dict(settings or {}))
        yield Consumer(queue)
        await queue.delete(if_unused=False, if_empty=False)


def wire(broker: RabbitServer) -> BrokerWire:
    return BrokerWire(broker.port, publishes=_publishes, refused=_refused)


def _publishes(chunk: bytes) -> bool:
    # Basic.Publish. (AMQP 0-9-1, 1.8.3.7)
    return b"\0\x3c\0\x28" in chunk


def _refused(chunk: bytes) -> bytes:
    # Basic.Ack and Basic.Nack are of one shape.
    return chunk.replace(b"\0\x3c\0\x50", b"\0\x3c\0\x78")
