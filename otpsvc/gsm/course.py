"""The course of one job: from the waiting line over its attempts to its end.

waiting ─> attempt ─> sent
   ^          ├────> surely not sent: the next modem, at once
   │          └────> nobody knows: a doubt, and the policy of the pool says what then
   └── once more <───┘
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from msgspec import Struct

from otpsvc.errors import (
    ChannelError,
    CommandFailed,
    ModemError,
    NoAnswer,
    Unavailable,
    Uncertain,
)
from otpsvc.gsm import parts, pdu
from otpsvc.gsm.account import Account
from otpsvc.gsm.cause import Cause, cause_of
from otpsvc.gsm.doubt import Doubt, Doubts, Proven
from otpsvc.gsm.member import Member
from otpsvc.gsm.reports import Reports
from otpsvc.gsm.sending import Attempt
from otpsvc.gsm.settings import PoolSettings
from otpsvc.gsm.turns import Turns
from otpsvc.gsm.types import Job, Sent

#: Seconds that a report may take after the network's last try.
REPORT_LATE: Final = 600.0


class Desk(Struct):
    """What all jobs of a pool share. `epoch`: seconds since the epoch."""

    settings: PoolSettings
    turns: Turns
    account: Account
    doubts: Doubts
    reports: Reports
    #: Starts a task that outlives its maker.
    spawn: Callable[[Coroutine[Any, Any, Attempt | None]], asyncio.Task[Attempt | None]]
    monotonic: Callable[[], float] = time.monotonic
    epoch: Callable[[], float] = time.time


class Course:
    """Of one job whose text needs `count` parts; runs once."""

    def __init__(self, desk: Desk, job: Job, count: int) -> None:
        self._desk = desk
        self._job = job
        self._ticket = desk.turns.ticket(job, count)
        self._attempt: Attempt | None = None
        self._doubt: Doubt | None = None
        self._began = desk.epoch()
        self._halted = False

    @property
    def may_show(self) -> bool:
        """Whether a phone may show the text, as far as anybody knows."""
        attempt = self._attempt
        return self._doubt is not None or (attempt is not None and not attempt.unsent)

    def halt(self) -> None:
        """Begin no further part."""
        self._halted = True
        if self._attempt is not None:
            self._attempt.halted.set()

    async def run(self) -> Sent:
        """Raises: Refused, Unavailable, Uncertain."""
        try:
            attempt = await self._until_handed()
            if self._doubt is None:
                if attempt.doubtful:  # its line was closed while it was halted
                    raise Uncertain("stopping, without an answer after the text")
                return _sent(attempt)
            return await self._after(self._doubt)
        finally:
            if self._doubt is not None:
                self._desk.doubts.close(self._doubt)

    async def _until_handed(self) -> Attempt:
        """Until the network took the text or nobody knows. Raises: Refused, Unavailable, Proven."""
        patience = self._desk.settings.patience
        while True:
            began = self._desk.monotonic()
            attempt = await self._once(began + patience)
            if attempt is None:
                patience -= self._desk.monotonic() - began
                continue
            patience -= attempt.began - began
            if attempt.stopped is not None:
                raise attempt.stopped
            if attempt.sent or attempt.doubtful:
                return attempt
            assert attempt.error is not None
            again = self._ticket.tries.note(attempt.member, attempt.error, self._desk.monotonic())
            self._desk.turns.rouse_at(again)

    async def _once(self, until: float) -> Attempt | None:
        """One attempt by the next modem; None when its SIM may not send now.

        Cut off in the middle, the modem is not: it ends the part that it has, so that its
        port stays in step, and begins no other.
        """
        desk = self._desk
        member = await desk.turns.modem(self._ticket, min(self._job.deadline, until))
        try:
            return await asyncio.shield(desk.spawn(self._by(member)))
        except asyncio.CancelledError:
            self.halt()
            raise

    async def _by(self, member: Member) -> Attempt | None:
        """The modem is free again before the ledger is told: that may take as long as it wants."""
        desk = self._desk
        with desk.reports.flight(member.sim, self._job.to):
            try:
                attempt = await self._counted(member)
                if attempt is not None:
                    await attempt.run(
                        report=desk.settings.reports, check=self._check, monotonic=desk.monotonic
                    )
                    self._judge(attempt)
            finally:
                desk.turns.free(member)
            if attempt is not None:
                await self._note(attempt)
        return attempt

    async def _counted(self, member: Member) -> Attempt | None:
        """An attempt whose parts are counted on the SIM. Raises: Unavailable."""
        desk, job = self._desk, self._job
        taken = await desk.account.take(member, self._ticket.parts)
        if taken is None:
            return None
        cut = parts.split(
            job.text, reference=taken.reference, flash=job.flash, national=desk.settings.national
        )
        self._attempt = Attempt(member, job, cut, desk.monotonic())
        return self._attempt

    def _check(self) -> None:
        """Before each part. Raises: Unavailable, Proven."""
        if self._halted:
            raise Unavailable("stopping")
        if self._doubt is not None:
            self._doubt.check()

    def _judge(self, attempt: Attempt) -> None:
        """What the attempt says about the modem, before the modem may have another text."""
        member = attempt.member
        if attempt.sent:
            member.sent += 1
            member.radio.relieve()
            return
        if attempt.doubtful:
            member.uncertain += 1
            self._open(attempt)
        elif attempt.error is not None:
            member.failed += 1
        cause = _strike(attempt.error)
        if cause is not None:
            member.radio.strike(cause)

    def _open(self, attempt: Attempt) -> None:
        doubt = self._desk.doubts.open(attempt, self._began)
        if self._doubt is None and not self._halted:
            self._doubt = doubt
        else:
            self._desk.doubts.close(doubt)

    async def _note(self, attempt: Attempt) -> None:
        if attempt.sent:
            await self._expect(attempt, attempt.references)
        elif attempt.unsent:
            await self._desk.account.give_back(attempt.member, attempt.sim, attempt.unsent)

    async def _expect(self, attempt: Attempt, references: list[int]) -> None:
        if not self._desk.settings.reports:
            return
        left = self._job.deadline - attempt.began
        life = pdu.validity_seconds(pdu.validity_octet(left)) + REPORT_LATE
        await self._desk.reports.expect(attempt.sim, tuple(references), self._job.to, self._job.id, life)

    async def _after(self, doubt: Doubt) -> Sent:
        """By the policy. Raises: Uncertain."""
        settings = self._desk.settings
        if settings.policy == "never_resend":
            raise Uncertain("no answer after the text")
        left = self._job.deadline - self._desk.monotonic()
        if settings.policy == "report_then_resend" and await doubt.wait(min(settings.report_wait, left)):
            return await self._proven(doubt)
        try:
            attempt = await self._resend(doubt)
        except Proven:
            return await self._proven(doubt)
        except ChannelError as error:
            raise Uncertain(f"no answer after the text; not sent again: {error.reason}") from None
        if attempt.doubtful:
            raise Uncertain("no answer after the text, twice")
        return _sent(attempt, uncertain=True)

    async def _resend(self, doubt: Doubt) -> Attempt:
        """Once more, on another modem if there is one; a proof ends the wait for it.

        Raises: Refused, Unavailable, Proven.
        """
        self._ticket.tries.bar(doubt.attempt.member)

        def call_off(_: object) -> None:
            if doubt.proven:
                self._ticket.call_off(Proven())

        doubt.proof.add_done_callback(call_off)
        try:
            doubt.check()
            return await self._until_handed()
        finally:
            doubt.proof.remove_done_callback(call_off)

    async def _proven(self, doubt: Doubt) -> Sent:
        attempt = doubt.attempt
        attempt.member.radio.relieve()
        attempt.references.append(doubt.proof.result())
        await self._expect(attempt, attempt.references)
        return _sent(attempt)


def _sent(attempt: Attempt, *, uncertain: bool = False) -> Sent:
    name = attempt.member.settings.name
    return Sent(name, attempt.sim, tuple(attempt.references), uncertain)


def _strike(error: ModemError | None) -> Cause | None:
    """What it says about the modem; None: nothing, or nothing that the modem does not know itself."""
    if isinstance(error, NoAnswer):
        return Cause.UNKNOWN
    if not isinstance(error, CommandFailed):
        return None
    cause = cause_of(error)
    return None if cause in {Cause.RECIPIENT, Cause.PDU} else cause
