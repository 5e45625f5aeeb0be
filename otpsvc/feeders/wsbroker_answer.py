"""Answers to commands that name a topic for them: each over a short line of its own.

The protocol has no answers; this is what OTP-Pi did. One that cannot be delivered is
logged without its content and forgotten: the command itself is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from websockets.exceptions import ConnectionClosed

from otpsvc.errors import BrokerError, BrokerRefused
from otpsvc.feeder import Taken
from otpsvc.feeders.wsbroker_config import moved
from otpsvc.feeders.wsbroker_frame import Own, envelope, quiet
from otpsvc.feeders.wsbroker_line import Door

#: At the same time; that wait for their delay or their turn.
_AT_ONCE: Final = 4
_WAITING_MAX: Final = 1000
#: Seconds between two log lines of one reason: publishers choose where answers go.
_AGAIN: Final = 60.0

_log = structlog.get_logger("otpsvc.feeders")


class Answers:
    """`greeted` tells whether the server is one of 2020, which wants envelopes."""

    #: Seconds for each.
    patience = 5.0

    def __init__(
        self,
        door: Door,
        url: str,
        own: Own,
        *,
        name: str,
        greeted: Callable[[], bool],
        taken: Callable[[str], bool],
    ) -> None:
        """`url`: of our line; `name`: the feeder's; `taken`: whether commands come from a place."""
        self._door = door
        self._url = url
        self._own = own
        self._name = name
        self._greeted = greeted
        self._is_taken = taken
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._hurry = asyncio.Event()
        #: When each reason was last told of.
        self._told: dict[str, float] = {}

    def give(self, taken: Taken) -> None:
        """Deliver its answer, if it has one and says where, after its delay."""
        if not taken.answer or not taken.callback:
            return
        if self._is_taken(taken.callback):
            # It would come back as a command.
            self._lament("its place is where commands come from")
        elif len(self._tasks) >= _WAITING_MAX:
            self._lament("too many are waiting")
        else:
            task = asyncio.get_running_loop().create_task(self._deliver(taken))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def hurry(self) -> None:
        """Wait for no more delays: the feeder is about to end."""
        self._hurry.set()

    async def empty(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    async def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self.empty()

    async def _deliver(self, taken: Taken) -> None:
        try:
            async with asyncio.timeout(taken.delay):
                await self._hurry.wait()
        except TimeoutError:
            pass
        async with self._turns:
            try:
                async with asyncio.timeout(self.patience):
                    await self._send(taken)
            except (BrokerError, ConnectionClosed, TimeoutError) as error:
                self._lament(error.reason if isinstance(error, BrokerError) else "the line ended")

    async def _send(self, taken: Taken) -> None:
        line = await self._door.open(moved(self._url, taken.callback))
        try:
            answer = taken.answer
            if self._greeted():
                greeting = quiet(await line.recv(decode=False))
                if greeting is None or not greeting.accepts:
                    raise BrokerRefused("the broker rejected the login")
                answer = envelope(taken.callback, answer)
            self._own.remember(answer)
            await line.say(answer)
            # Its end tells that the server has read what came before.
            await line.close()
        finally:
            await line.hang_up()

    def _lament(self, reason: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._told.get(reason, -_AGAIN) < _AGAIN:
            return
        self._told[reason] = now
        _log.warning("an answer was not delivered", feeder=self._name, reason=reason)
