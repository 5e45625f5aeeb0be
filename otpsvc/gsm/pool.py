"""All modems of a program as one: texts go to whoever may send them and is free.

job ─> waiting line (turns) ─> modem ─> sent
             ^ rules: routing     │
             ^ quotas: ledger     └─> delivery reports (reports) ─> Delivered
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, cast

from msgspec.structs import replace

from otpsvc.errors import Refused, StoreUnavailable, Unavailable, UnknownModem
from otpsvc.gsm import address, parts
from otpsvc.gsm.account import Account
from otpsvc.gsm.allowance import Allowance
from otpsvc.gsm.course import Course, Desk
from otpsvc.gsm.doubt import Doubts
from otpsvc.gsm.ledger import Ledger
from otpsvc.gsm.member import DOWN, Member
from otpsvc.gsm.modem import Modem
from otpsvc.gsm.port import OpenPort, open_port
from otpsvc.gsm.reports import Reports
from otpsvc.gsm.routing import by_rule
from otpsvc.gsm.settings import ModemSettings, PoolSettings
from otpsvc.gsm.turns import Turns
from otpsvc.gsm.types import Change, Event, Job, Sent, Snapshot, State, UssdAnswer

#: Settings that only a new start of the modem takes over.
_FIXED: Final = ("name", "path", "imei", "pin", "baud", "smsc", "keep_link", "init")
#: Seconds that texts on their way have when the pool is closed.
GRACE: Final = 5.0


class Pool:
    """`async with`: its modems are opened and kept alive meanwhile. `tell` must not block."""

    def __init__(
        self,
        modems: Sequence[ModemSettings],
        settings: PoolSettings,
        *,
        ledger: Ledger,
        tell: Callable[[Event], None],
        open_port: OpenPort = open_port,
    ) -> None:
        self._wanted = tuple(modems)
        self._ledger = ledger
        self._tell = tell
        self._open_port = open_port
        self._members: list[Member] = []
        self._running: dict[Member, asyncio.Task[None]] = {}
        self._allowances: dict[str, Allowance] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._courses: set[Course] = set()
        self._changing = asyncio.Lock()
        self._turns = Turns()
        self._doubts = Doubts()
        self.reports = Reports(ledger, self._doubts, tell=tell)
        account = Account(ledger, self._turns)
        self._desk = Desk(settings, self._turns, account, self._doubts, self.reports, self._spawn)

    async def __aenter__(self) -> Self:
        for settings in self._wanted:
            self._add(settings)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._turns.close()
        self._doubts.give_up()
        if ends := [asyncio.create_task(self._end(member)) for member in self._members]:
            await asyncio.wait(ends, timeout=GRACE)
        for course in self._courses:
            course.halt()
        for task in (*ends, *self._running.values()):
            task.cancel()
        await asyncio.gather(*ends, *self._running.values(), return_exceptions=True)
        await self.reports.close()
        # Without their ports they end at once; the ledger answers soon, or says that it cannot.
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def doubts(self) -> int:
        """How often nobody knew whether the network had taken a text."""
        return self._doubts.count

    @property
    def waiting(self) -> int:
        """Jobs that wait for a modem."""
        return self._turns.length

    async def send(self, job: Job) -> Sent:
        """Send one text.

        Raises: Refused (the number is none, or two modems say it is wrong; the text cannot be
        sent; no modem serves it), Unavailable (surely not sent: deadline, no modem in time,
        quotas with `retry_after`, failures of all, store), Uncertain (by the policy).
        A CancelledError has an Unavailable as its cause when surely nothing can be shown.
        """
        course = Course(self._desk, job, self._checked(job))
        self._courses.add(course)
        try:
            return await course.run()
        except asyncio.CancelledError as cancelled:
            if course.may_show:
                raise
            raise cancelled from (cancelled.__cause__ or Unavailable("cut off before it was handed over"))
        finally:
            self._courses.discard(course)

    def _checked(self, job: Job) -> int:
        """How many parts it needs. Raises: Refused, Unavailable."""
        try:
            address.dialled(job.to)
        except ValueError:
            raise Refused("not a number that can be dialled") from None
        try:
            count = parts.count(job.text, self._desk.settings.national)
        except ValueError:
            raise Refused("the text cannot be sent") from None
        if job.modem and not any(m.settings.name == job.modem for m in self._members):
            raise Refused("unknown modem")
        if not by_rule(job, self._members):
            raise Refused("no modem serves it")
        if time.monotonic() >= job.deadline:
            raise Unavailable("deadline")
        return count

    def modem(self, name: str) -> Modem:
        """By name, IMEI, or the beginning of an IMEI that only one has. Raises: UnknownModem."""
        return _modem(self._member(name))

    def _member(self, name: str) -> Member:
        for member in self._members:
            if member.settings.name == name:
                return member
        found = [m for m in self._members if name and _imei(m).startswith(name)]
        if len(found) != 1:
            raise UnknownModem("no modem of this name")
        return found[0]

    async def ussd(self, name: str, code: str, reply: bool = False) -> UssdAnswer:
        """Ask the network of one modem's SIM, after the text that it is sending.

        Raises: UnknownModem, NotReady, NoAnswer, CommandFailed, ValueError (not a code).
        """
        member = self._member(name)
        await member.own()
        try:
            return await _modem(member).ussd(code, reply=reply)
        finally:
            self._turns.free(member)

    async def snapshots(self) -> list[Snapshot]:
        """Every modem now, in the order of the settings."""
        return [await self._snapshot(member) for member in self._members]

    async def _snapshot(self, member: Member) -> Snapshot:
        settings = member.settings
        try:
            used = await self._ledger.used(member.sim, settings.quotas, settings.timezone)
        except StoreUnavailable:
            used = ()
        shot = _modem(member).snapshot(used)
        return replace(shot, sent=member.sent, failed=member.failed, uncertain=member.uncertain)

    async def change(self, modems: Sequence[ModemSettings], settings: PoolSettings) -> None:
        """Take over other settings while running; returns when all is done.

        Modems whose port and SIM settings stay the same keep their line. The others end the
        text that they are sending first, and meanwhile get no more.
        """
        async with self._changing:
            anew = _anew(self._desk.settings) != _anew(settings)
            self._desk.settings = settings
            wanted = {modem.name: modem for modem in modems}
            ends = [self._alter(m, wanted.pop(m.settings.name, None), anew) for m in list(self._members)]
            for added in wanted.values():
                self._add(added)
            for allowance in self._allowances.values():
                allowance.forget_full()
            self._turns.check()
            # Cut off in the middle, it goes on to the end: no modem may stay half changed.
            await asyncio.shield(self._spawn(_all([end for end in ends if end])))
            order = {modem.name: place for place, modem in enumerate(modems)}
            self._members.sort(key=lambda member: order[member.settings.name])

    def _alter(
        self, member: Member, wanted: ModemSettings | None, anew: bool
    ) -> Coroutine[Any, Any, None] | None:
        if wanted is not None and not anew and _line(wanted) == _line(member.settings):
            self._adjust(member, wanted)
            return None
        member.leaving = True
        if wanted is None:
            self._members.remove(member)
        return self._replace(member, wanted)

    def _adjust(self, member: Member, wanted: ModemSettings) -> None:
        modem, paused = _modem(member), member.settings.paused
        member.settings = modem.settings = wanted
        if wanted.paused and not paused:
            modem.pause()
        elif paused and not wanted.paused:
            modem.resume()

    async def _replace(self, member: Member, wanted: ModemSettings | None) -> None:
        await self._end(member)
        if wanted is not None and member in self._members:
            self._members.remove(member)
            self._add(wanted)

    def _add(self, settings: ModemSettings) -> None:
        shared = self._desk.settings
        modem = Modem(
            settings,
            timeouts=shared.timeouts,
            reports=shared.reports,
            ledger=self._ledger,
            tell=self._told,
            text=self._ledger.keep,
            report=self.reports.came,
            ping=shared.ping,
            look=shared.look,
            open_port=self._open_port,
        )
        modem.on_late = partial(self._doubts.late_result, settings.name)
        member = Member(settings, modem, self._allowances)
        self._members.append(member)
        self._turns.members = self._members
        self._running[member] = asyncio.create_task(modem.run())

    async def _end(self, member: Member) -> None:
        """Close its line after the text that it is sending."""
        member.leaving = True
        await member.own()
        running = self._running.pop(member)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    def _told(self, event: Event) -> None:
        self._tell(event)
        if isinstance(event, Change) and self._turns.length:
            # Later: the modem may not have taken the new state yet.
            if event.after is State.READY:
                asyncio.get_running_loop().call_soon(self._turns.rouse)
            elif event.after in DOWN:
                asyncio.get_running_loop().call_soon(self._turns.check)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _all(works: Sequence[Coroutine[Any, Any, None]]) -> None:
    await asyncio.gather(*works)


def _line(settings: ModemSettings) -> ModemSettings:
    """The settings that only a new start takes over."""
    return ModemSettings(**{name: getattr(settings, name) for name in _FIXED})


def _anew(settings: PoolSettings) -> tuple[object, ...]:
    return settings.timeouts, settings.reports, settings.ping, settings.look


def _modem(member: Member) -> Modem:
    # Only the pool makes its members, and only of modems.
    return cast("Modem", member.radio)


def _imei(member: Member) -> str:
    return member.radio.facts.imei or member.settings.imei
