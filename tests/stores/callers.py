"""Callers of the store in tests, and what becomes of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self

from otpsvc.stores.connection import Connector, Line
from otpsvc.stores.wire import Script

#: Seconds within which every caller is answered, whatever happens: the limit of 0.9, and what a machine
#: that is busy adds to it. Without a limit it would be for ever.
PROMISE = 8.0
#: Of a batcher whose answers are to come at once: far more than PROMISE, so that waiting for it is seen.
PATIENT = 60.0
COUNT = Script("count", "return redis.call('INCR', KEYS[1])")
PLANTED = "482913"


class Clock:
    def __enter__(self) -> Self:
        self._start = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._start


async def outcomes(*calls: Any) -> list[Any]:
    """Answers, and the errors that callers got."""
    return await asyncio.gather(*calls, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    """Wait, without leaving out one turn of the event loop."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)


async def eventually(condition: Callable[[], Awaitable[bool]], *, within: float = 30) -> None:
    """Wait for something outside this process; `within` in seconds."""
    async with asyncio.timeout(within):
        while not await condition():
            await asyncio.sleep(0.01)


class CountingConnector(Connector):
    attempts = 0

    async def open(self) -> Line:
        self.attempts += 1
        return await super().open()
