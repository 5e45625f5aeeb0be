"""One line to a broker, from its opening to its end: which generation it is, its frames, its pings.

A server of 2020 greets, and wants to be asked for messages. It takes a `ping` for the
end of that wish, so each is sent together with a new one. Servers of 2021 say nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from websockets.exceptions import ConnectionClosed

from otpsvc.errors import BrokerError, BrokerGone, BrokerRefused
from otpsvc.feeders.wsbroker_frame import PING, Own, Quiet, is_answer, is_noise, probe, quiet, subscription
from otpsvc.feeders.wsbroker_hand import Hand
from otpsvc.feeders.wsbroker_line import Line, ended, turned_away

#: Pings to a server that answered none; and in a row to one that answered before. Two, because
#: one may be missed by a process that had no time.
_TRIES: Final = 3
_MISSED: Final = 2


class Consumer:
    """`moment`: seconds in which a server greets or turns away; `ping`: seconds, 0 for none."""

    def __init__(
        self,
        line: Line,
        hand: Hand,
        *,
        own: Own,
        place: str,
        moment: float,
        ping: float,
        up: Callable[[], None],
    ) -> None:
        self._line = line
        self._hand = hand
        self._own = own
        self._subscription = subscription(place)
        self._moment = moment
        self._ping = ping
        self._up = up
        #: The server is of 2020.
        self.greeted = False
        self._first = True
        self._answered = self._silent = False
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Consume until the line ends. Raises: BrokerGone, BrokerRefused."""
        self._line.when_lost(self._hand.flood)
        try:
            await self._begin()
            self._up()
            await self._consume()
        except ConnectionClosed as closed:
            raise BrokerGone("the broker fell silent") if self._silent else ended(closed) from None
        finally:
            self._ended.set()

    async def close(self) -> None:
        """Say goodbye, and wait until what was on its way is in hand."""
        await self._line.close()
        await self._ended.wait()

    async def rest(self) -> None:
        """What was received before the line was hung up, and not read yet: into the hand."""
        with contextlib.suppress(ConnectionClosed, BrokerError):
            while True:
                await self._hear(await self._line.recv(decode=False))

    async def _begin(self) -> None:
        try:
            async with asyncio.timeout(self._moment):
                first = await self._line.recv(decode=False)
        except TimeoutError:
            return
        except ConnectionClosed as closed:
            raise turned_away(closed) from None
        await self._hear(first)

    async def _consume(self) -> None:
        pulse = asyncio.create_task(self._pulse())
        try:
            while True:
                await self._hand.room()
                await self._hear(await self._line.recv(decode=False))
        finally:
            pulse.cancel()
            await asyncio.wait([pulse])

    async def _hear(self, body: bytes) -> None:
        first, self._first = self._first, False
        said = quiet(body)
        if said is not None:
            await self._welcome(said, first=first)
        elif not is_noise(body) and body not in self._own and not is_answer(body):
            self._hand.put(body)

    async def _welcome(self, said: Quiet, *, first: bool) -> None:
        # Only the first frame greets: later ones may be a publisher's, and a server that
        # keeps frames says `01` to a ping when its database is away.
        if not first:
            self._answered = self._answered or (self.greeted and said.command == "connect")
        elif said.rejects:
            raise BrokerRefused("the broker rejected the login")
        elif said.accepts:
            self.greeted = True
            await self._line.say(self._subscription)

    async def _pulse(self) -> None:
        """Ping, and end the line when a server that answered before leaves two in a row unanswered.

        One that never answers is left to the system's own probes.
        """
        tries = missed = 0
        clock = asyncio.get_running_loop().time
        with contextlib.suppress(ConnectionClosed):
            while self._ping and missed < _MISSED and (self._answered or tries < _TRIES):
                tries += 1
                asked = clock()
                await self._ask()
                await asyncio.sleep(self._ping)
                heard = self._line.heard >= asked or self._line.deaf
                missed = 0 if heard or not self._answered else missed + 1
            self._silent = missed == _MISSED
        if self._silent:
            self._line.transport.abort()

    async def _ask(self) -> None:
        if self.greeted:
            await self._line.say(PING, self._subscription)
            return
        pong = asyncio.ensure_future(await self._line.ping(probe()))
        pong.add_done_callback(self._pong)

    def _pong(self, pong: asyncio.Future[float]) -> None:
        if not pong.cancelled() and pong.exception() is None:
            self._answered = True
