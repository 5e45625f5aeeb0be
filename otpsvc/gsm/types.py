"""What the parts of the library hand to each other, and to the program that uses it."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

from msgspec import Struct

from otpsvc.veiled import Veiled


class State(StrEnum):
    """Of a modem. Only `ready` takes work."""

    #: Its port is not there.
    ABSENT = "absent"
    OPENING = "opening"
    PROBING = "probing"
    NO_SIM = "no_sim"
    #: The SIM asks for a PIN that was not given, or that it refused before.
    PIN = "pin"
    PUK = "puk"
    REGISTERING = "registering"
    READY = "ready"
    SENDING = "sending"
    #: Backing off after failures of the network or the SIM.
    DEGRADED = "degraded"
    RESYNC = "resync"
    RESETTING = "resetting"
    #: Does not answer, whatever was tried: somebody must look at it.
    HUNG = "hung"
    #: Its SIM is barred, without credit, or at its quota.
    SUSPENDED = "suspended"
    #: Paused by the operator.
    DISABLED = "disabled"


class Job(Veiled, frozen=True, kw_only=True):
    """One text to one number. `id` may stand in logs.

    `to` as it is dialled: `+` and digits, or a short code. `deadline` in seconds of
    `time.monotonic()`: no part is handed to a radio after it. `group` is the program's
    own word for who asks (modems may serve some groups alone). `modem` and `sim` name
    the only one that may send it; empty: any.
    """

    id: str
    to: str
    text: str
    deadline: float
    group: str = ""
    modem: str = ""
    sim: str = ""
    flash: bool = False
    #: Goes before all that is not, however long those wait: a code before bulk.
    urgent: bool = False

    def shown(self) -> str:
        return repr(self.id)


class Sent(Struct, frozen=True):
    """The network took every part. `references` are the TP-MR of its parts, in order."""

    modem: str
    sim: str
    references: tuple[int, ...]
    #: True when an earlier try of it may have been sent too.
    uncertain: bool = False

    @property
    def parts(self) -> int:
        return len(self.references)


class Text(Veiled, frozen=True, kw_only=True):
    """A text that came in, whole. `id` is the same each time it is read from the SIM.

    `at`: seconds since the epoch by the network's clock; 0: not told. `complete` is
    False when parts of it never came.
    """

    id: str
    modem: str
    sim: str
    sender: str
    text: str
    at: float = 0.0
    complete: bool = True

    def shown(self) -> str:
        return repr(self.id)


class Delivered(Struct, frozen=True):
    """A delivery report settled a job: all parts arrived, or one failed for good (3GPP 23.040, 9.2.3.15)."""

    job: str
    ok: bool
    #: TP-Status, 0 to 255.
    status: int = 0


class Change(Struct, frozen=True):
    """A modem came into another state. `reason` is a short phrase for people and logs."""

    modem: str
    before: State
    after: State
    reason: str = ""


class Facts(Struct, frozen=True, kw_only=True):
    """What a modem says of itself and of its SIM. All untrusted text; empty: not told."""

    imei: str = ""
    imsi: str = ""
    iccid: str = ""
    number: str = ""
    manufacturer: str = ""
    model: str = ""
    firmware: str = ""
    smsc: str = ""
    operator: str = ""
    #: dBm; None: unknown. (27.007, 8.5: 2n - 113)
    signal: int | None = None
    roaming: bool = False

    @property
    def sim(self) -> str:
        """What counts as the SIM: its ICCID, else its IMSI; where neither is told, the modem it is in."""
        return self.iccid or self.imsi or (f"imei:{self.imei}" if self.imei else "")


Window = Literal["minute", "hour", "day", "month"]
WINDOWS: Final[tuple[Window, ...]] = ("minute", "hour", "day", "month")


class Quota(Struct, frozen=True):
    """At most `parts` in one calendar `window` of the SIM's time zone."""

    parts: int
    window: Window


class Used(Struct, frozen=True):
    """How much of a quota is used now. `limit` 0: counted, not limited."""

    window: Window
    parts: int
    limit: int = 0


class Snapshot(Struct, frozen=True, kw_only=True):
    """A modem at one moment, for lists. `since`: seconds since the epoch."""

    name: str
    path: str
    state: State
    reason: str
    since: float
    facts: Facts
    used: tuple[Used, ...] = ()
    sent: int = 0
    failed: int = 0
    uncertain: int = 0


class UssdAnswer(Veiled, frozen=True, kw_only=True):
    """What the network answered. `raw` is the hex or text as it came, for the operator.

    `more`: it waits for a reply in the same session. `status`: 27.007, 7.15 (0 done,
    1 asks for more, 2 ended by the network, 4 not supported, 5 timed out).
    """

    status: int
    text: str
    raw: str = ""
    dcs: int = 15

    @property
    def more(self) -> bool:
        return self.status == 1


#: What a pool and its modems tell the program; the call must not block.
Event = Change | Delivered
