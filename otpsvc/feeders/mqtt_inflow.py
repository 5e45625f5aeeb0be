"""Messages in hand: taken in the order of arrival, so many at a time, the rest in a bounded room.

What has no room stays at the broker (QoS 1: we stop reading) or is lost and counted
(QoS 0: the broker keeps nothing). It outlives a connection: a message of one that is
gone is worked off to its end, but not acknowledged; the broker hands it over again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from otpsvc.errors import BrokerGone
from otpsvc.feeder import Tally

if TYPE_CHECKING:
    from otpsvc.feeders.mqtt_line import Line, Message

#: Octets that may wait, of either kind; a message counts this much more than its body.
_ROOM: Final = 4 << 20
_OVERHEAD: Final = 1024

#: Takes a message, to its acknowledgement.
Take = Callable[["Line", "Message"], Coroutine[Any, Any, None]]


class Inflow:
    """`take` is started in the order of `put`, at most `at_once` at a time."""

    def __init__(self, take: Take, tally: Tally, *, at_once: int) -> None:
        self._take = take
        self._tally = tally
        self._at_once = at_once
        self._waiting: deque[tuple[Line, Message]] = deque()
        #: Octets that wait, by QoS.
        self._weights = [0, 0]
        self._running: dict[asyncio.Task[None], tuple[Line, Message]] = {}
        self._stopping = False
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, line: Line, message: Message) -> None:
        """A message that came in; never blocks."""
        weight = len(message.payload) + _OVERHEAD
        if message.qos == 0 and (self._stopping or self._weights[0] + weight > _ROOM):
            self._tally.lost(1)
            return
        if self._stopping:
            return
        self._weights[message.qos > 0] += weight
        if self._weights[1] > _ROOM:
            line.hold()
        self._waiting.append((line, message))
        self._start()

    def forget(self, line: Line) -> None:
        """This line has ended: the broker keeps what of it was not begun."""
        self._keep_waiting(lambda waits: waits[0] is not line or waits[1].qos == 0)

    async def stop(self) -> None:
        """Begin nothing more that the broker keeps, and wait for what is in hand."""
        self._stopping = True
        self._keep_waiting(lambda waits: waits[1].qos == 0)
        await self._idle.wait()

    async def close(self) -> None:
        """Give up what is in hand."""
        self._stopping = True
        loose = [message for _, message in (*self._waiting, *self._running.values()) if message.qos == 0]
        self._waiting.clear()
        if loose:
            self._tally.lost(len(loose))
        for task in list(self._running):
            task.cancel()
        await self._idle.wait()

    def _keep_waiting(self, wanted: Callable[[tuple[Line, Message]], bool]) -> None:
        self._waiting = deque(filter(wanted, self._waiting))
        self._weights = [0, 0]
        for _, message in self._waiting:
            self._weights[message.qos > 0] += len(message.payload) + _OVERHEAD

    def _start(self) -> None:
        while self._waiting and len(self._running) < self._at_once:
            line, message = self._waiting.popleft()
            self._weights[message.qos > 0] -= len(message.payload) + _OVERHEAD
            if self._weights[1] < _ROOM // 2:
                line.go_on()
            task = asyncio.get_running_loop().create_task(self._take(line, message))
            self._running[task] = (line, message)
            self._idle.clear()
            task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        line, message = self._running.pop(task)
        if not task.cancelled() and (error := task.exception()):
            # A fault of ours: it was not acknowledged, so the line must go for it to come again.
            if message.qos == 0:
                self._tally.lost(1)
            line.fail(error if isinstance(error, Exception) else BrokerGone("interrupted"))
        self._start()
        if not self._running:
            self._idle.set()
