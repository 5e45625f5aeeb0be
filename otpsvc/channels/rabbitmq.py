"""Messages as commands for a consumer behind RabbitMQ: another otpsvc with modems, or one of yours.

A message is handed over when the broker has confirmed it: then a queue has it, on disk
where the queue is durable.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType

from yarl import URL

from otpsvc.broker_url import password_of, tls_of
from otpsvc.channel import Channel
from otpsvc.channels.broker_command import sealed
from otpsvc.channels.broker_config import parcels_of
from otpsvc.channels.broker_kept import Kept
from otpsvc.channels.rabbitmq_config import RabbitConfig
from otpsvc.channels.rabbitmq_line import Line, publication
from otpsvc.errors import Unavailable, Uncertain
from otpsvc.message import Message, Receipt, Report

_BLOCKED = "the broker takes nothing now (disk or memory alarm)"


class RabbitChannel(Channel):
    """Publishes to one exchange under one routing key."""

    Config = RabbitConfig
    config: RabbitConfig

    def __init__(self, config: RabbitConfig, report: Report, *, now: Callable[[], float] = time.time) -> None:
        """Read certificates, password and secret. Raises: ConfigError."""
        super().__init__(config, report)
        self._now = now
        self.address = config.kind()
        self._parcels = parcels_of(config)
        self._url = URL(config.url)
        if config.username:
            self._url = self._url.with_user(config.username).with_password(password_of(config))
        self._tls = tls_of(config)
        self._kept = Kept(self._dial)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._kept.close()

    async def send(self, message: Message) -> Receipt:
        """Publish one message, until the broker has confirmed it.

        Raises: Refused, Unavailable, Uncertain. A CancelledError has one of the last two as
        its cause, by whether the message was written.
        """
        body = sealed(message, self._parcels, now=self._now())
        line = await self._ready_line()
        properties = publication(message.id, seconds=message.seconds_left())
        try:
            await line.publish(body, properties, exchange=self.config.exchange, key=self.config.routing_key)
        except asyncio.CancelledError as cancelled:
            # A broker that does not answer may be gone without a word: the next one shall not ask it.
            if isinstance(cancelled.__cause__, Uncertain) and not line.is_blocked:
                self._kept.leave(line)
            raise
        self._kept.works()
        return Receipt()

    @property
    def is_connected(self) -> bool:
        """False also before the first message."""
        return self._kept.is_open

    async def ping(self) -> str:
        """Connect, where there is no connection. Raises: Unavailable, also when the broker is blocked."""
        await self._ready_line()
        return "ok"

    async def _ready_line(self) -> Line:
        line = await self._kept.line()
        if line.is_blocked:
            raise Unavailable(_BLOCKED)
        return line

    async def _dial(self) -> Line:
        queue = self.config.routing_key if self.config.declare_queue else ""
        return await Line.dial(self._url, self._tls, queue=queue)
