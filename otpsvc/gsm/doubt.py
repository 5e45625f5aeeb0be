"""Texts of which nobody knows whether the network took them, and what proves that it did.

A doubt is open from the lost answer until its job has ended. A late +CMGS of the same
modem ends it, or a delivery report from the same SIM, for the same number, about a part
that was sent after the job began and that no other text is known by.
"""

from __future__ import annotations

import asyncio
from typing import Final

from otpsvc.gsm.pdu import StatusReport
from otpsvc.gsm.sending import Attempt

#: The network's time stamps are whole seconds of a clock of its own.
SKEW: Final = 5.0
#: Networks write a number with or without its country; so many last digits must agree.
DIGITS: Final = 7


class Proven(Exception):
    """The network has it after all; nothing more is to be sent."""


class Doubt:
    """`began`: seconds since the epoch when its job began."""

    def __init__(self, attempt: Attempt, began: float) -> None:
        self.attempt = attempt
        self.began = began
        #: TP-MR of the last part; -1: not told.
        self.proof: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def prove(self, reference: int) -> None:
        if not self.proof.done():
            self.proof.set_result(reference)

    async def wait(self, seconds: float) -> bool:
        """Whether it was proven in time."""
        await asyncio.wait([self.proof], timeout=max(0.0, seconds))
        return self.proven

    @property
    def proven(self) -> bool:
        return self.proof.done() and not self.proof.cancelled()

    def check(self) -> None:
        """Raises: Proven."""
        if self.proven:
            raise Proven

    def fits(self, sim: str, report: StatusReport) -> bool:
        attempt = self.attempt
        return (
            attempt.sim == sim
            and same_number(attempt.job.to, report.recipient)
            and report.reference not in attempt.references
            and report.submitted >= self.began - SKEW
        )


class Doubts:
    """Those that are open, and how many there ever were."""

    def __init__(self) -> None:
        self.count = 0
        self._closed = False
        self._open: list[Doubt] = []

    def open(self, attempt: Attempt, began: float) -> Doubt:
        self.count += 1
        doubt = Doubt(attempt, began)
        self._open.append(doubt)
        if self._closed:
            doubt.proof.cancel()
        return doubt

    def close(self, doubt: Doubt) -> None:
        self._open.remove(doubt)

    def give_up(self) -> None:
        """No proof will come any more."""
        self._closed = True
        for doubt in self._open:
            doubt.proof.cancel()

    def late_result(self, modem: str, reference: int) -> None:
        """A +CMGS came when nobody waited for it any longer: it is about the modem's last text."""
        for doubt in reversed(self._open):
            if doubt.attempt.member.settings.name == modem:
                doubt.prove(reference)
                return

    def report(self, sim: str, report: StatusReport) -> None:
        """A report that belongs to no known text. Any status proves that the network had the part."""
        for doubt in self._open:
            if not doubt.proof.done() and doubt.fits(sim, report):
                doubt.prove(report.reference)
                return


def same_number(one: str, other: str) -> bool:
    """Whether both may be the same number: `+628123456789` and `08123456789`."""
    if one == other:
        return True
    tails = one[-DIGITS:], other[-DIGITS:]
    return tails[0] == tails[1] and len(tails[0]) == DIGITS
