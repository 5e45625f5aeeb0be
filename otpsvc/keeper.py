"""Keeps one feeder connected: its sessions one after the other, and the waits between them.

    hold (exclusive ones) ─> session … ends ─> wait ─> hold …

A feeder that is exclusive has sessions only while this node holds its name in the store;
a hold is a lease that ends by itself, and a session never outlasts it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Literal

import structlog

from otpsvc.errors import BrokerError, BrokerGone, BrokerRefused, OtpsvcError
from otpsvc.feeder import Feeder
from otpsvc.lease import Holds, Lease, Timing
from otpsvc.logs import in_words
from otpsvc.tally import Tally

#: Seconds until a broker that is gone is tried again: at first, and at most; the same for a refusal.
SOON: Final = (0.5, 30.0)
LATER: Final = (30.0, 300.0)
#: Seconds for which it must have been connected for the waits to begin anew.
STABLE: Final = 10.0
#: Seconds to end what is in hand, and for each further step of an end.
DRAIN, LEAVE = 5.0, 2.0
#: Seconds between two equal log lines.
AGAIN: Final = 60.0

#: How a session ended; `released`: another node may hold the line now.
End = Literal["refused", "gone", "failed", "released"]
_WEIGHTS: Final[tuple[End, ...]] = ("refused", "gone", "failed")
_log = structlog.get_logger("otpsvc.feeders")


class Waits:
    """Seconds until the next try: doubled with every failure, and as at first after a stable time."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._up: float | None = None
        self._tries = {SOON: 0, LATER: 0}

    def up(self) -> None:
        """It is connected now."""
        if self._up is None:
            self._up = self._timing.clock()

    def after(self, *, refused: bool) -> float:
        """A session ended."""
        if self._up is not None and self._timing.clock() - self._up >= STABLE:
            self._tries = dict.fromkeys(self._tries, 0)
        self._up = None
        kind = LATER if refused else SOON
        first, longest = kind
        doubled = first * 2.0 ** min(self._tries[kind], 20)  # a year of failures must not overflow
        self._tries[kind] += 1
        return min(doubled, longest) * self._timing.jitter()


class _Lines:
    """Log lines of one feeder: each change at once, what stays the same once a minute."""

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self._name = name
        self._clock = clock
        self._last = ""
        self._said: tuple[str, float] = ("", 0.0)

    def connected(self) -> None:
        if self._last != "connected":
            self._last = "connected"
            _log.info("feeder connected", feeder=self._name)

    def ended(self, end: End, reason: str, seconds: float, bug: Exception | None) -> None:
        """`seconds` until the next try."""
        said, at = self._said
        if said == reason and self._clock() - at < AGAIN:
            return
        self._last, self._said = end, (reason, self._clock())
        event = "feeder refused" if end == "refused" else "feeder lost its broker"
        more = {"exc_info": bug} if bug else {}
        _log.warning(event, feeder=self._name, reason=reason, seconds=round(seconds, 1), **more)


class Keeper:
    """One feeder from `start` to `stop`; neither raises anything of the feeder's.

    `wake`: of its news. `ended` is told each end of a session.
    """

    def __init__(
        self,
        feeder: Feeder,
        tally: Tally,
        *,
        holds: Holds,
        timing: Timing,
        wake: Callable[[], None],
        ended: Callable[[End], None],
    ) -> None:
        self.feeder = feeder
        self.tally = tally
        self._timing = timing
        self.wake = wake
        self._ended = ended
        self._waits = Waits(timing)
        self._lines = _Lines(feeder.name, timing.clock)
        self._lease = Lease(f"feeder:{feeder.name}", holds, timing) if feeder.exclusive else None
        self._session: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._after: Keeper | None = None
        self._entered = self._stopping = False
        self._nudged = asyncio.Event()
        self._hurried = asyncio.Event()
        #: Set once it has ended.
        self.gone = asyncio.Event()
        tally.connected = self._connected

    def start(self, after: Keeper | None = None) -> None:
        """Begin, once `after` has ended."""
        self._after = after
        self._task = asyncio.create_task(self._run())

    def nudge(self) -> None:
        """Somebody changed something: try now rather than in a while."""
        self._nudged.set()

    def hurry(self) -> None:
        """Wait for nothing that is in hand."""
        self._hurried.set()

    async def stop(self) -> None:
        """Let it end what is in hand, cut it off, close it."""
        self._stopping = True
        if self._entered:
            # Also between two sessions: a feeder may keep in hand what it took before its line was lost.
            await self._bounded(self.feeder.drain(), DRAIN, "drain")
        if self._task is not None:
            await self._cut_off([self._task], patience=3 * LEAVE)
            await self._bounded(self.feeder.__aexit__(None, None, None), LEAVE, "close")
            self.tally.become("stopped")
        if self._after is not None:
            await self._after.gone.wait()
        self.gone.set()

    async def _bounded(self, work: Coroutine[Any, Any, object], seconds: float, what: str) -> None:
        """Seconds at most, whatever it does with a cancellation."""
        task, hurry = asyncio.create_task(work), asyncio.ensure_future(self._hurried.wait())
        await asyncio.wait([task, hurry], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=LEAVE)
        if not task.done() or task.cancelled():
            _log.warning("feeder did not end in time", feeder=self.feeder.name, step=what)
        elif error := task.exception():
            _log.error("feeder could not end in order", feeder=self.feeder.name, step=what, exc_info=error)

    # Sessions

    async def _run(self) -> None:
        if self._after is not None:
            await self._after.gone.wait()
        self.tally.begin()
        while not self._stopping:
            try:
                await self._one()
                end: Exception = BrokerGone("the broker ended the connection")
            except Exception as error:  # noqa: BLE001 - a third party's feeder; the next session may do better
                end = error
            await self._after_session(end)

    async def _one(self) -> None:
        """One session, while the name is held where that is needed."""
        if self._lease is None:
            await self._alone()
            return
        await self._lease.take(lambda why: self.tally.become("standby", why))
        try:
            await self._alone(self._lease.keep())
        finally:
            await self._lease.give_up()

    async def _alone(self, *beside: Coroutine[Any, Any, None]) -> None:
        """One session, cut off when what runs beside it ends before."""
        if self.tally.phase not in ("connecting", "refused"):
            self.tally.become("connecting")
        self._session = asyncio.create_task(self._entered_session())
        tasks = [self._session, *map(asyncio.create_task, beside)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not self._session.done():
                raise _Released
            if self._session.cancelled():
                raise BrokerGone("the session was cut off")
            self._session.result()
        finally:
            self._session = None
            await self._cut_off(tasks)

    async def _cut_off(self, tasks: Sequence[asyncio.Task[None]], patience: float = LEAVE) -> None:
        """Twice, because on Python 3.11 `asyncio.wait_for` may swallow a cancellation."""
        for _ in range(2):
            for task in tasks:
                task.cancel()
            _, alive = await asyncio.wait(tasks, timeout=patience)
            if not alive:
                break
        else:
            _log.error("feeder does not end its session", feeder=self.feeder.name)
        for task in tasks:
            # Seen, whatever it was: the session's own error goes another way.
            _ = task.done() and (task.cancelled() or task.exception())

    async def _entered_session(self) -> None:
        if not self._entered:
            await self.feeder.__aenter__()
            self._entered = True
        await self.feeder.session()

    def _connected(self) -> None:
        if self._session is None:
            return
        self.tally.become("connected")
        self._waits.up()
        self._lines.connected()

    async def _after_session(self, error: Exception) -> None:
        """Note how it ended, and wait before the next."""
        end, reason = _told(error)
        self._ended(end)
        if end == "released" or self._stopping:
            return
        seconds = self._waits.after(refused=end == "refused")
        self.tally.become("refused" if end == "refused" else "connecting", reason)
        self._lines.ended(end, reason, seconds, error if end == "failed" else None)
        self._nudged.clear()
        waits = [asyncio.ensure_future(one) for one in (self._timing.sleep(seconds), self._nudged.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


class _Released(Exception):
    """The hold was lost, and the session cut off."""


def _told(error: Exception) -> tuple[End, str]:
    """What the end of a session is called, and why it was."""
    if isinstance(error, ExceptionGroup):
        # Of a task group: what weighs most.
        return min(map(_told, error.exceptions), key=lambda told: _WEIGHTS.index(told[0]))
    if isinstance(error, _Released):
        return "released", ""
    if isinstance(error, BrokerRefused):
        return "refused", error.reason
    if isinstance(error, BrokerError):
        return "gone", error.reason
    if isinstance(error, OtpsvcError):
        return "gone", in_words(error)
    return "failed", f"the feeder failed: {type(error).__name__}"
