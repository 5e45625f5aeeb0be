"""Frames in hand, over as many lines as it takes: the broker gave them away and has no way to get them back.

So a lost line ends nothing here. What came and has no room yet waits, in order; a line
is only read when there is room, and a new one only opened when nothing waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

from otpsvc.feeder import Frame, Intake, Taken, Tally

#: Octets that may wait when nobody waits for room: a broker may send much while the line closes.
_FLOOD_MAX: Final = 16 << 20

_log = structlog.get_logger("otpsvc.feeders")


class Hand:
    """At most `at_once` takes at a time, begun in the order of arrival."""

    def __init__(
        self, intake: Intake, tally: Tally, *, at_once: int, name: str, taken: Callable[[Taken], None]
    ) -> None:
        """`taken` is told of every outcome; `name`: the feeder's."""
        self._intake = intake
        self._tally = tally
        self._at_once = at_once
        self._name = name
        self._taken = taken
        self._waiting: deque[bytes] = deque()
        #: Octets that wait.
        self._weight = 0
        self._running: set[asyncio.Task[None]] = set()
        self._shut = self._flooded = False
        self._room = asyncio.Event()
        self._settled = asyncio.Event()
        self._empty = asyncio.Event()
        self._mark()

    def open(self) -> None:
        """Takes are begun, and a reader waits for room, until `flood` or `give_up`."""
        self._shut = self._flooded = False
        self._fill()

    def flood(self) -> None:
        """Nobody waits for room any more: what is to come is little, and would be lost elsewhere."""
        self._flooded = True
        self._mark()

    def shut(self) -> None:
        """Begin no take."""
        self._shut = True
        self.flood()

    def put(self, body: bytes) -> None:
        self._waiting.append(body)
        self._weight += len(body)
        self._fill()

    async def room(self) -> None:
        """Wait until one more may be read."""
        await self._room.wait()

    async def settled(self) -> None:
        """Wait until everything that came is at least begun."""
        await self._settled.wait()

    async def empty(self) -> None:
        """Wait until everything that came has its outcome."""
        await self._empty.wait()

    async def give_up(self) -> None:
        """Cancel what is in hand, and count it as lost."""
        self.shut()
        lost, running = len(self._waiting), list(self._running)
        self._waiting.clear()
        self._weight = 0
        for task in running:
            task.cancel()
        try:
            if running:
                await asyncio.wait(running)
        finally:
            lost += sum(not task.done() or task.cancelled() for task in running)
            self._running.difference_update(running)
            self._mark()
            if lost:
                self._tally.lost(lost)

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self._at_once and not self._shut:
            body = self._waiting.popleft()
            self._weight -= len(body)
            task = asyncio.get_running_loop().create_task(self._take(body))
            self._running.add(task)
            task.add_done_callback(self._done)
        self._mark()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._fill()

    def _mark(self) -> None:
        waits, runs = bool(self._waiting), len(self._running)
        free = self._weight < _FLOOD_MAX if self._flooded else not waits and runs < self._at_once
        _set(self._room, on=free)
        _set(self._settled, on=not waits)
        _set(self._empty, on=not (waits or runs))

    async def _take(self, body: bytes) -> None:
        try:
            taken = await self._intake.take(Frame(body=body, shared=True))
        except Exception as bug:  # noqa: BLE001 - one frame must not hurt the next
            _log.error("a frame was lost", feeder=self._name, exc_info=bug)
            self._tally.lost(1)
        else:
            self._taken(taken)


def _set(event: asyncio.Event, *, on: bool) -> None:
    if on:
        event.set()
    else:
        event.clear()
