"""Messages of ours that the broker has not acknowledged: how many may be, and who waits for room."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from otpsvc.feeders.mqtt_verdict import LOST


class Window:
    """`room`, then `sent`; `acked` and `close` as the broker and the line have it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._acks: dict[int, asyncio.Future[int]] = {}
        self._turns: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def __len__(self) -> int:
        return len(self._acks)

    async def room(self) -> None:
        """Wait until one more may be sent, in order; or until there is nothing to wait for any more."""
        while not self._closed and len(self._acks) >= self.size:
            await self._turn()

    def sent(self, mid: int) -> asyncio.Future[int]:
        """Brings the broker's reason code, or LOST."""
        acked = self._acks[mid] = asyncio.get_running_loop().create_future()
        return acked

    def acked(self, mid: int, reason: int) -> None:
        if acked := self._acks.pop(mid, None):
            _done(acked, reason)
        self._grant()

    def close(self) -> None:
        """Nothing is acknowledged any more, and nobody waits."""
        self._closed = True
        for turn in self._turns:
            _done(turn, None)
        for acked in self._acks.values():
            _done(acked, LOST)

    async def _turn(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                # Granted, and of no use here any more.
                self._grant()
            raise

    def _grant(self) -> None:
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
                return


def _done(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)
