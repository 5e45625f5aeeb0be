"""What the broker is told: texts that came in, states of messages, heartbeats."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec.json import Encoder

from otpsvc.errors import BrokerGone, BrokerRefused, StoreUnavailable
from otpsvc.feeder import News, Note, Text
from otpsvc.feeders.mqtt_config import MqttConfig, fill
from otpsvc.feeders.mqtt_topics import is_level, is_topic, matches
from otpsvc.feeders.mqtt_verdict import FAILURE, LOST

if TYPE_CHECKING:
    from otpsvc.feeders.mqtt_line import Line

T = TypeVar("T")
#: Seconds between two attempts while the store is away.
_WAITS: Final = (0.2, 5.0)

_encode = Encoder().encode


def text_body(text: Text, gateway: str) -> bytes:
    """A text that came in, as an object of strings.

    Keys: id, from, msdn and msisdn (all three the sender), to (the gateway), text, date
    (`yy/mm/dd`) and time (`HH:MM:SS`) in the local time of this node, modem, and code
    where one was found in it.
    """
    at = time.localtime(text.at)
    told = {
        "id": text.id,
        "from": text.sender,
        "msdn": text.sender,
        "msisdn": text.sender,
        "to": gateway,
        "text": text.text,
        "date": time.strftime("%y/%m/%d", at),
        "time": time.strftime("%H:%M:%S", at),
        "modem": text.modem,
    }
    if text.code:
        told["code"] = text.code
    return _object(told)


def status_body(note: Note) -> bytes:
    return _object({"id": note.id or note.message, "status": note.status, "error": note.error})


def status_level(note: Note) -> str:
    """What stands for `{id}` in the topic: its id, or ours; empty when neither can."""
    return next((id for id in (note.id, note.message) if is_level(id)), "")


def place(config: MqttConfig, key: str, gateway: str, *, id: str = "-") -> str:
    """The topic of this key; empty when there is none, or when we would read it ourselves."""
    topic = fill(getattr(config, key), gateway, id) if id else ""
    return topic if may_publish(config, gateway, topic) else ""


def may_publish(config: MqttConfig, gateway: str, topic: str) -> bool:
    """Never to where our own commands come from: they would be taken for some."""
    return is_topic(topic) and not matches(fill(config.topic, gateway), topic)


def heartbeat_body(gateway: str, count: int, since: float) -> bytes:
    """`last_sms`: whole seconds, -1 before the first. Numbers, as the Pico gateway wrote them."""
    return _encode({"id": gateway, "sms_in": count, "last_sms": int(since)})


def _object(told: dict[str, str]) -> bytes:
    """JSON that is a Python literal too, and survives readers that make `"` of every `'`."""
    # A half of a pair, which a broken text may hold, is no UTF-8.
    safe = {key: value.encode("utf-8", "replace").decode() for key, value in told.items()}
    return _encode(safe).replace(b"'", b"\\u0027")


async def patiently(step: Callable[[], Awaitable[T]]) -> T:
    """Until the store answers."""
    wait, most = _WAITS
    while True:
        try:
            return await step()
        except StoreUnavailable:
            await asyncio.sleep(wait)
            wait = min(wait * 2, most)


class Teller:
    """Tells one line, until it ends."""

    def __init__(self, line: Line, config: MqttConfig, gateway: str, news: News) -> None:
        self._line = line
        self._config = config
        self._gateway = gateway
        self._news = news

    async def tell_texts(self) -> None:
        """Raises: BrokerGone, BrokerRefused."""
        while True:
            text = await patiently(self._news.next_text)
            await self.tell("incoming_topic", text_body(text, self._gateway))
            await patiently(partial(self._news.told_text, text))

    async def tell_notes(self) -> None:
        """Raises: BrokerGone, BrokerRefused."""
        while True:
            note = await patiently(self._news.next_note)
            await self.tell("status_topic", status_body(note), id=status_level(note))
            await patiently(partial(self._news.told_note, note))

    async def beat(self) -> None:
        """Raises: BrokerGone, BrokerRefused."""
        while True:
            count, since = await patiently(self._news.count)
            await self.tell("heartbeat_topic", heartbeat_body(self._gateway, count, since))
            await asyncio.sleep(self._config.heartbeat)

    async def tell(self, key: str, body: bytes, *, id: str = "-", retain: bool = False) -> None:
        """Until the broker has it; not at all where it may not go. Raises: BrokerGone, BrokerRefused."""
        topic = place(self._config, key, self._gateway, id=id)
        if not topic:
            return
        reason = await (await self._line.send(topic, body, retain=retain))
        if reason == LOST:
            raise BrokerGone("the connection was lost")
        if reason >= FAILURE:
            raise BrokerRefused(f"the broker does not let us publish to {key}")
