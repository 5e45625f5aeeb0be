"""What a modem is to those who look at it: its state and why, as failures and the network leave it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Final

from otpsvc.gsm.at import At
from otpsvc.gsm.cause import Cause
from otpsvc.gsm.starting import told
from otpsvc.gsm.types import Change, Event, State

#: Seconds of the first rest and the longest one, of a short wait, and of one after refusals of the SIM.
REST, LONGEST_REST, MOMENT, SIM_REST = 5.0, 300.0, 1.0, 3600.0
#: Refusals of the SIM in a row, and failures while registered until its radio is switched off and on.
SIM_STRIKES, RADIO_STRIKES = 3, 3
#: 27.007, 7.2: home and roaming, and the same for SMS alone.
_HOME, _ROAMING = frozenset({1, 6}), frozenset({5, 7})
_REGISTRATION: Final = re.compile(r"\d\s*,\s*(\d{1,2})")


class Standing:
    """What failures say about a modem: `strike` after each, `relieve` after a success."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._now = monotonic
        self._until = 0.0
        self._state = State.READY
        self._reason = ""
        self._failures = 0
        self._refusals = 0
        self._unsent = 0
        self._radio_tried = False

    def strike(self, cause: Cause) -> None:
        """The first failure costs a moment, those after it 5 s and each time twice as long."""
        if cause in {Cause.BUSY, Cause.STORAGE}:
            self._rest(State.DEGRADED, MOMENT, f"a moment after a failure ({cause})")
            return
        if cause in {Cause.RECIPIENT, Cause.PDU}:
            return
        self._refusals = self._refusals + 1 if cause is Cause.SIM else 0
        self._failures += 1
        self._unsent += cause in {Cause.NETWORK, Cause.UNKNOWN}
        if self._refusals >= SIM_STRIKES:
            self._refusals = 0
            self._rest(State.SUSPENDED, SIM_REST, f"the SIM was refused {SIM_STRIKES} times in a row")
            return
        rest = MOMENT if self._failures == 1 else min(LONGEST_REST, REST * 2 ** min(self._failures - 2, 10))
        self._rest(State.DEGRADED, rest, f"{self._failures} failures in a row (last: {cause})")

    def relieve(self) -> None:
        """A send succeeded, or the operator says that all is well."""
        self._failures = self._refusals = self._unsent = 0
        self._radio_tried = False
        self._until = 0.0

    def verdict(self) -> tuple[State, str] | None:
        """Degraded or suspended, and why; None: it may work."""
        return (self._state, self._reason) if self._now() < self._until else None

    @property
    def left(self) -> float:
        """Seconds until it may work."""
        return max(0.0, self._until - self._now())

    @property
    def wants_radio(self) -> bool:
        """Whether its radio is to be switched off and on: once until the next success."""
        return not self._radio_tried and self._unsent >= RADIO_STRIKES

    def radio_tried(self) -> None:
        self._radio_tried = True

    def _rest(self, state: State, seconds: float, reason: str) -> None:
        if self._until > self._now() + seconds:
            return
        self._until = self._now() + seconds
        self._state, self._reason = state, reason


class Network:
    """What +CREG and +CEREG tell: one of them is enough."""

    def __init__(self) -> None:
        self._stats: dict[str, int] = {}

    def note(self, kind: str, stat: int) -> None:
        """CGREG is of data alone: it says nothing here."""
        if kind in {"CREG", "CEREG"}:
            self._stats[kind] = stat

    @property
    def registered(self) -> bool:
        return any(stat in _HOME | _ROAMING for stat in self._stats.values())

    @property
    def roaming(self) -> bool:
        stats = set(self._stats.values())
        return bool(stats & _ROAMING) and not stats & _HOME

    @property
    def reason(self) -> str:
        denied = 3 in self._stats.values()
        return "the network denies it" if denied else "it searches for a network"

    async def ask(self, at: At) -> None:
        """Data's registration counts where a modem knows no other. Raises: NoAnswer, LineLost."""
        self._stats.pop("CGREG", None)
        for kind in ("CREG", "CEREG", "CGREG"):
            # What CEREG told at an earlier look says nothing of now.
            by_creg = self._stats.get("CREG") in _HOME | _ROAMING
            if (kind == "CEREG" and by_creg) or (kind == "CGREG" and self._stats):
                return
            found = _REGISTRATION.search(await told(at, f"AT+{kind}?"))
            self._stats.pop(kind, None)
            if found:
                self._stats[kind] = int(found[1])


class Condition:
    """What a modem is to those who look at it. `tell` gets each change of state, once.

    `phase`: where it stands while it is not set up, else None.
    """

    def __init__(
        self,
        name: str,
        tell: Callable[[Event], None],
        *,
        paused: bool,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.standing = Standing(monotonic)
        self.network = Network()
        self.paused = paused
        self.phase: State | None = State.ABSENT
        self.why = "not looked for yet"
        self.state, self.reason = (State.DISABLED, "paused") if paused else (self.phase, self.why)
        #: Stands behind the reason of a modem that works, but not quite as it should.
        self.remark = ""
        #: Seconds since the epoch.
        self.since = time.time()
        #: Parts on their way, a text that has the modem, a USSD code, its own work that goes first.
        self.sending = 0
        self.held = self.asking = self.own = False
        self._name = name
        self._tell = tell
        self._changed = asyncio.Event()

    @property
    def occupied(self) -> bool:
        """The line is somebody's: no look at it, no reading of its store."""
        return bool(self.sending) or self.held or self.asking

    @property
    def takes(self) -> bool:
        """Whether a part may be sent now; the parts of a text that has it always may."""
        if self.phase is not None or not self.network.registered:
            return False
        return self.held or not (self.asking or self.own or self.paused or self.standing.verdict())

    def show(self, phase: State | None, why: str = "") -> None:
        self.phase, self.why = phase, why
        self.refresh()

    def refresh(self) -> None:
        """See what it is by now."""
        before = self.state
        after, self.reason = self._is(before)
        if after is before:
            return
        self.state, self.since = after, time.time()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self._tell(Change(self._name, before, after, self.reason))

    async def change(self) -> None:
        """Until its state is another one."""
        await self._changed.wait()

    def _is(self, before: State) -> tuple[State, str]:
        if self.paused and not self.occupied:
            return State.DISABLED, "paused"
        if self.phase is not None:
            return self.phase, self.why
        if self.sending or self.held:
            return State.SENDING, "a text"
        if not self.network.registered:
            return State.REGISTERING, self.network.reason
        if verdict := self.standing.verdict():
            return verdict
        if self.asking or self.own:
            return State.SENDING, "a USSD code" if self.asking else "texts that came in"
        if before is State.READY:
            said = self.reason.partition("; ")[0]
        else:
            said = "free again" if before is State.SENDING else "registered"
        return State.READY, f"{said}; {self.remark}" if self.remark else said
