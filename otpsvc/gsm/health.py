"""Looks after a modem that is set up: hears what it says, and asks it now and then.

Figures of field reports: one is silent after hours, one rebooted without a word and lost
its settings, one is registered and sends nothing.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import structs

from otpsvc.errors import CommandFailed, LineLost, NoAnswer
from otpsvc.gsm import urc
from otpsvc.gsm.at import At
from otpsvc.gsm.condition import Condition, Network
from otpsvc.gsm.settings import Timeouts
from otpsvc.gsm.starting import Started, done, plain, told
from otpsvc.gsm.storage import Storage
from otpsvc.gsm.types import Facts, State
from otpsvc.gsm.ussd import Exchange

#: Seconds between two looks at the settings, and at the network while there is none.
AUDIT, SEARCH = 300.0, 2.0
#: Seconds in which boots are counted, and the longest wait after many.
BOOT_WINDOW, BOOT_REST = 60.0, 30.0
#: Looks without an answer until it is brought in step.
MISSES: Final = 2


class Anew(Exception):
    """The modem has to be set up again, from ATE0 on; the words say why."""


class Care:
    """Of one modem. `late` is told TP-MR of a text that was sent after its time limit.

    `ping`: seconds between two looks. `rouse` is called when there is something to do.
    """

    def __init__(
        self,
        condition: Condition,
        store: Storage,
        *,
        timeouts: Timeouts,
        ping: float,
        rouse: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.facts = Facts()
        self.late: Callable[[int], None] = lambda _: None
        self.ussd = Exchange(timeouts)
        #: Why it has to be set up again; empty: it need not.
        self.anew = ""
        self.started: Started | None = None
        self._is = condition
        self._store = store
        self._timeouts = timeouts
        self._ping = ping
        self._rouse = rouse
        self._now = monotonic
        self._misses = 0
        # Whether it was asked for its operator.
        self._named = False
        self._ping_at = self._audit_at = self._quiet_until = 0.0

    def begin(self, started: Started) -> None:
        """It has its settings."""
        self.started, self.facts = started, started.facts
        self._store.begin(started)
        self._is.network = Network()
        self._misses, self._named = 0, False
        now = self._now()
        self._ping_at, self._audit_at, self._quiet_until = now, now + AUDIT, 0.0

    # --- what it learns of texts

    def answered(self) -> None:
        """A text was sent: as good as a look at it."""
        self._misses = 0
        self._ping_at = self._now() + self._ping

    def silent(self) -> None:
        """It showed no prompt: look at once."""
        self._misses += 1
        self._ping_at = 0.0
        self._rouse()

    def doubt(self) -> None:
        """No result came. It still may: what was written now could undo the text."""
        limits = self._timeouts
        self._quiet_until = self._now() + max(0.0, min(limits.late_result - limits.result, limits.result))
        self._is.show(State.RESYNC, "no result in time")
        self._rouse()

    def begin_anew(self, why: str) -> None:
        self.anew = self.anew or why
        self._rouse()

    # --- what it hears

    def heard(self, came: urc.Urc) -> None:
        match came:
            case urc.StoredText() | urc.StoredReport():
                self._store.stored(came.memory, came.index)
            case urc.DirectText() | urc.DirectReport():
                self._store.direct(came.pdu)
            case urc.UssdCame():
                self.ussd.came(came)
                return
            case urc.Registration():
                self._is.network.note(came.kind, came.stat)
                self._is.refresh()
            case urc.LateResult():
                self._late_result(came)
            case urc.Boot() | urc.Power() | urc.SimState():
                self._restarted(came)
            case _:
                return
        self._rouse()

    def _late_result(self, came: urc.LateResult) -> None:
        self._quiet_until = 0.0
        if not came.failed:
            self.late(came.reference)

    def _restarted(self, came: urc.Boot | urc.Power | urc.SimState) -> None:
        if isinstance(came, urc.SimState):
            if came.word != "READY":
                self.begin_anew("the SIM says that it is not ready")
        elif isinstance(came, urc.Power):
            if came.down:
                self.begin_anew(f"it switched itself off ({came.word})")
        elif came.sure:
            self.begin_anew(f"it started anew ({came.word})")
        else:
            # A word of a ready SIM: some modems say no other one when they start.
            self._audit_at = 0.0

    def lost(self, reason: str) -> None:
        """The port is gone, or what was going on in it."""
        self.ussd.lost(LineLost(reason))
        self._rouse()

    # --- what it does

    @property
    def overdue(self) -> float:
        """Seconds that its own work waits already."""
        return self._now() - min(self._store.due, self._audit_at)

    async def work(self, at: At) -> None:
        """What is due, one after the other; a text that comes goes first.

        Raises: Anew, NoAnswer (it does not answer), LineLost.
        """
        now = self._now()
        if self._is.occupied:
            return
        if self._is.phase is not None:
            if now < self._quiet_until:
                return
            if not await at.resync():
                raise NoAnswer("AT+CMGS", "result")
            self._is.show(None)
        for due, task in (
            (now >= self._ping_at, self._look),
            (now >= self._audit_at, self._audit),
            (self.ussd.stale, self.ussd.cancel),
            (self._is.network.registered and self._is.standing.wants_radio, self._radio_off_and_on),
            (now >= self._store.due, self._read),
        ):
            if due and not self._is.occupied:
                await self._tried(task, at)

    async def _tried(self, task: Callable[[At], Awaitable[None]], at: At) -> None:
        """One silence is forgiven, if it answers the look that follows at once."""
        try:
            await task(at)
        except NoAnswer:
            self._misses += 1
            self._ping_at = self._now()
            if self._misses >= MISSES:
                raise

    async def _read(self, at: At) -> None:
        await self._store.read(at, lambda: self._is.occupied)
        self._is.remark = self._store.trouble

    async def _look(self, at: At) -> None:
        network = self._is.network
        level = await signal(at)
        await network.ask(at)
        if not network.registered and not await has_sim(at):
            raise Anew("the SIM is gone")
        self._misses = 0
        self._ping_at = self._now() + (self._ping if network.registered else min(SEARCH, self._ping))
        self.facts = structs.replace(self.facts, signal=level, roaming=network.roaming)
        if network.registered and not self._named and not self._is.occupied:
            self._named = True
            await told(at, "AT+COPS=3,0")
            said = re.search(r'"([^"]*)"', await told(at, "AT+COPS?"))
            self.facts = structs.replace(self.facts, operator=plain(said[1]) if said else "")

    async def _audit(self, at: At) -> None:
        self._audit_at = self._now() + AUDIT
        lost = await lost_setting(at, self.started) if self.started else ""
        if lost:
            raise Anew(f"it lost its settings ({lost})")

    async def _radio_off_and_on(self, at: At) -> None:
        self._is.standing.radio_tried()
        self._is.show(State.RESETTING, "nothing is sent: the radio is switched off and on")
        await done(at, "AT+CFUN=4")
        await done(at, "AT+CFUN=1")
        raise Anew("the radio was switched off and on")

    def until_due(self, look: float) -> float:
        """Seconds until there is something to do; `look` at most while somebody has the line."""
        now, standing = self._now(), self._is.standing
        if self._is.occupied:
            return min(look, self._store.offer_due - now)
        if self._is.phase is not None:
            return self._quiet_until - now
        waits = [self._ping_at, self._audit_at, self._store.due, self._store.offer_due]
        if standing.verdict():
            waits.append(now + standing.left)
        return min(waits) - now


class Boots:
    """How long to wait before a modem that starts again and again is set up once more."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._now = monotonic
        self._times: deque[float] = deque(maxlen=20)

    def note(self) -> None:
        self._times.append(self._now())

    def wait(self) -> float:
        """Seconds; none after the first two of a minute."""
        count = sum(time > self._now() - BOOT_WINDOW for time in self._times)
        return 0.0 if count < 3 else min(BOOT_REST, 0.5 * 2.0 ** (count - 3))


async def signal(at: At) -> int | None:
    """dBm; None: not known (27.007, 8.5). Raises: NoAnswer, LineLost."""
    found = re.match(r"(\d{1,2})\b", await told(at, "AT+CSQ"))
    rssi = int(found[1]) if found else 99
    return 2 * rssi - 113 if rssi <= 31 else None


async def lost_setting(at: At, started: Started) -> str:
    """A setting that is not as it was set: then it started anew without a word. Empty: all are.

    Raises: NoAnswer, LineLost.
    """
    if (await told(at, "AT+CMGF?"))[:1] not in {"0", ""}:
        return "PDU mode"
    cnmi = tuple(int(n) for n in re.findall(r"\d+", await told(at, "AT+CNMI?")))
    if cnmi and started.cnmi and cnmi[:4] != started.cnmi[:4]:
        return "what it tells unasked"
    memories = re.findall(r'"([A-Z]{2})"', await told(at, "AT+CPMS?"))
    if len(memories) == 3 and memories[2] != started.memory:
        return "the memory of texts"
    return ""


async def has_sim(at: At) -> bool:
    """Whether +CPIN? says READY. Raises: NoAnswer, LineLost."""
    try:
        lines = (await at.ask("AT+CPIN?")).lines
    except CommandFailed:
        return False
    return any(b"READY" in line and b"NOT" not in line for line in lines)
