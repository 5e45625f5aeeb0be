"""An MQTT channel, its broker, and who listens there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt
import msgspec

from otpsvc.channels.mqtt import MqttChannel
from otpsvc.channels.mqtt_config import MqttConfig
from tests.channels import ignore
from tests.channels.broker_wire import BrokerWire
from tests.far_ends.mosquitto import PASSWORD, MosquittoServer
from tests.waiting import PATIENCE

SECRET = "planted secret of shop and box 7c1f"
TOPIC = "smsoutnew/dongle1"
#: PUBACK of a message that was taken: a code only where it is not 0. (MQTT 5, 3.4.2.1)
_PUBACK = re.compile(rb"\x40\x02(..)|\x40\x03(..)\x10", re.DOTALL)


def config(broker: MosquittoServer | None = None, *, port: int = 0, **table: Any) -> MqttConfig:
    base: dict[str, Any] = {
        "type": "mqtt",
        "url": f"mqtt://127.0.0.1:{port or (broker.port if broker else 1883)}",
        "username": "otpsvc",
        "password": PASSWORD,
        "topic": TOPIC,
        "secret": SECRET,
    }
    if table.get("payload") == "plain":
        del base["secret"]
    return msgspec.convert(base | table, MqttConfig)


def channel(broker: MosquittoServer | None = None, **table: Any) -> MqttChannel:
    return MqttChannel(config(broker, **table), ignore)


class Listener:
    """Gets what is published from now on, and while it is away if its name is known."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._messages = client.messages

    async def next(self) -> aiomqtt.Message:
        async with asyncio.timeout(PATIENCE):
            return await anext(aiter(self._messages))

    def __len__(self) -> int:
        return len(self._messages)


@asynccontextmanager
async def listener(
    broker: MosquittoServer, topic: str = "#", *, version5: bool = False, name: str | None = None
) -> AsyncIterator[Listener]:
    """`name`: the broker keeps for it what comes while it is away."""
    async with aiomqtt.Client(
        "127.0.0.1",
        broker.port,
        username="otpsvc",
        password=PASSWORD,
        identifier=name,
        clean_session=None if version5 else name is None,
        protocol=aiomqtt.ProtocolVersion.V5 if version5 else aiomqtt.ProtocolVersion.V311,
        timeout=PATIENCE,
    ) as client:
        await client.subscribe(topic, 1)
        yield Listener(client)


def wire(broker: MosquittoServer) -> BrokerWire:
    return BrokerWire(broker.port, publishes=_publishes, refused=_refused)


def _publishes(chunk: bytes) -> bool:
    # PUBLISH at QoS 1, in the first packet or behind others.
    return TOPIC.encode() in chunk


def _refused(chunk: bytes) -> bytes:
    # Quota exceeded.
    return _PUBACK.sub(lambda found: b"\x40\x03" + (found[1] or found[2]) + b"\x97", chunk)
