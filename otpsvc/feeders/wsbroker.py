"""Commands from a WebSocket message broker: WSMessageBroker of 2020 and its two successors of 2021.

    broker ─> Line ─> Consumer ─> Hand ─> intake
                  callback topic <─ Answers <─┘

The protocol has no acknowledgement: a frame that was sent to us is ours alone. It is
handed on as soon as it is read, and goes on to its end when the line is lost; what is
in hand when the process ends is counted as lost.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import ClassVar

from otpsvc.broker_url import tls_of
from otpsvc.errors import BrokerError
from otpsvc.feeder import Feeder, Lent
from otpsvc.feeders.wsbroker_answer import Answers
from otpsvc.feeders.wsbroker_config import WsBrokerConfig, login_of, places_of
from otpsvc.feeders.wsbroker_consumer import Consumer
from otpsvc.feeders.wsbroker_frame import Own
from otpsvc.feeders.wsbroker_hand import Hand
from otpsvc.feeders.wsbroker_line import Door

#: Seconds between the system's probes where no pings are wanted.
_PROBES = 60.0


class WsBrokerFeeder(Feeder):
    """Consumes from one channel or topic of one broker."""

    Config = WsBrokerConfig
    config: WsBrokerConfig
    #: Seconds in which a server greets, or turns a wrong login away.
    moment: ClassVar[float] = 1.0

    def __init__(self, name: str, config: WsBrokerConfig, lent: Lent) -> None:
        """Read certificates and password. Raises: ConfigError."""
        super().__init__(name, config, lent)
        self._door = Door(login=login_of(config), tls=tls_of(config), timeout=config.timeout)
        self._own = Own(time.monotonic)
        self._consumer: Consumer | None = None
        self._stopping = False
        self._answers = Answers(
            self._door, config.url, self._own, name=name, greeted=self._greeted, taken=self._is_taken
        )
        self._hand = Hand(
            lent.intake, lent.tally, at_once=config.at_once, name=name, taken=self._answers.give
        )

    @classmethod
    def check(cls, config: WsBrokerConfig) -> None:
        login_of(config)
        tls_of(config)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._hand.give_up()
        await self._answers.cancel()

    async def session(self) -> None:
        try:
            await self._until_lost()
        except asyncio.CancelledError:
            await self._hand.give_up()
            self._stopping = False
            raise

    async def drain(self) -> None:
        """Close the line, so that the broker sends no more, and end what it has sent."""
        self._stopping = True
        self._answers.hurry()
        self._hand.flood()
        if self._consumer is not None:
            await self._consumer.close()
        await self._hand.empty()
        await self._answers.empty()

    async def _until_lost(self) -> None:
        try:
            await self._consume()
        except BrokerError:
            if not self._stopping:
                raise
        # Nobody wants a new line: whoever drains cancels this.
        await asyncio.get_running_loop().create_future()

    async def _consume(self) -> None:
        self._hand.open()
        # Frames of the last line come first. While they wait, more would only pile up.
        await self._hand.settled()
        line = await self._door.open(self.config.url)
        try:
            line.keep_alive(self.config.ping or _PROBES)
            if self._stopping:
                return
            self._consumer = consumer = Consumer(
                line,
                self._hand,
                own=self._own,
                place=places_of(self.config.url)[0],
                moment=self.moment,
                ping=self.config.ping,
                up=self.lent.tally.up,
            )
            try:
                await consumer.run()
            except asyncio.CancelledError:
                self._hand.shut()
                await line.hang_up()
                await consumer.rest()
                raise
        finally:
            await line.hang_up()

    def _is_taken(self, place: str) -> bool:
        return self.config.has(self.name, place) or self.lent.taken(place)

    def _greeted(self) -> bool:
        return self._consumer is not None and self._consumer.greeted
