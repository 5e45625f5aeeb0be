"""The network that emulated modems share: it holds the truth, what was really transmitted and to whom.

Whatever a modem answered or failed to answer, `sent` and `parts` tell what left it: so lost
and doubled texts can be counted exactly.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from otpsvc.gsm.parts import split
from otpsvc.gsm.pdu import Submit, encode_deliver, encode_status_report, whole
from otpsvc.veiled import Veiled

#: Whether the network reports a delivery, and whether its modems can be told of it directly (+CDS).
Reports = Literal["direct", "stored", "none"]


class Arrived(Veiled, frozen=True, kw_only=True):
    """A text that reached its recipient whole. `modem` is the number that sent it.

    `validity`: seconds, None without; `at`: seconds since the epoch, of its last part.
    """

    to: str
    text: str
    parts: int
    at: float
    modem: str
    class0: bool = False
    validity: int | None = None


class Transmitted(Veiled, frozen=True, kw_only=True):
    """One part that the network took. `reference` is the TP-MR that the modem gave it."""

    to: str
    submit: Submit
    reference: int
    at: float
    modem: str


class Phone(Protocol):
    """What can be called: an emulated modem."""

    @property
    def number(self) -> str: ...

    def offer(self, pdu: str, length: int, *, report: bool) -> bool:
        """Take what came over the air; False: not now, the network keeps it."""


class Network:
    """`latency`: seconds of radio time a part takes. `clock`: seconds since the epoch.

    `refused`: what sending to a number ends with, on every modem, such as `CMS 1`.
    `status`: TP-Status of a number's reports, in order (23.040, 9.2.3.15); else 0, delivered.
    """

    def __init__(
        self,
        *,
        latency: float = 0.05,
        reports: Reports = "direct",
        clock: Callable[[], float] = time.time,
        smsc: str = "+62811000000",
    ) -> None:
        self.latency = latency
        self.reports: Reports = reports
        self.smsc = smsc
        self.clock = clock
        self.sent: list[Arrived] = []
        self.parts: list[Transmitted] = []
        self.refused: dict[str, str] = {}
        self.status: dict[str, Sequence[int]] = {}
        #: Called with each text that arrives.
        self.heard: Callable[[Arrived], None] | None = None
        self._phones: dict[str, Phone] = {}
        self._waiting: dict[str, list[tuple[str, int, bool]]] = defaultdict(list)
        self._unfinished: dict[tuple[str, str, int, int, bool], dict[int, Transmitted]] = {}
        self._changed = asyncio.Event()
        self._reference = 0
        self._made = 0

    def count(self) -> int:
        """How many modems were made for it, this one included: so each can have its own numbers."""
        self._made += 1
        return self._made

    def join(self, phone: Phone) -> None:
        """Raises ValueError when another one has its number."""
        if self._phones.setdefault(phone.number, phone) is not phone:
            raise ValueError("another modem on this network has this number")

    def leave(self, phone: Phone) -> None:
        if self._phones.get(phone.number) is phone:
            del self._phones[phone.number]

    # --- from a modem

    def transmit(self, submit: Submit, reference: int, modem: str) -> Transmitted:
        """A part went over the air."""
        part = Transmitted(to=submit.to, submit=submit, reference=reference, at=self.clock(), modem=modem)
        self.parts.append(part)
        concat = submit.data.concat
        if concat is None:
            self._arrive([part])
            return part
        key = modem, submit.to, concat.reference, concat.total, concat.wide
        pieces = self._unfinished.setdefault(key, {})
        pieces[concat.number] = part
        if len(pieces) == concat.total:
            del self._unfinished[key]
            self._arrive([pieces[number] for number in sorted(pieces)])
        return part

    def _arrive(self, parts: Sequence[Transmitted]) -> None:
        first = parts[0]
        arrived = Arrived(
            to=first.to,
            text=whole([part.submit for part in parts]),
            parts=len(parts),
            at=self.clock(),
            modem=first.modem,
            class0=first.submit.flash,
            validity=first.submit.validity,
        )
        self.sent.append(arrived)
        self._wake()
        if self.heard is not None:
            self.heard(arrived)
        if arrived.to in self._phones:
            loop = asyncio.get_running_loop()
            loop.call_later(self.latency, self.call, arrived.to, arrived.text, arrived.modem)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def arrived(self, count: int) -> list[Arrived]:
        """Wait until `count` texts have arrived, whole; all that have."""
        while len(self.sent) < count:
            await self._changed.wait()
        return self.sent

    async def transmitted(self, count: int) -> list[Transmitted]:
        """Wait until `count` parts went over the air."""
        while len(self.parts) < count:
            await self._changed.wait()
        return self.parts

    def report(self, part: Transmitted, *, reference: int | None = None) -> None:
        """Report on it to its sender, once for each status of the number."""
        for status in self.status.get(part.to, (0,)):
            pdu, length = encode_status_report(
                part.reference if reference is None else reference,
                part.to,
                status,
                submitted=part.at,
                discharged=self.clock(),
                smsc=self.smsc,
            )
            self._offer(part.modem, pdu, length, report=True)

    # --- to a modem

    def call(
        self,
        number: str,
        text: str,
        sender: str,
        *,
        order: Sequence[int] = (),
        missing: Sequence[int] = (),
        wide: bool = False,
        flash: bool = False,
        reference: int | None = None,
    ) -> int:
        """A text for a modem's number. Returns how many parts were sent.

        `order`: the numbers of the parts, from 1, as they go; doubles are allowed. `missing`
        never come. `reference`: of the concatenation; else another one each time, from 0.
        """
        if reference is None:
            reference, self._reference = self._reference, (self._reference + 1) % 256
        parts = split(text, reference=reference, wide=wide, flash=flash)
        numbers = [n for n in order or range(1, len(parts) + 1) if n not in missing]
        for part in (parts[n - 1] for n in numbers):
            pdu, length = encode_deliver(sender, part, at=self.clock(), smsc=self.smsc)
            self._offer(number, pdu, length, report=False)
        return len(numbers)

    def call_pdu(self, number: str, pdu: str, *, report: bool = False) -> None:
        """Any hexadecimal digits as if the SMSC had sent them: it may be no PDU at all."""
        self._offer(number, pdu, len(pdu) // 2 - 1 - int(pdu[:2] or "0", 16), report=report)

    def _offer(self, number: str, pdu: str, length: int, *, report: bool) -> None:
        phone = self._phones.get(number)
        if self._waiting[number] or phone is None or not phone.offer(pdu, length, report=report):
            self._waiting[number].append((pdu, length, report))

    def reachable(self, phone: Phone) -> None:
        """It is there again, or has room again: what waited for it goes out."""
        waiting = self._waiting[phone.number]
        while waiting:
            pdu, length, report = waiting[0]
            if not phone.offer(pdu, length, report=report):
                return
            waiting.pop(0)

    def give_back(self, number: str, pdu: str, length: int, *, report: bool) -> None:
        """A modem could not hand it on after all: it is offered again later, before the others."""
        self._waiting[number].insert(0, (pdu, length, report))

    def waiting(self, number: str) -> int:
        """How many texts and reports the network keeps for a number."""
        return len(self._waiting[number])
