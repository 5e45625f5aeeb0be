"""The life of one modem, in one task: find it, set it up, look after it, bring it back.

Who does not answer is brought in step, then opened again, then reset (rarely), and at
last left alone with a look every minute: it comes back by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import glob
import logging
import os
import random
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from otpsvc.errors import CommandFailed, LineLost, ModemError, NoAnswer
from otpsvc.gsm.at import At
from otpsvc.gsm.condition import Condition
from otpsvc.gsm.health import Anew, Boots, Care
from otpsvc.gsm.pin import PinLock, Standstill
from otpsvc.gsm.port import OpenPort
from otpsvc.gsm.settings import ModemSettings, Timeouts
from otpsvc.gsm.starting import Start
from otpsvc.gsm.storage import Storage
from otpsvc.gsm.types import State

_log = logging.getLogger("otpsvc.gsm")

#: Seconds between two looks at a modem that hangs, and between two resets of our own accord.
HUNG_LOOK, RESET_GAP = 60.0, 600.0
#: Seconds until a port with another modem is tried again, and of a rest after a bug.
PASSED, BUG_REST = 10.0, 5.0
#: Seconds of the shortest wait between two rounds of work.
_BREATH: Final = 0.005
_GLOB: Final = re.compile(r"[*?\[]")


class Life:
    """`run` until cancelled. `monotonic` decides what is due; waits look at it every `look` seconds."""

    def __init__(
        self,
        settings: ModemSettings,
        condition: Condition,
        *,
        store: Storage,
        lock: PinLock,
        timeouts: Timeouts,
        reports: bool,
        ping: float,
        look: float,
        open_port: OpenPort,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.path = settings.path
        self.care = Care(
            condition, store, timeouts=timeouts, ping=ping, rouse=self.rouse, monotonic=monotonic
        )
        self.at = At(heard=self.care.heard, lost=self.care.lost, timeouts=timeouts, open_port=open_port)
        self._is = condition
        self._store = store
        self._timeouts = timeouts
        self._start = partial(Start, lock=lock, timeouts=timeouts, reports=reports, monotonic=monotonic)
        self._look = look
        self._now = monotonic
        self._wake = asyncio.Event()
        self._resets: list[asyncio.Future[None]] = []
        self._reset_at = -RESET_GAP
        self._rung = 0
        # An attempt that shows nothing until it comes further than the last one.
        self._quietly = False
        self._passed: dict[str, float] = {}
        self._boots = Boots(monotonic)

    def rouse(self) -> None:
        """Something changed: look now."""
        self._wake.set()

    async def reset(self) -> None:
        """AT+CFUN=1,1 as soon as it is free, and until it answers. Raises: NoAnswer, LineLost."""
        asked = asyncio.get_running_loop().create_future()
        self._resets.append(asked)
        self.rouse()
        await asked

    async def run(self) -> None:
        """Never raises but when it is cancelled; then the port is closed."""
        try:
            while True:
                await self._attempt()
        finally:
            self.at.close()
            self._is.show(State.ABSENT, "let go")
            self._settle_resets(LineLost("the modem was let go"))

    async def _attempt(self) -> None:
        try:
            await self._live()
        except Standstill as still:
            await self._stand_still(still)
        except Anew as anew:
            self._is.show(State.PROBING, str(anew))
        except LineLost as lost:
            self._came_loose(lost)
        except (NoAnswer, CommandFailed) as fault:
            await self._recover(str(fault))
        except Exception as bug:  # noqa: BLE001 - the others must not lose a modem by it
            # The type alone: what a bug quotes may be a text.
            word = type(bug).__name__
            _log.error("modem %s: %s in its task", self.settings.name, word)
            self.at.close()
            self._is.show(State.RESYNC, f"a bug: {word}")
            await self._nap(BUG_REST)

    async def _live(self) -> None:
        """From where it is to its next fault."""
        if self._is.paused:
            await self._rest()
            return
        if not self.at.is_open:
            await self._connect()
        await self._nap(self._boots.wait(), until=lambda: not self.at.is_open or self._is.paused)
        self._show_attempt(State.PROBING, "the port is open")
        if not await self.at.resync():
            if _GLOB.search(self.settings.path) and self.care.started is None:
                raise Standstill(State.ABSENT, "no port of these has a modem that answers")
            raise NoAnswer("AT")
        if self._resets:
            raise NoAnswer("AT+CFUN")
        # What it said before it answered is over.
        self.care.anew = ""
        await self._set_up()
        await self._serve()

    async def _rest(self) -> None:
        self.at.close()
        self._is.show(State.ABSENT, "not looked for yet")
        await self._nap(3600.0, until=lambda: not self._is.paused)

    async def _nap(self, seconds: float, until: Callable[[], bool] = lambda: True) -> None:
        """Until `seconds` are over, or something happened and `until` holds."""
        end = self._now() + seconds
        while (left := end - self._now()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, self._look)):
                    await self._wake.wait()
            self._is.refresh()
            if self._wake.is_set():
                self._wake.clear()
                if until():
                    return

    # --- its port

    async def _connect(self) -> None:
        refused = False
        while not self._is.paused:
            why = "not there"
            for path in self._candidates():
                if not refused and os.path.exists(path):  # noqa: ASYNC240, PTH110 - a look at /dev
                    self._show_attempt(State.OPENING, "the port is there")
                try:
                    await self.at.open(path, self.settings.baud)
                except LineLost as lost:
                    why = str(lost)
                    continue
                self.path = path
                return
            if not self._passed:
                self._rung, self._quietly = 0, False
                self._is.show(State.ABSENT, why)
            refused = why != "not there"
            # Two modems that look through the same ports must not do it in step.
            await self._nap(self._look * (1 + 0.1 * random.random()), until=lambda: self._is.paused)
        raise Anew("paused")

    def _candidates(self) -> list[str]:
        """The last port first; without those that were tried in vain a moment ago."""
        wanted = self.settings.path
        if not _GLOB.search(wanted):
            return [wanted]
        now = self._now()
        self._passed = {path: end for path, end in self._passed.items() if end > now}
        found = sorted(glob.glob(wanted), key=lambda path: (path != self.path, path))  # noqa: PTH207
        return [path for path in found if path not in self._passed]

    def _came_loose(self, lost: LineLost) -> None:
        self.care.lost(str(lost))
        if self.at.is_open:
            # The port is there: the modem started anew.
            self._boots.note()
            self._is.show(State.PROBING, self.care.anew or str(lost))
            return
        self._quietly = False
        self._is.show(State.ABSENT, str(lost))
        self._settle_resets(LineLost(str(lost)))

    # --- while all is well

    def _show_attempt(self, phase: State, why: str) -> None:
        if not self._quietly:
            self._is.show(phase, why)

    async def _set_up(self) -> None:
        start = self._start(self.at, self.settings, path=self.path)
        self.care.begin(await start.run())
        await self._is.network.ask(self.at)
        self._rung, self._quietly = 0, False
        self._is.show(None)

    async def _serve(self) -> None:
        while True:
            self._check()
            await self._store.hand_on()
            await self.care.work(self.at)
            self._is.own = False
            self._is.refresh()
            await self._nap(max(_BREATH, self.care.until_due(self._look)))

    def _check(self) -> None:
        if not self.at.is_open:
            raise LineLost("the port is gone")
        if self.care.anew:
            self._boots.note()
            raise Anew(self.care.anew)
        if self._is.occupied:
            return
        if self._is.paused:
            raise Anew("paused")
        if self._resets:
            raise NoAnswer("AT+CFUN")

    async def _stand_still(self, still: Standstill) -> None:
        self._quietly = True
        self._is.show(still.state, still.reason)
        if still.state is State.ABSENT:
            self.at.close()
            if _GLOB.search(self.settings.path):
                self._passed[self.path] = self._now() + PASSED
                return
        await self._nap(still.again, until=self._is_disturbed)
        if self.care.anew:
            self._boots.note()

    def _is_disturbed(self) -> bool:
        """What ends a wait before its time."""
        gone = not self.at.is_open and self._is.phase not in {State.ABSENT, State.HUNG}
        return bool(self._is.paused or self.care.anew or self._resets or gone)

    # --- bringing it back

    async def _recover(self, why: str) -> None:
        """The next rung of the ladder; `_live` tries again after each."""
        self.care.lost("the modem does not answer")
        self._quietly = True
        self._rung += 1
        if self._resets:
            await self._reset_modem("the operator wants it")
        elif self._rung == 1:
            self._is.show(State.RESYNC, why)
        elif self._rung == 2:
            self.at.close()
            self._is.show(State.RESYNC, why)
        elif self._now() >= self._reset_at + RESET_GAP:
            self._reset_at = self._now()
            await self._reset_modem(why)
        else:
            self.at.close()
            self._is.show(State.HUNG, f"nothing helped: {why}")
            await self._nap(HUNG_LOOK, until=self._is_disturbed)

    async def _reset_modem(self, why: str) -> None:
        self._is.show(State.RESETTING, why)
        end = self._now() + self._timeouts.reset
        # It may stand open and out of step: a fresh port writes at once.
        self.at.close()
        with contextlib.suppress(ModemError):
            await self.at.open(self.path, self.settings.baud)
            await self.at.ask("AT+CFUN=1,1", timeout=self._timeouts.basic)
        while self._now() < end and not self._is.paused:
            await self._nap(self._look, until=lambda: False)
            with contextlib.suppress(LineLost):
                if not self.at.is_open:
                    await self.at.open(self.path, self.settings.baud)
                if await self.at.resync():
                    self._settle_resets(None)
                    return
        self._settle_resets(NoAnswer("AT+CFUN"))

    def _settle_resets(self, error: ModemError | None) -> None:
        resets, self._resets = self._resets, []
        for asked in [each for each in resets if not each.done()]:
            asked.set_exception(error) if error else asked.set_result(None)
