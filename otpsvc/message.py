"""One message on its way out, and the news that come back about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Literal

from msgspec import Struct, field

from otpsvc.veiled import Veiled

Lane = Literal["otp", "event", "message"]
#: In the order in which a worker serves them.
LANES: tuple[Lane, ...] = ("otp", "event", "message")


class MessageState(StrEnum):
    """Where a message is: queued -> sending -> sent -> delivered, or failed, or expired."""

    NONE = "none"
    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    EXPIRED = "expired"


class Message(Veiled, frozen=True, kw_only=True):
    """What a channel is asked to hand over. Its repr shows the id alone.

    `id` stays the same over every retry of one message (the far end may use it
    to drop a double). `expires` is Unix time in seconds: nothing is handed over
    after it. `record` is the challenge in otpgateway's field names, for the
    channels whose wire carries it; empty for raw messages and events.
    """

    id: str
    to: str
    text: str
    expires: float
    subject: str = ""
    html: str = ""
    code: str = ""
    tenant: str = ""
    locale: str = ""
    record: Mapping[str, object] = field(default_factory=dict)

    def shown(self) -> str:
        return repr(self.id)


class Receipt(Struct, frozen=True):
    """The far end took the message: its own id for it, and how many parts it became."""

    id: str = ""
    parts: int = 1


class Delivery(Struct, frozen=True):
    """Later news about a message that a channel handed over (`receipt` is the far end's id)."""

    receipt: str
    state: MessageState
    detail: str = ""


class Incoming(Veiled, frozen=True):
    """A message came in on `line` (a modem's or a service's name)."""

    line: str
    sender: str
    text: str

    def shown(self) -> str:
        return repr(self.line)


#: A channel tells the core of later news through this; it never blocks.
Report = Callable[[Delivery | Incoming], None]
