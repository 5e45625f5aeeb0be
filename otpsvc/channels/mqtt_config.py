"""The `[channels.NAME]` tables with `type = "mqtt"`."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta

from otpsvc.address import AddressKind, phone
from otpsvc.broker_url import MqttPlace, broker_of
from otpsvc.channels.broker_config import BrokerConfig, check_broker
from otpsvc.spot import Spot

#: What is filled into a topic.
TENANT = "{tenant}"
_CLIENT_ID = re.compile(r"[!-~]{0,128}")
#: No wildcards, and no control characters. (MQTT 5, 4.7.1, 1.5.4)
_TOPIC = re.compile(r"[^+#\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


class MqttConfig(BrokerConfig, MqttPlace, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[channels.NAME]` with `type = "mqtt"`."""

    #: Where to publish, such as smsoutnew/dongle1; {tenant}: the name of the tenant that sends.
    topic: str
    #: What the broker knows us by; empty: another one in each process. A fixed one fits one process alone.
    client_id: str = ""
    #: "5" tells of its own accord that nobody is subscribed, or that we may not publish; "3.1.1" does not.
    protocol: Literal["5", "3.1.1"] = "5"
    #: Seconds of silence before a sign of life is asked for.
    keepalive: Annotated[int, Meta(ge=1, le=65_535)] = 30

    def __post_init__(self) -> None:
        check_broker(self, plain="mqtt", amqp=False)
        if not _TOPIC.fullmatch(self.topic) or len(self.topic.encode()) > 60_000:
            raise ValueError("topic: expected a topic without + and #")
        if any(brace in self.topic.replace(TENANT, "") for brace in "{}"):
            raise ValueError("topic: expected no braces other than {tenant}")
        if not _CLIENT_ID.fullmatch(self.client_id):
            raise ValueError("client_id: expected at most 128 visible ASCII characters")
        self.kind()

    def puts(self, tenant: str) -> Spot | None:
        return Spot(broker_of(self.url), self.topic.replace(TENANT, tenant))

    def client(self) -> Spot | None:
        return Spot(broker_of(self.url), self.client_id) if self.client_id else None

    def kind(self) -> AddressKind:
        """Raises: ValueError."""
        return phone(self.country)
