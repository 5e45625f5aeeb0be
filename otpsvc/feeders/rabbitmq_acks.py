"""Acknowledgements of one channel: those that fall together are sent together."""

from __future__ import annotations

import asyncio

from aiormq.abc import AbstractChannel


class Acks:
    """`came` in the order of arrival, `done` in any order; `run` sends them."""

    def __init__(self, channel: AbstractChannel) -> None:
        self._channel = channel
        #: Delivery tags that are not acknowledged, in order.
        self._open: dict[int, None] = {}
        self._done: list[int] = []
        self._wake = asyncio.Event()
        self._sent = asyncio.Event()
        self._sent.set()

    def came(self, tag: int) -> None:
        self._open[tag] = None

    def done(self, tag: int) -> None:
        """It may be acknowledged. What is never done, the end of the channel gives back."""
        self._done.append(tag)
        self._sent.clear()
        self._wake.set()

    async def all_sent(self) -> None:
        """Everything that is done was written to the socket."""
        await self._sent.wait()

    async def run(self) -> None:
        """Until cancelled. Raises what aiormq raises."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._send()
            if not self._done:
                self._sent.set()

    async def _send(self) -> None:
        done, self._done = set(self._done), []
        upto = 0
        for tag in self._open:
            if tag not in done:
                break
            upto = tag
        for tag in done:
            del self._open[tag]
        # One frame for all that have nothing open before them, and one for each of the others.
        rest = sorted(tag for tag in done if tag > upto)
        if upto:
            await self._channel.basic_ack(upto, multiple=True, wait=not rest)
        for tag in rest:
            await self._channel.basic_ack(tag, wait=tag == rest[-1])
