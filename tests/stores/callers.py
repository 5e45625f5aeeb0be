"""Callers of the store in tests, and what becomes of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Self

from otpsvc.errors import StoreUnavailable
from otpsvc.stores.batcher import Batcher
from otpsvc.stores.connection import Connector, Line
from otpsvc.stores.wire import Script
from tests.waiting import PATIENCE

#: Seconds within which every caller is answered, whatever happens: the limit of 0.9, and what a machine
#: that is busy adds to it. Without a limit it would be for ever.
PROMISE = 20.0
#: Of whoever is not to meet the limit: far more than PROMISE, so that waiting for it is seen.
PATIENT = 90.0
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
