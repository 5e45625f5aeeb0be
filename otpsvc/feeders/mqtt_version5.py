"""What packets say more in version 5. Imported by `mqtt_line` alone, because paho comes with an extra."""

from __future__ import annotations

from typing import Final

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

#: Seconds that the broker keeps our session.
_EXPIRY: Final = 86_400


def of_connect(expected: int) -> Properties:
    """`expected`: messages that the broker may hand over unacknowledged."""
    properties = _properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = _EXPIRY
    properties.ReceiveMaximum = expected
    return properties


def of_publish(correlation: bytes) -> Properties:
    properties = _properties(PacketTypes.PUBLISH)
    properties.CorrelationData = correlation
    return properties


def of_subscribe(*, retained: bool) -> SubscribeOptions:
    # 1: what is retained for a new subscription only; 2: never. (3.8.3.1)
    return SubscribeOptions(qos=1, retainHandling=1 if retained else 2)


def _properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]
