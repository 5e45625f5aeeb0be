"""The one line of a channel to its broker: opened when it is needed, opened again, never in a hurry."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, Protocol, TypeVar

from otpsvc.errors import Unavailable

#: Seconds in which a line must have been opened.
_OPEN_WAIT: Final = 10.0
#: Seconds after which a line counts as one that works even if nothing was confirmed on it.
_PROVEN: Final = 10.0
#: Seconds between attempts: the first wait, and the longest.
_FIRST, _LONGEST = 0.5, 10.0
#: Seconds for which a line that is left waits for what is still under way on it.
_LEAVE_WAIT: Final = 30.0
#: Seconds before an attempt that nobody took is made after a login was refused.
REFUSED_WAIT: Final = 30.0


class Line(Protocol):
    """An open connection."""

    @property
    def is_open(self) -> bool:
        """False once it was lost or closed."""

    async def idle(self) -> None:
        """Until nothing is under way on it."""

    async def close(self) -> None:
        """Bounded in time; never raises what the far end does."""


L = TypeVar("L", bound=Line)


class Kept(Generic[L]):
    """Keeps one line. `dial` opens one, and raises Unavailable; its `retry_after` is honoured.

    Opening is nobody's: who waits for it may be cancelled and leaves it to the others.
    """

    def __init__(
        self,
        dial: Callable[[], Awaitable[L]],
        *,
        open_wait: float = _OPEN_WAIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dial = dial
        self._open_wait = open_wait
        self._clock = clock
        self._line: L | None = None
        self._since = 0.0
        self._opening: asyncio.Task[L] | None = None
        self._leaving: dict[L, asyncio.Task[None]] = {}
        self._failures = 0
        self._pause_until = 0.0
        self._why = ""

    @property
    def is_open(self) -> bool:
        return self._line is not None and self._line.is_open

    async def line(self) -> L:
        """The open line. Raises: Unavailable; a CancelledError has it as its cause."""
        if self._line is not None:
            if self._line.is_open:
                return self._line
            self._note_lost(self._line)
        if self._opening is None:
            self._check_pause()
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(_look_at)
        opening = self._opening
        try:
            await asyncio.wait({opening})
        except asyncio.CancelledError as cancelled:
            raise cancelled from Unavailable("cut off before it was connected")
        if opening.cancelled():
            raise Unavailable("closed")
        return opening.result()

    def works(self) -> None:
        """Something was taken on the line: when it is lost, the next one may be opened at once."""
        self._failures = 0

    def leave(self, line: L) -> None:
        """Use it no more: the next message opens another. What is under way on it may end."""
        if self._line is line:
            self._line = None
            self._see_off(line, wait=_LEAVE_WAIT)

    async def close(self) -> None:
        """Safe to call twice; afterwards it may be used again."""
        if opening := self._opening:
            opening.cancel()
            await asyncio.wait({opening})
        for task in self._leaving.values():
            task.cancel()
        lines = [*self._leaving, *([self._line] if self._line else [])]
        self._line = None
        self._leaving.clear()
        await asyncio.gather(*(line.close() for line in lines))
        self._failures, self._pause_until = 0, 0.0

    def _check_pause(self) -> None:
        left = self._pause_until - self._clock()
        if left > 0:
            raise Unavailable(self._why, retry_after=left)

    async def _open(self) -> L:
        try:
            async with asyncio.timeout(self._open_wait):
                line = await self._dial()
        except TimeoutError:
            raise self._failed(Unavailable("time-out at connect")) from None
        except Unavailable as error:
            raise self._failed(error) from None
        finally:
            self._opening = None
        self._line, self._since = line, self._clock()
        return line

    def _failed(self, error: Unavailable) -> Unavailable:
        self._pause(error.reason, least=error.retry_after or 0.0)
        return error

    def _pause(self, why: str, *, least: float = 0.0) -> None:
        wait = min(_LONGEST, _FIRST * 2.0 ** min(self._failures, 10)) * random.uniform(0.5, 1.0)
        self._failures += 1
        self._pause_until = self._clock() + max(wait, least)
        self._why = why

    def _note_lost(self, line: L) -> None:
        """One that lasted is opened again at once; one that never does is a broker that throws us out."""
        self._line = None
        self._see_off(line, wait=0.0)
        if self._clock() - self._since >= _PROVEN:
            self._failures = 0
        elif self._failures:
            self._pause("connection lost")
        else:
            self._failures = 1

    def _see_off(self, line: L, *, wait: float) -> None:
        self._leaving[line] = asyncio.create_task(self._end(line, wait))

    async def _end(self, line: L, wait: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await line.idle()
        await line.close()
        self._leaving.pop(line, None)


def _look_at(opening: asyncio.Task[Any]) -> None:
    """Everybody who waited may have been cut off; its failure is known all the same."""
    if not opening.cancelled():
        opening.exception()
