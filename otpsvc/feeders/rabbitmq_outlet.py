"""What a RabbitMQ feeder publishes: answers, and dead letters.

Over a connection of its own, opened when the first one is due: a broker that is short of
disk or memory stops reading connections that publish, and would not see their
acknowledgements either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Literal, Self

import structlog
from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage
from aiormq.exceptions import ChannelAccessRefused, DeliveryError
from pamqp.commands import Basic

from otpsvc.errors import BrokerGone
from otpsvc.feeders.rabbitmq_line import TROUBLE, Line, is_blocked, why_lost

_log = structlog.get_logger("otpsvc.feeders")


class Outlet:
    """`answer` and `bury` return once the broker has confirmed. Both raise BrokerGone, BrokerRefused."""

    def __init__(self, name: str, new_line: Callable[[], Line]) -> None:
        """`name`: the feeder's."""
        self._name = name
        self._new_line = new_line
        self._told = False
        self._line: Line | None = None
        self._connection: AbstractConnection | None = None
        #: A channel for each: what closes the one for answers does not touch dead letters.
        self._channels: dict[str, AbstractChannel] = {}
        self._opening = asyncio.Lock()
        #: Dead letters on their way, by message id.
        self._burying: dict[str, asyncio.Lock] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()

    @property
    def is_blocked(self) -> bool:
        """The broker said that it takes nothing now."""
        return self._connection is not None and is_blocked(self._connection)

    async def answer(self, queue: str, body: bytes, *, correlation_id: str | None) -> None:
        """To a queue by its name; that it is gone, or takes nothing, is not our trouble."""
        properties = Basic.Properties(
            content_type="application/json", correlation_id=correlation_id, delivery_mode=1
        )
        try:
            await self._publish("answers", queue, body, properties)
        except DeliveryError:
            return
        except ChannelAccessRefused:
            self._tell_of_refusal()
        except TROUBLE as error:
            raise why_lost(error) from None

    def _tell_of_refusal(self) -> None:
        """Once: the session goes on, so nobody else tells."""
        if not self._told:
            _log.warning("the broker lets this user publish no answers", feeder=self._name)
        self._told = True

    async def bury(self, queue: str, message: DeliveredMessage, headers: Mapping[str, str]) -> None:
        """The message as it came, to the dead-letter queue."""
        old = message.header.properties
        properties = Basic.Properties(
            content_type=old.content_type,
            content_encoding=old.content_encoding,
            headers=dict(headers),
            delivery_mode=2,
            correlation_id=old.correlation_id,
            message_id=old.message_id,
        )
        try:
            await self._bury(queue, message.body, properties)
        except DeliveryError:
            raise BrokerGone(f'the dead-letter queue "{queue}" is gone or takes nothing') from None
        except TROUBLE as error:
            raise why_lost(error) from None

    async def _bury(self, queue: str, body: bytes, properties: Basic.Properties) -> None:
        # aiormq tells by the message id which publish was returned: one at a time for each id.
        key = properties.message_id
        if not key:
            await self._publish("dead letters", queue, body, properties)
            return
        alone = self._burying.setdefault(key, asyncio.Lock())
        try:
            async with alone:
                await self._publish("dead letters", queue, body, properties)
        finally:
            if not alone.locked():
                self._burying.pop(key, None)

    async def _publish(
        self, kind: Literal["answers", "dead letters"], queue: str, body: bytes, properties: Basic.Properties
    ) -> None:
        channel = await self._channel(kind)
        await channel.basic_publish(body, routing_key=queue, properties=properties, mandatory=True)

    async def _channel(self, kind: str) -> AbstractChannel:
        async with self._opening:
            if self._connection is None or self._connection.is_closed:
                await self._close()
                self._line = self._new_line()
                self._connection = await self._line.__aenter__()
            channel = self._channels.get(kind)
            if channel is None or channel.is_closed:
                channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
                self._channels[kind] = channel
            return channel

    async def _close(self) -> None:
        line, self._line, self._connection = self._line, None, None
        self._channels.clear()
        if line is not None:
            await line.__aexit__(None, None, None)
