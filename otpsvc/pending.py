"""What is due on one route, and how much room the route has. Pure bookkeeping of one worker."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterable
from typing import Final

from otpsvc.message import LANES, Lane

#: Of a route's slots, the share that each lane may fill: bulk leaves room for codes.
SHARE: Final[dict[Lane, float]] = {"otp": 1.0, "event": 0.75, "message": 0.5}
#: Events on their way to one tenant: a slow callback must not hold up the others'.
EVENTS_PER_TENANT: Final = 4
#: The route of events; it carries nothing else.
EVENTS: Final = "callback"
#: Tenants whose queues one poll looks at.
MOST_PER_POLL: Final = 128
#: Messages that one claim takes: a small number keeps tenants in turn.
MOST_PER_CLAIM: Final = 32


class Pending:
    """Marks of (tenant, lane) whose queue is worth a look, and the slots in use."""

    def __init__(self, route: str, slots: int, rate: float) -> None:
        self.route = route
        self._slots = slots
        self._gap = 1 / rate if rate > 0 else 0.0
        self._next = 0.0
        self._turn = -1
        self._due: dict[Lane, dict[str, None]] = {lane: {} for lane in LANES}
        self._held: set[tuple[str, Lane]] = set()
        self._sending = 0
        self._by_lane: Counter[Lane] = Counter()
        self._events: Counter[str] = Counter()
        self._woken = asyncio.Event()

    def add(self, tenant: str, lane: Lane) -> None:
        """Look there as soon as possible."""
        self._due[lane][tenant] = None
        self._woken.set()

    def add_later(self, tenant: str, lane: Lane, delay: float) -> None:
        """Look there in `delay` seconds; a longer wait is left to the poll."""
        if delay <= 2.0:
            asyncio.get_running_loop().call_later(max(delay, 0.0) + 0.002, self.add, tenant, lane)

    def add_some(self, tenants: Iterable[str]) -> None:
        """Mark the next tenants in turn: a look at every queue of many tenants takes several polls."""
        names = sorted(tenants)
        lanes: tuple[Lane, ...] = ("event",) if self.route == EVENTS else ("otp", "message")
        for _ in range(min(len(names), MOST_PER_POLL)):
            self._turn = (self._turn + 1) % len(names)
            for lane in lanes:
                self.add(names[self._turn], lane)

    def hold(self, tenant: str, lane: Lane) -> None:
        """No room for it now: look there when something ends."""
        self._held.add((tenant, lane))

    async def until_due(self, poll: float) -> None:
        """Wait for a mark, at most `poll` seconds, and until the rate allows another message."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(poll):
                await self._woken.wait()
        wait = self._next - time.monotonic()
        if self._gap and wait > 0:
            await asyncio.sleep(wait)

    def rouse(self) -> None:
        """End the wait of `until_due`, though nothing is due."""
        self._woken.set()

    def pop_due(self) -> list[tuple[Lane, str]]:
        """The marks, codes first; they are forgotten."""
        self._woken.clear()
        marks = [(lane, tenant) for lane in LANES for tenant in self._due[lane]]
        for lane in LANES:
            self._due[lane] = {}
        return marks

    def room(self, tenant: str, lane: Lane) -> int:
        """How many messages may begin now."""
        if self._gap:
            return 1 if time.monotonic() >= self._next and self._free(tenant, lane) > 0 else 0
        return min(MOST_PER_CLAIM, self._free(tenant, lane))

    def takes(self) -> bool:
        """True when a code that nobody queued may begin at once."""
        return self._sending < self._slots and not (self._gap and time.monotonic() < self._next)

    def _free(self, tenant: str, lane: Lane) -> int:
        free = self._slots - self._sending
        if lane != "otp":
            free = min(free, max(1, int(self._slots * SHARE[lane])) - self._by_lane[lane])
        if lane == "event":
            free = min(free, EVENTS_PER_TENANT - self._events[tenant])
        return free

    def begin(self, tenant: str, lane: Lane) -> None:
        """A slot is taken."""
        self._sending += 1
        self._by_lane[lane] += 1
        if lane == "event":
            self._events[tenant] += 1
        if self._gap:
            self._next = max(self._next, time.monotonic()) + self._gap

    def end(self, tenant: str, lane: Lane) -> None:
        """A slot is free again."""
        self._sending -= 1
        self._by_lane[lane] -= 1
        if lane == "event":
            self._events[tenant] -= 1
            if not self._events[tenant]:
                del self._events[tenant]
        for held in self._held:
            self.add(*held)
        self._held.clear()
