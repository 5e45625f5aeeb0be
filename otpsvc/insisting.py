"""Tries again what may pass: a store that is away for as long as it is, other trouble for a while."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from otpsvc.errors import Busy, StoreUnavailable

T = TypeVar("T")

#: Seconds between two tries, at first and at most; for how long others than the store are tried.
FIRST, LONGEST, PATIENCE = 0.1, 5.0, 30.0
#: The store's words for a command that it will never take.
_NEVER: Final = frozenset({"ERR", "WRONGTYPE"})


class Insisting:
    """The patience of one frame. `later` is called before each further try.

    `trouble` is called when it is not the store that all wait for: others need not wait.
    """

    def __init__(self, later: Callable[[], None]) -> None:
        self._later = later
        self.trouble: Callable[[], None] = lambda: None
        self._given_up = False

    async def on(self, step: Callable[[], Awaitable[T]]) -> T:
        """What the step answers. Raises: Busy when it did not pass; what the step raises besides."""
        wait, until = FIRST, time.monotonic() + PATIENCE
        while True:
            try:
                return await step()
            except Busy as error:
                if isinstance(error, StoreUnavailable) and getattr(error, "word", "") not in _NEVER:
                    # Nothing can be done without it, so nothing is given up either.
                    until = time.monotonic() + PATIENCE
                elif self._given_up or time.monotonic() > until:
                    # The commands that are left have one try each.
                    self._given_up = True
                    raise
                else:
                    self.trouble()
            self._later()
            await asyncio.sleep(wait * (0.5 + random.random()))
            wait = min(wait * 2, LONGEST)
