"""The courier of the moment, and those that a reload has replaced and that end what they have in hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from otpsvc.deliver import Courier
from otpsvc.ways import Outlet


class Couriers:
    """`made` makes one of the ways of the moment, and starts it."""

    def __init__(self, outlet: Outlet, made: Callable[[], Courier]) -> None:
        self._outlet = outlet
        self._made = made
        self._leaving: set[asyncio.Task[None]] = set()
        self._hurry = asyncio.Event()

    def begin(self) -> None:
        self._outlet.courier = self._made()

    def hurry(self) -> None:
        """End without waiting for messages on their way; their leases free them."""
        self._hurry.set()

    async def change(self, patience: float, then: Callable[[], Awaitable[None]]) -> None:
        """A new one serves at once; the old one ends within `patience` seconds, `then` comes after it."""
        old = await self._outlet.change(self._made())

        async def leave() -> None:
            try:
                if old is not None:
                    await old.stop(patience)
            finally:
                await then()

        task = asyncio.create_task(leave())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def stop(self, grace: float) -> None:
        """`grace`: seconds for messages on their way."""
        if (courier := self._outlet.courier) is not None:
            hurry = asyncio.ensure_future(self._hurry.wait())
            stopping = asyncio.ensure_future(courier.stop(grace))
            await asyncio.wait((hurry, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not stopping.done():
                stopping.cancel()
                await courier.stop(0)
            hurry.cancel()
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
