"""Hears what is published in the store, on a connection of its own that comes back by itself."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final

from otpsvc.errors import StoreUnavailable
from otpsvc.stores.connection import Connector
from otpsvc.stores.wire import ended

#: Seconds without a word after which the connection is tested, and after as many again given up.
QUIET: Final = 5.0
#: Seconds between two attempts to connect: the first, and the longest.
FIRST, LONGEST = 0.1, 5.0

_log = logging.getLogger(__name__)


class Listener:
    """Calls `heard` with every payload of one channel. What is published while it reconnects is lost."""

    def __init__(
        self, connector: Connector, channel: str, heard: Callable[[bytes], None], *, quiet: float = QUIET
    ) -> None:
        """`quiet`: seconds without a word after which the connection is tested."""
        self._connector = connector
        self._channel = channel
        self._heard = heard
        self._quiet = quiet
        self._task: asyncio.Task[None] | None = None
        self._wait = FIRST
        #: Set while the store has confirmed the subscription.
        self.subscribed = asyncio.Event()

    def start(self) -> None:
        """Begin to listen; needs a running event loop."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop listening; safe to call twice."""
        task, self._task = self._task, None
        if task is not None:
            await ended(task)

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except StoreUnavailable:
                pass
            except Exception as error:  # noqa: BLE001 - the next connection may do better
                _log.error("listening failed: %s", type(error).__name__)
            finally:
                self.subscribed.clear()
            await asyncio.sleep(self._wait * random.uniform(0.5, 1.0))
            self._wait = min(self._wait * 2, LONGEST)

    async def _listen(self) -> None:
        line = await self._connector.open()
        try:
            await line.send("SUBSCRIBE", self._channel)
            tested = False
            while (answer := await line.read(self._quiet)) is not None or not tested:
                tested = answer is None
                if tested:
                    await line.send("PING")
                else:
                    self._take(answer)
        finally:
            await line.close()

    def _take(self, answer: object) -> None:
        """One push in RESP2: [b"subscribe", …], [b"message", channel, payload] or [b"pong", b""]."""
        match answer:
            case [b"subscribe", *_]:
                self._wait = FIRST
                self.subscribed.set()
            case [b"message", _, bytes(payload)]:
                self._call(payload)

    def _call(self, payload: bytes) -> None:
        try:
            self._heard(payload)
        except Exception as error:  # noqa: BLE001 - a bug of the hearer must not end the listening
            _log.error("a payload was not understood: %s", type(error).__name__)
