"""A name in the store that one node holds at a time, for as long as it renews it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from msgspec import Struct

from otpsvc.errors import StoreUnavailable


class Timing(Struct, frozen=True, kw_only=True):
    """`clock` and `sleep` in seconds; `jitter` draws what a wait is multiplied by.

    `lease`: seconds for which a hold counts; `renew`: seconds between two renewals, and
    between two looks of a node that stands by.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = lambda: random.uniform(0.5, 1.0)
    lease: float = 15.0
    renew: float = 3.0


class Holds(Protocol):
    """Part of `store.Store`."""

    async def hold(self, name: str, token: bytes, *, life: int) -> bool: ...

    async def release(self, name: str, token: bytes) -> None: ...


class Lease:
    """One name, wanted by this node."""

    def __init__(self, name: str, holds: Holds, timing: Timing) -> None:
        self._name = name
        self._holds = holds
        self._timing = timing
        self._token = secrets.token_bytes(16)
        #: By our own clock, and counted from before we asked: it ends here before it ends there.
        self._until = 0.0

    async def take(self, waiting: Callable[[str], None]) -> None:
        """Returns once it is ours; `waiting` is told why it is not yet."""
        while not (held := await self._ask()):
            waiting("the store does not answer" if held is None else "another node holds the line")
            await self._timing.sleep(self._timing.renew * self._timing.jitter())

    async def keep(self) -> None:
        """Returns once it is lost, or may be lost before we could ask again."""
        while True:
            await self._timing.sleep(self._timing.renew)
            held = await self._ask()
            late = self._timing.clock() + self._timing.renew >= self._until
            if held is False or (held is None and late):
                return

    async def give_up(self) -> None:
        """Another one may have it at once."""
        with contextlib.suppress(StoreUnavailable):
            await self._holds.release(self._name, self._token)

    async def _ask(self) -> bool | None:
        """Whether it is ours; None: nobody knows."""
        asked = self._timing.clock()
        try:
            async with asyncio.timeout(self._timing.renew):
                held = await self._holds.hold(self._name, self._token, life=int(self._timing.lease * 1000))
        except (StoreUnavailable, TimeoutError):
            return None
        if held:
            self._until = asked + self._timing.lease
        return held
