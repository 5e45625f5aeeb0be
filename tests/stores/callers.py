"""Callers of the store in tests, and what becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

from otpsvc.errors import StoreUnavailable
from otpsvc.stores.batcher import Batcher
from otpsvc.stores.connection import Connector, Line
from otpsvc.stores.wire import Script
from tests.waiting import PATIENCE

#: Seconds of `Clock` within which every caller is answered, whatever happens: the limit is 0.9.
PROMISE = 1.5
#: Of whoever is not to meet the limit: far more than PROMISE, so that waiting for it is seen.
PATIENT = 90.0
COUNT = Script("count", "return redis.call('INCR', KEYS[1])")
PLANTED = "482913"


class Clock:
    """How long something took, in turns that a task beside it got.

    A busy machine makes these fewer and never more: a limit on them may be tight.
    """

    seconds = 0.0

    def __enter__(self) -> Self:
        self._ticking = asyncio.ensure_future(self._tick())
        return self

    def __exit__(self, *_: object) -> None:
        self._ticking.cancel()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.01)
            self.seconds += 0.01


async def outcomes(*calls: Any) -> list[Any]:
    """Answers, and the errors that callers got."""
    return await asyncio.gather(*calls, return_exceptions=True)


async def at_once(condition: Callable[[], bool]) -> None:
    """Wait, without leaving out one turn of the event loop: for what may be over with the next."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0)


def patient(url: str, **more: Any) -> Batcher:
    """A batcher that a busy machine does not bring to its limits."""
    return Batcher(Connector(url, timeout=PATIENT, **more), timeout=PATIENT)


async def answers(batcher: Batcher) -> bool:
    try:
        return bool(await batcher.call("PING") == b"PONG")
    except StoreUnavailable:
        return False


class CountingConnector(Connector):
    attempts = 0

    async def open(self) -> Line:
        self.attempts += 1
        return await super().open()
