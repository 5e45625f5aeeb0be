"""One text by one modem: its parts in order, each checked against the deadline right before it goes."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable

from otpsvc.errors import LineLost, ModemError, NoAnswer, Unavailable
from otpsvc.gsm.member import Member
from otpsvc.gsm.parts import Part
from otpsvc.gsm.pdu import Submit
from otpsvc.gsm.types import Job


class Attempt:
    """What one modem did with one text.

    Phones show a text of several parts only when all of them are there. So only a doubt
    about the last part is a doubt about the text: without it the earlier parts, which
    carry a reference of their own, are never shown, and may be sent again elsewhere.
    """

    def __init__(self, member: Member, job: Job, parts: tuple[Part, ...], began: float) -> None:
        #: By `time.monotonic()`.
        self.began = began
        self.member = member
        self.sim = member.sim
        self.job = job
        self.parts = parts
        #: TP-MR of the parts that the network took, in order.
        self.references: list[int] = []
        #: Parts that were, or may have been, handed to the radio.
        self.handed = 0
        #: Why it ended before its end.
        self.error: ModemError | None = None
        #: Set: no gap is worth waiting for, `check` will raise.
        self.halted = asyncio.Event()
        #: Why no further part was begun: the deadline, or what `check` raised.
        self.stopped: Exception | None = None

    @property
    def sent(self) -> bool:
        return len(self.references) == len(self.parts)

    @property
    def doubtful(self) -> bool:
        """Nobody knows whether the network has the whole text."""
        return not self.sent and self.handed == len(self.parts)

    @property
    def unsent(self) -> int:
        """Parts that surely did not leave."""
        return len(self.parts) - self.handed

    async def run(
        self,
        *,
        report: bool,
        check: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Send until the end or the first failure. `check` is called before each part and may raise."""
        self.member.radio.hold()
        try:
            for part in self.parts:
                await self._gap(monotonic)
                check()
                await self._send(self._submit(part, report=report, now=monotonic()), monotonic())
        except ModemError as error:
            self.error = error
        except Exception as stopped:  # noqa: BLE001 - whatever `check` raised goes to whose check it is
            self.stopped = stopped
        finally:
            self.member.radio.release()

    async def _gap(self, monotonic: Callable[[], float]) -> None:
        wait = min(self.member.allowance.next_at, self.job.deadline) - monotonic()
        if wait > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.halted.wait(), wait)

    def _submit(self, part: Part, *, report: bool, now: float) -> Submit:
        left = self.job.deadline - now
        if left <= 0:
            raise Unavailable("deadline")
        # Rounded up by the PDU to the next step: the network must not keep it longer than need be.
        return Submit(to=self.job.to, part=part, validity=math.ceil(left), report=report)

    async def _send(self, submit: Submit, now: float) -> None:
        self.member.allowance.note_part(self.member.settings, now)
        self.handed += 1
        try:
            self.references.append(await self.member.radio.submit(submit, until=self.job.deadline))
        except ModemError as error:
            if not may_have_left(error):
                self.handed -= 1
            raise


def may_have_left(error: ModemError) -> bool:
    """Whether it came after Ctrl-Z: the network may have the part."""
    if isinstance(error, NoAnswer):
        return error.stage == "result"
    return isinstance(error, LineLost) and bool(getattr(error, "written", False))
