"""Who waits for whom: what sends runs side by side, a change of the block list alone, in its turn.

A block that came before a text must be seen by it, an unblock too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Order:
    """Turns in the order in which they were asked for."""

    def __init__(self) -> None:
        self._running = 0
        self._alone = False
        self._waiting: deque[tuple[bool, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def turn(self, *, alone: bool) -> AsyncIterator[Callable[[], None]]:
        """Inside: with all others that are not `alone`, or with nobody. What it gives ends the turn early."""
        if self._waiting or not self._fits(alone):
            place = (alone, asyncio.get_running_loop().create_future())
            self._waiting.append(place)
            try:
                await place[1]
            except asyncio.CancelledError:
                self._given_up(place)
                raise
        else:
            self._enter(alone)
        inside = True

        def leave() -> None:
            nonlocal inside
            if inside:
                inside = False
                self._leave(alone)

        try:
            yield leave
        finally:
            leave()

    def _fits(self, alone: bool) -> bool:
        return not self._running if alone else not self._alone

    def _enter(self, alone: bool) -> None:
        self._running += 1
        self._alone = alone

    def _leave(self, alone: bool) -> None:
        self._running -= 1
        if alone:
            self._alone = False
        self._call()

    def _call(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            alone, place = self._waiting.popleft()
            if not place.done():
                self._enter(alone)
                place.set_result(None)

    def _given_up(self, place: tuple[bool, asyncio.Future[None]]) -> None:
        """It was cancelled: while it waited, or in the moment when its turn came."""
        if place in self._waiting:
            self._waiting.remove(place)
            self._call()
        elif place[1].done() and not place[1].cancelled():
            self._leave(place[0])
