"""What is asked of the process that owns a modem, from any process on any host.

A serial port belongs to one process. Others read what it last told of its modems, or
leave a request and wait for the answer, both in the store and sealed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, runtime_checkable

from msgspec import Struct

from otpsvc.address import AddressKind
from otpsvc.errors import NotFound
from otpsvc.veiled import Veiled


class Line(Struct, frozen=True, kw_only=True):
    """A modem as its owner last told of it. Texts that come from a modem are untrusted.

    `signal` in dBm. `since` and `told`: seconds since the epoch. `used` maps a window
    to (parts, limit; 0: none).
    """

    name: str
    channel: str
    node: str = ""
    state: str
    reason: str = ""
    since: float = 0.0
    told: float = 0.0
    port: str = ""
    imei: str = ""
    imsi: str = ""
    iccid: str = ""
    number: str = ""
    operator: str = ""
    signal: int | None = None
    manufacturer: str = ""
    model: str = ""
    firmware: str = ""
    smsc: str = ""
    used: dict[str, tuple[int, int]] = {}
    sent: int = 0
    failed: int = 0
    uncertain: int = 0

    @property
    def ready(self) -> bool:
        return self.state in ("ready", "sending")


class Answered(Veiled, frozen=True, kw_only=True):
    """The network's answer to a USSD code. `more`: it waits for a reply in the same session."""

    text: str
    raw: str = ""
    more: bool = False
    status: int = 0


class Lines(Protocol):
    """Implemented by `stores/errand.py`: asks whoever owns the modem."""

    async def lines(self) -> list[Line]:
        """Every modem of every node that told of it lately, by channel and name. Raises: StoreUnavailable."""

    async def ussd(self, name: str, code: str, *, reply: bool = False, operator: bool = False) -> Answered:
        """Ask a modem's network. `operator`: not bound by the list of allowed codes.

        Raises: NotFound (no such modem), BadRequest (a code that is not sent), Unanswered, StoreUnavailable.
        """

    async def send(self, channel: str, name: str, to: str, text: str) -> str:
        """Send one text by this modem (empty: any of the channel), without queue: what came of it, in words.

        For operators. `uncertain: …` when nobody knows. Raises: NotFound, BadRequest (refused),
        Unanswered (not sent), StoreUnavailable.
        """

    def trace(self, name: str, seconds: float) -> AsyncIterator[str]:
        """The redacted dialogue with a modem, as it happens. Raises: NotFound, StoreUnavailable."""


@runtime_checkable
class Owner(Protocol):
    """What a channel can do that has modems of its own. `name` is a modem's alone."""

    address: AddressKind

    async def lines(self) -> list[Line]:
        """Without `channel`, `node` and `told`, which others fill in."""

    async def ussd(self, name: str, code: str, *, reply: bool, operator: bool) -> Answered:
        """Raises: as `Lines.ussd`."""

    async def send_by(self, name: str, to: str, text: str) -> str:
        """Raises: as `Lines.send`."""

    def trace(self, name: str, seconds: float) -> AsyncIterator[str]:
        """A generator. Raises: NotFound."""


def named(lines: Sequence[Line], name: str) -> Line:
    """The modem of this name, `channel.name`, IMEI or number. Raises: NotFound: none, or several."""
    found = [
        line for line in lines if name in (line.name, f"{line.channel}.{line.name}", line.imei, line.number)
    ]
    if len(found) != 1 or not name:
        words = "Several modems have this name: put the channel's before it." if len(found) > 1 else ""
        raise NotFound(words or "There is no such modem.", code="unknown_modem")
    return found[0]
