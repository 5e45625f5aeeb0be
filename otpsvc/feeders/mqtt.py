"""Commands from an MQTT broker; texts that came in, states and heartbeats to it.

It stands where a MQTT-SMS-Gateway (Pico W) stood: the same topics, bodies that its
clients can read, and more. One client id and a session that the broker keeps: what is
published while nobody is here waits there, and what was not acknowledged comes again.

    PUBLISH ─> Inflow ─> intake.take ─> answer, first states ─> watched ─> PUBACK

Acknowledgements go in the order in which commands end, not in that of arrival (MQTT 4.6
asks clients for it): a broker tells them apart by packet id, and one slow command does
not fill its window for all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from hashlib import blake2b
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from otpsvc.broker_url import password_of, tls_of
from otpsvc.errors import BrokerGone, ConfigError
from otpsvc.feeder import Feeder, Frame, Lent, Taken
from otpsvc.feeders.mqtt_config import MqttConfig, fill
from otpsvc.feeders.mqtt_inflow import Inflow
from otpsvc.feeders.mqtt_telling import Teller, may_publish, patiently, place, status_body, status_level
from otpsvc.feeders.mqtt_topics import matches

if TYPE_CHECKING:
    from otpsvc.feeders.mqtt_line import Line, Message

#: Octets of a body that are handed on: above, it is refused anyway, and the memory is of better use.
_BODY_MAX: Final = 262_144
#: Octets of correlation data that serve as an id as they are.
_ID_MAX: Final = 64
#: Answers that may wait for their delay; more go at once.
_DELAYED_MAX: Final = 1000
_ONLINE, _OFFLINE = b"online", b"offline"


class MqttFeeder(Feeder):
    """One client of one broker."""

    Config = MqttConfig
    exclusive = True
    config: MqttConfig

    def __init__(self, name: str, config: MqttConfig, lent: Lent) -> None:
        super().__init__(name, config, lent)
        self._gateway = config.gateway or name
        self._wanted = fill(config.topic, self._gateway)
        self._inflow = Inflow(self._take, lent.tally, at_once=config.at_once)
        self._line: Line | None = None
        #: Answers that wait for their delay, until there is haste.
        self._delayed: set[asyncio.Task[None]] = set()
        self._haste = asyncio.Event()

    @classmethod
    def check(cls, config: MqttConfig) -> None:
        """Raises: ConfigError."""
        try:
            import_module("aiomqtt")
        except ImportError:
            raise ConfigError("", "type", "its package: pip install 'otpsvc[mqtt]'") from None
        tls_of(config)
        password_of(config)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._inflow.close()
        for task in self._delayed:
            task.cancel()
        if self._delayed:
            await asyncio.wait(self._delayed)

    async def drain(self) -> None:
        """End what is in hand; the broker keeps what was not begun. Delayed answers go at once."""
        await self._inflow.stop()
        self._haste.set()
        if self._delayed:
            await asyncio.wait(self._delayed)

    async def session(self) -> None:
        """Raises: BrokerGone, BrokerRefused."""
        line = self._new_line()
        try:
            await self._serve(line, await self._join(line))
        finally:
            await self._part(line)

    def _new_line(self) -> Line:
        # Here, because the package is an extra.
        from otpsvc.feeders.mqtt_line import Line

        config = self.config
        will = place(config, "presence_topic", self._gateway)
        return Line(
            version5=config.protocol == "5",
            expected=config.at_once,
            deliver=self._sort,
            will=(will, _OFFLINE) if will else None,
            hostname=config.host,
            port=config.port,
            username=config.username or None,
            password=password_of(config) or None,
            identifier=config.client_name(self.name),
            keepalive=config.keepalive,
        )

    async def _join(self, line: Line) -> Teller:
        """Connect, subscribe, say that we are here. Raises: BrokerGone, BrokerRefused."""
        await line.open(tls_of(self.config))
        self._line = line
        await line.subscribe_to(self._wanted, retained=self.config.retained)
        teller = Teller(line, self.config, self._gateway, self.lent.news)
        await teller.tell("presence_topic", _ONLINE, retain=True)
        self.lent.tally.up()
        return teller

    async def _serve(self, line: Line, teller: Teller) -> None:
        """Until the line ends. Raises: BrokerGone, BrokerRefused."""
        works: list[Coroutine[Any, Any, None]] = [line.watch()]
        if self.config.incoming_topic:
            works.append(teller.tell_texts())
        if self.config.status_topic:
            works.append(teller.tell_notes())
        if self.config.heartbeat_topic:
            works.append(teller.beat())
        # No TaskGroup: one whose task fails while it is cancelled forgets the cancellation.
        tasks = [asyncio.create_task(work) for work in works]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        # A broker may refuse a message and hang up for it: what it refused says more.
        errors = [end for end in ends if isinstance(end, Exception)]
        others = [error for error in errors if not isinstance(error, BrokerGone)]
        raise (others[0] if others else line.reason) from None

    async def _part(self, line: Line) -> None:
        if self._line is line:
            self._line = None
        self._inflow.forget(line)
        topic = place(self.config, "presence_topic", self._gateway)
        await line.leave((topic, _OFFLINE) if topic else None)

    def _sort(self, line: Line, message: Message) -> None:
        """A message came in."""
        if not self._is_wanted(line, message):
            line.ack(message)
            return
        message.payload = message.payload[:_BODY_MAX]
        self._inflow.put(line, message)

    def _is_wanted(self, line: Line, message: Message) -> bool:
        """Not what the broker keeps for newcomers, nor what an older config subscribed to.

        A broker that knew us before handed retained requests over already, unless this is
        the one that we did not acknowledge then (DUP).
        """
        if message.retain and not (self.config.retained and (message.dup or not line.remembered)):
            return False
        try:
            return matches(self._wanted, message.topic)
        except UnicodeDecodeError:
            return False

    async def _take(self, line: Line, message: Message) -> None:
        """One message, to its acknowledgement."""
        properties = message.properties
        topic = self._answers_to(getattr(properties, "ResponseTopic", ""))
        correlation: bytes = getattr(properties, "CorrelationData", b"")
        frame = Frame(
            body=bytes(message.payload),
            id=_id_of(correlation),
            again=message.dup,
            asked=bool(topic),
            literal=True,
        )
        taken = await self.lent.intake.take(frame)
        # The broker hands it over again, and gets its answers then.
        if message.qos and not line.is_open:
            return
        # Before the acknowledgement: the broker reads in this order, so no answer is lost. After it
        # when this came before: perhaps the broker hung up at the answer (Mosquitto 2.0 does where
        # it does not allow one), and would for ever.
        outlet = line if message.qos else self._line
        if not message.dup:
            await self._answer(outlet, taken, topic, correlation)
        if watched := [note for note in taken.notes if note.message and self.config.status_topic]:
            await patiently(lambda: self.lent.news.watch(watched))
        line.ack(message)
        if message.dup:
            await self._answer(outlet, taken, topic, correlation)

    def _answers_to(self, wanted: str) -> str:
        """Where the answer to a command goes that wants it at `wanted`; empty: nowhere."""
        allowed = wanted if wanted and self.lent.intake.replies_to(wanted) else ""
        for topic in (allowed, fill(self.config.answer_topic, self._gateway)):
            if self._may_answer_at(topic):
                return topic
        return ""

    def _may_answer_at(self, topic: str) -> bool:
        return may_publish(self.config, self._gateway, topic) and not self.lent.taken(topic)

    async def _answer(self, line: Line | None, taken: Taken, topic: str, correlation: bytes) -> None:
        """Write all that is told of a command; nothing when the line has ended."""
        if line is None:
            return
        with suppress(BrokerGone):
            if taken.answer and topic:
                await line.send(topic, taken.answer, correlation=correlation)
            if taken.answer and self._may_answer_at(taken.callback):
                await self._call_back(line, taken)
            for note in taken.notes:
                if topic := place(self.config, "status_topic", self._gateway, id=status_level(note)):
                    await line.send(topic, status_body(note))

    async def _call_back(self, line: Line, taken: Taken) -> None:
        if taken.delay <= 0 or len(self._delayed) >= _DELAYED_MAX:
            await line.send(taken.callback, taken.answer)
            return
        task = asyncio.create_task(self._call_back_later(taken))
        self._delayed.add(task)
        task.add_done_callback(self._delayed.discard)

    async def _call_back_later(self, taken: Taken) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(taken.delay):
                await self._haste.wait()
        if self._line is not None:
            with suppress(BrokerGone):
                await self._line.send(taken.callback, taken.answer)


def _id_of(correlation: bytes) -> str:
    return (correlation if len(correlation) <= _ID_MAX else blake2b(correlation).digest()).hex()
