"""One modem for the pool: what it is, a part to send, a USSD code, pause and reset.

    absent ─> opening ─> probing ─> (no_sim | pin | puk) ─> registering ─> ready ⇄ sending
    ready ⇄ degraded, suspended        any ─> resync ─> resetting ─> hung ─> … probing

`Life` keeps it in step; texts and USSD codes are written by the task of whoever asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from msgspec import structs

from otpsvc.errors import CommandFailed, ModemError, NoAnswer, NotReady
from otpsvc.gsm.cause import Cause
from otpsvc.gsm.condition import Condition
from otpsvc.gsm.ledger import Ledger
from otpsvc.gsm.life import Life
from otpsvc.gsm.pdu import StatusReport, Submit
from otpsvc.gsm.pin import PinLock
from otpsvc.gsm.port import OpenPort, open_port
from otpsvc.gsm.settings import ModemSettings, Timeouts
from otpsvc.gsm.storage import Storage
from otpsvc.gsm.trace import Sink
from otpsvc.gsm.types import Event, Facts, Snapshot, State, Text, Used, UssdAnswer
from otpsvc.gsm.ussd import dialable

#: Seconds after which its own work goes before the next text.
OVERDUE: Final = 10.0
#: +CMS ERROR of a store that is full or broken: 27.005, 3.2.5.
_FULL: Final = frozenset({320, 321, 322})


class Modem:
    """One modem, alive while `run` runs.

    `settings.path` may hold `*` and `?`: then every port that matches and that nobody has
    open is tried, and with `settings.imei` the one whose modem has it is taken. `tell`
    must not block. `text` and `report` may raise: then the same is offered again. `ping`
    and `look` in seconds.
    """

    def __init__(
        self,
        settings: ModemSettings,
        *,
        timeouts: Timeouts,
        reports: bool,
        ledger: Ledger,
        tell: Callable[[Event], None],
        text: Callable[[Text], Awaitable[None]],
        report: Callable[[str, StatusReport], Awaitable[None]],
        ping: float,
        look: float,
        open_port: OpenPort = open_port,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        #: Told TP-MR (-1: not known) when a text was sent after its time limit.
        self.on_late: Callable[[int], None] | None = None
        self._timeouts = timeouts
        self._look = look
        self._now = monotonic
        self._is = Condition(settings.name, tell, paused=settings.paused, monotonic=monotonic)
        self._store = Storage(settings.name, text=text, report=report, monotonic=monotonic)
        self._life = Life(
            settings,
            self._is,
            store=self._store,
            lock=PinLock(settings.pin, ledger, timeouts=timeouts),
            timeouts=timeouts,
            reports=reports,
            ping=ping,
            look=look,
            open_port=open_port,
            monotonic=monotonic,
        )
        self._life.care.late = self._told_late
        self._sent = self._failed = self._uncertain = 0

    async def run(self) -> None:
        """Live until cancelled: then the port is closed. Never raises."""
        await self._life.run()

    # --- what it is

    @property
    def settings(self) -> ModemSettings:
        return self._life.settings

    @settings.setter
    def settings(self, settings: ModemSettings) -> None:
        """For what needs no new start: routes, quotas, gaps."""
        self._life.settings = settings

    @property
    def state(self) -> State:
        return self._is.state

    @property
    def reason(self) -> str:
        return self._is.reason

    @property
    def since(self) -> float:
        """Seconds since the epoch."""
        return self._is.since

    @property
    def facts(self) -> Facts:
        return self._life.care.facts

    @property
    def path(self) -> str:
        """The port that it has or had; what is looked for before."""
        return self._life.path

    @property
    def ready(self) -> bool:
        return self._is.state is State.READY

    async def wait_ready(self) -> None:
        while not self.ready:
            await self._is.change()

    def snapshot(self, used: tuple[Used, ...] = ()) -> Snapshot:
        """How it is now."""
        return Snapshot(
            name=self.settings.name,
            path=self.path,
            state=self.state,
            reason=self.reason,
            since=self.since,
            facts=self.facts,
            used=used,
            sent=self._sent,
            failed=self._failed,
            uncertain=self._uncertain,
        )

    def on_trace(self, sink: Sink | None) -> None:
        """Lines of the port go to `sink`, redacted; None: no more."""
        self._life.at.trace = sink

    # --- texts

    def hold(self) -> None:
        """Nothing of its own until `release`: the parts of one text follow each other."""
        self._is.held = True
        self._is.refresh()

    def release(self) -> None:
        self._is.held = False
        self._is.own = self._is.phase is None and self._life.care.overdue > OVERDUE
        self._changed()

    async def submit(
        self, submit: Submit, *, until: float = math.inf, handed: Callable[[], None] | None = None
    ) -> int:
        """Send one part, not after `until` (`time.monotonic()`); gives TP-MR (-1: it was not told).

        `handed` is called right after Ctrl-Z was written: whatever ends it before then,
        surely nothing was sent.

        Raises NotReady, CommandFailed, NoAnswer("prompt"), LineLost: surely not sent.
        NoAnswer("result"), LostWhileSending: nobody knows.
        """
        if not self._is.takes:
            raise NotReady(f"the modem is {self.state}")
        body, length = structs.replace(submit, smsc=self.settings.smsc or submit.smsc).encoded()
        self._is.sending += 1
        self._is.refresh()
        try:
            reference = await self._submitted(f"AT+CMGS={length}", body, until, handed)
        except ModemError as error:
            self._note(error)
            raise
        finally:
            self._is.sending -= 1
            self._changed()
        self._sent += 1
        self._life.care.answered()
        return reference

    async def _submitted(
        self, command: str, body: str, until: float, handed: Callable[[], None] | None
    ) -> int:
        limits = self._timeouts
        write = partial(
            self._life.at.submit,
            command,
            body,
            prompt=limits.prompt,
            result=limits.result,
            late=limits.late_result,
            until=until,
            handed=handed,
        )
        try:
            return await write()
        except CommandFailed as failed:
            if failed.kind != "CMS" or failed.number not in _FULL:
                raise
        await self._store.clean(self._life.at)
        return await write()

    def _note(self, error: ModemError) -> None:
        if isinstance(error, NoAnswer) and error.stage == "result":
            self._uncertain += 1
            self._life.care.doubt()
        elif getattr(error, "written", False):
            self._uncertain += 1
        else:
            self._failed += 1
            if isinstance(error, NoAnswer):
                self._life.care.silent()

    def _told_late(self, reference: int) -> None:
        if self.on_late is not None:
            self.on_late(reference)

    def strike(self, cause: Cause) -> None:
        """A text failed because of `cause`."""
        if cause is Cause.STATE:
            self._life.care.begin_anew("it refused a text because of its SIM")
        self._is.standing.strike(cause)
        self._changed()

    def relieve(self) -> None:
        """A text was sent."""
        self._is.standing.relieve()
        self._changed()

    # --- USSD

    async def ussd(self, code: str, *, reply: bool = False) -> UssdAnswer:
        """Dial a code, or answer in the session that the last one opened (`reply`).

        Raises: ValueError for what is no code; NotReady, also when texts leave it no
        time; NoAnswer, CommandFailed, LineLost.
        """
        dialable(code)
        await self._free_for_ussd()
        self._is.asking = True
        self._is.refresh()
        try:
            if self._life.care.ussd.stale and not reply:
                await self._life.care.ussd.cancel(self._life.at)
            return await self._life.care.ussd.ask(self._life.at, code, maker=self.facts.manufacturer)
        finally:
            self._is.asking = False
            self._changed()

    async def _free_for_ussd(self) -> None:
        end = self._now() + self._timeouts.ussd
        while self._is.phase is None and self._is.network.registered and self._now() < end:
            if not self._is.occupied:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look):
                    await self._is.change()
        raise NotReady(f"the modem is {self.state}")

    async def cancel_ussd(self) -> None:
        """End a session. Raises: NotReady, NoAnswer, LineLost."""
        if self._is.phase is not None:
            raise NotReady(f"the modem is {self.state}")
        await self._life.care.ussd.cancel(self._life.at)

    # --- what the operator wants

    def pause(self) -> None:
        """Send what is being sent, then close the port until `resume`."""
        self._is.paused = True
        self._changed()

    def resume(self) -> None:
        """Work again, also when it is suspended or degraded."""
        self._is.paused = False
        self._is.standing.relieve()
        self._changed()

    async def reset(self) -> None:
        """AT+CFUN=1,1 once it is free; returns when it answers again.

        Raises: NotReady, NoAnswer (it does not answer any more), LineLost.
        """
        if self.state in {State.ABSENT, State.DISABLED}:
            raise NotReady(f"the modem is {self.state}")
        await self._life.reset()

    def _changed(self) -> None:
        self._is.refresh()
        self._life.rouse()
