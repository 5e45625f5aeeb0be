"""Messages for whoever listens at a topic of an MQTT broker: another otpsvc, or a Pico with a modem.

A message is handed over when the broker has acknowledged it (QoS 1). With MQTT 5 it says
too when nobody is subscribed, so that another way can be tried; with 3.1.1 it does not.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from otpsvc.broker_url import password_of, tls_of
from otpsvc.channel import Channel
from otpsvc.channels.broker_command import sealed
from otpsvc.channels.broker_config import parcels_of
from otpsvc.channels.broker_kept import Kept
from otpsvc.channels.mqtt_config import TENANT, MqttConfig
from otpsvc.errors import ConfigError, Refused, Uncertain
from otpsvc.message import Message, Receipt, Report

if TYPE_CHECKING:
    from otpsvc.channels.mqtt_line import Line


class MqttChannel(Channel):
    """Publishes to one topic."""

    Config = MqttConfig
    config: MqttConfig

    def __init__(self, config: MqttConfig, report: Report, *, now: Callable[[], float] = time.time) -> None:
        """Read certificates, password and secret. Raises: ConfigError."""
        super().__init__(config, report)
        self._now = now
        self.address = config.kind()
        self._parcels = parcels_of(config)
        self._password = password_of(config)
        self._tls = tls_of(config)
        self._line = _line()
        self._kept = Kept(self._dial)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._kept.close()

    async def send(self, message: Message) -> Receipt:
        """Publish one message, until the broker has acknowledged it.

        Raises: Refused, Unavailable, Uncertain. A CancelledError has one of the last two as
        its cause, by whether the message was written.
        """
        topic = self._topic(message)
        body = sealed(message, self._parcels, now=self._now(), write=plain)
        line = await self._kept.line()
        try:
            await line.hand_over(topic, body, seconds=message.seconds_left())
        except asyncio.CancelledError as cancelled:
            # A broker that does not answer may be gone without a word: the next one shall not ask it.
            if isinstance(cancelled.__cause__, Uncertain):
                self._kept.leave(line)
            raise
        self._kept.works()
        return Receipt()

    @property
    def is_connected(self) -> bool:
        """False also before the first message."""
        return self._kept.is_open

    async def ping(self) -> str:
        """Connect, where there is no connection. Raises: Unavailable."""
        await self._kept.line()
        return "ok"

    def _topic(self, message: Message) -> str:
        if TENANT in self.config.topic and not message.tenant:
            raise Refused("no tenant for the topic")
        return self.config.topic.replace(TENANT, message.tenant)

    async def _dial(self) -> Line:
        return await self._line.dial(self.config, self._password, self._tls)


def plain(message: Message, *, now: float) -> bytes:  # noqa: ARG001 - as `command_of`
    """JSON in ASCII without an apostrophe: the Pico makes each a quotation mark before it reads.

    Raises: Refused.
    """
    try:
        message.text.encode()
    except UnicodeEncodeError:
        raise Refused("the text is not Unicode") from None
    written = json.dumps({"id": message.id, "to": message.to, "text": message.text})
    return written.replace("'", "\\u0027").encode()


def _line() -> type[Line]:
    try:
        from otpsvc.channels.mqtt_line import Line
    except ImportError:
        raise ConfigError("", "type", "its packages: pip install 'otpsvc[mqtt]'", "no aiomqtt") from None
    return Line
