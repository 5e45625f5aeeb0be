"""`[channels.NAME]` with `type = "rabbitmq"`."""

from __future__ import annotations

from typing import Literal

from otpsvc.address import ANY, EMAIL, AddressKind, phone
from otpsvc.broker_url import broker_of
from otpsvc.channels.broker_config import BrokerConfig, check_broker
from otpsvc.spot import Spot

#: Octets of a short string. (AMQP 0-9-1, 4.2.5.3)
_SHORT_MAX = 255


class RabbitConfig(BrokerConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[channels.NAME]` with `type = "rabbitmq"`."""

    #: Messages that wait for the broker's word at the same time.
    concurrency: int = 100
    #: Where to publish; empty: the default exchange, whose routing keys are names of queues.
    exchange: str = ""
    #: The name of the queue, or what the exchange routes by.
    routing_key: str
    #: Make the queue where it is missing: durable, of type quorum.
    declare_queue: bool = False
    #: What kind of address the far end takes.
    address: Literal["phone", "email", "any"] = "phone"

    def __post_init__(self) -> None:
        check_broker(self, plain="amqp", amqp=True)
        if not _is_short(self.routing_key) or not self.routing_key:
            raise ValueError("routing_key: expected 1 to 255 bytes")
        if not _is_short(self.exchange):
            raise ValueError("exchange: expected at most 255 bytes")
        if self.declare_queue and self.exchange:
            raise ValueError('declare_queue: expected only with exchange = ""')
        if self.country and self.address != "phone":
            raise ValueError('country: expected only with address = "phone"')
        self.kind()

    def puts(self, tenant: str) -> Spot | None:  # noqa: ARG002 - other types need it
        return Spot(broker_of(self.url), self.routing_key, self.exchange)

    def kind(self) -> AddressKind:
        """Raises: ValueError."""
        if self.address == "phone":
            return phone(self.country)
        return EMAIL if self.address == "email" else ANY


def _is_short(text: str) -> bool:
    return len(text.encode(errors="replace")) <= _SHORT_MAX
