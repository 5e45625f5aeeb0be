"""Who is next: one waiting line of jobs, from which modems that are ready take turns.

Urgent jobs stand before the others, and each kind in the order in which it came; a job
keeps its place when a modem failed it. A free modem gets the first job that it may
send; among several free ones the one that rested longest goes first. So nothing ever
queues behind a modem that hangs.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from bisect import insort
from collections.abc import Callable, Sequence
from itertools import count

from otpsvc.errors import ChannelError, Unavailable
from otpsvc.gsm.member import Member
from otpsvc.gsm.routing import by_rule
from otpsvc.gsm.tries import Tries
from otpsvc.gsm.types import Job, State


class Ticket:
    """A job's place in the line. `parts`: that it needs of a quota."""

    def __init__(self, job: Job, parts: int, number: int) -> None:
        self.job = job
        self.parts = parts
        #: Where it stands.
        self.place = not job.urgent, number
        self.tries = Tries()
        self.granted: asyncio.Future[Member] | None = None

    def call_off(self, error: Exception) -> None:
        """It need not wait any longer; does nothing to one that does not wait."""
        if self.granted is not None and not self.granted.done():
            self.granted.set_exception(error)


class Turns:
    """Must be used inside the running loop. `monotonic` must be the clock of the jobs' deadlines."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.members: Sequence[Member] = ()
        self._monotonic = monotonic
        self._waiting: list[Ticket] = []
        self._numbers = count()
        self._turn = count(1)
        self._times: list[float] = []
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def ticket(self, job: Job, parts: int) -> Ticket:
        return Ticket(job, parts, next(self._numbers))

    @property
    def length(self) -> int:
        """Jobs that wait."""
        return len(self._waiting)

    async def modem(self, ticket: Ticket, until: float) -> Member:
        """A modem for this job alone, until `free`.

        Raises: Unavailable (`until` has come, or waiting is in vain), Refused, and what
        `Ticket.call_off` was given.
        """
        now = self._monotonic()
        if error := self._end(ticket, now):
            raise error
        granted: asyncio.Future[Member] = asyncio.get_running_loop().create_future()
        ticket.granted = granted
        insort(self._waiting, ticket, key=lambda other: other.place)
        try:
            self.rouse()
            if granted.done():
                return granted.result()
            async with asyncio.timeout(max(0.0, until - now)):
                return await granted
        except TimeoutError:
            self._give_up(granted)
            raise self._too_late(ticket) from None
        except BaseException:
            self._give_up(granted)
            raise
        finally:
            self._waiting.remove(ticket)
            ticket.granted = None

    def free(self, member: Member) -> None:
        """It may have the next job."""
        member.free()
        if member.allowance.next_at > self._monotonic():
            self.rouse_at(member.allowance.next_at)
        self.rouse()

    def rouse(self) -> None:
        """Something changed: give what is free to who waits."""
        now = self._monotonic()
        idle = {member for member in self.members if member.idle}
        for ticket in self._waiting if idle else ():
            if ticket.granted is None or ticket.granted.done():
                continue
            if member := self._pick(ticket, idle, now):
                self._grant(ticket.granted, member)
                idle.discard(member)
                if not idle:
                    break

    def check(self) -> None:
        """Tell those who wait in vain; for rarer changes: a modem is down, removed, or its SIM full."""
        now = self._monotonic()
        for ticket in self._waiting:
            if error := self._end(ticket, now):
                ticket.call_off(error)
        self.rouse()

    def close(self) -> None:
        """Nobody waits any longer."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self.check()

    def rouse_at(self, when: float) -> None:
        """Look again then."""
        if not self._closed:
            heapq.heappush(self._times, when)
            self._set_timer()

    def _give_up(self, granted: asyncio.Future[Member]) -> None:
        # A modem may have been given in the very moment of the cancellation.
        if granted.done() and not granted.cancelled() and granted.exception() is None:
            self.free(granted.result())

    def _too_late(self, ticket: Ticket) -> Unavailable:
        now = self._monotonic()
        if now >= ticket.job.deadline:
            return Unavailable("deadline")
        gaps = [max(0.0, m.allowance.next_at - now) for m in self._by_rule(ticket) if not m.down]
        return Unavailable(
            ticket.tries.reason or "no modem is ready", retry_after=min(gaps, default=0) or None
        )

    def _grant(self, granted: asyncio.Future[Member], member: Member) -> None:
        member.take()
        member.turn = next(self._turn)
        granted.set_result(member)

    def _pick(self, ticket: Ticket, idle: set[Member], now: float) -> Member | None:
        members = self._by_rule(ticket)
        able = [
            member
            for member in ticket.tries.choices(members, now)
            if member in idle and member.allowance.allows(ticket.parts, now)
        ]
        return min(able, key=lambda m: (m.allowance.above_soft(now), m.turn), default=None)

    def _by_rule(self, ticket: Ticket) -> list[Member]:
        job = ticket.job
        members = by_rule(job, self.members)
        return [member for member in members if member.sim == job.sim] if job.sim else members

    def _end(self, ticket: Ticket, now: float) -> ChannelError | None:
        if self._closed:
            return Unavailable("stopping")
        if ticket.job.modem and not any(m.settings.name == ticket.job.modem for m in self.members):
            return Unavailable("unknown modem")
        members = self._by_rule(ticket)
        waits = [member.allowance.full(ticket.parts, now) for member in members if _may_come(member)]
        if waits and all(waits):
            return Unavailable("quota", retry_after=min(waits))
        return ticket.tries.end(members)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._times:
            delay = max(0.0, self._times[0] - self._monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        now = self._monotonic()
        while self._times and self._times[0] <= now:
            heapq.heappop(self._times)
        self._set_timer()
        self.check()


def _may_come(member: Member) -> bool:
    """Without anybody's help but that of a hand that plugs it in."""
    return not member.down or member.radio.state is State.ABSENT
