"""One message on its way out, and the news that come back about it."""

from __future__ import annotations

import time
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
    after it; `until` is the same moment by this process's `time.monotonic()`,
    0: not known (a message of no store). `record` is the challenge in otpgateway's field names, for the
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
    #: The only modem that may send it; empty: any.
    modem: str = ""
    until: float = 0.0
    record: Mapping[str, object] = field(default_factory=dict)

    def shown(self) -> str:
        return repr(self.id)

    def seconds_left(self) -> float:
        """Until nothing may be handed over any more. `expires` is by the store's clock, ours may be wrong."""
        return self.until - time.monotonic() if self.until else self.expires - time.time()


class Receipt(Struct, frozen=True):
    """The far end took the message: its own id for it, and how many parts it became.

    `uncertain`: an earlier try of the same call may have been sent too.
    """

    id: str = ""
    parts: int = 1
    uncertain: bool = False


class Delivery(Struct, frozen=True):
    """Later news of a message that a channel handed over: it was delivered, or failed for good.

    `tenant` and `message` are those of the `Message`.
    """

    tenant: str
    message: str
    ok: bool
    detail: str = ""


class Incoming(Veiled, frozen=True, kw_only=True):
    """A text that came in on `line` (a modem's or a service's name), for `tenant` (empty: nobody).

    `id` is the same each time the channel offers it. `at`: seconds since the epoch when it
    was sent, 0: not told. `complete` is False when parts of it never came.
    """

    id: str
    line: str
    sender: str
    text: str
    tenant: str = ""
    to: str = ""
    at: float = 0.0
    complete: bool = True

    def shown(self) -> str:
        return repr(self.line)


#: A channel tells the core of later news through this; it never blocks.
Report = Callable[[Delivery], None]
