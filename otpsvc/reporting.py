"""Delivery reports: what a channel hears later of a message becomes the message's state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from otpsvc.errors import StoreUnavailable
from otpsvc.message import Delivery, Lane
from otpsvc.store import Store

#: Seconds before each look, while the send itself is still being noted or the store is away.
WAITS: Final = (0.0, 0.5, 2.0, 10.0, 60.0)
#: Seconds that reports have when the process ends.
GRACE: Final = 1.0


class Reporter:
    """`noted` hears of every report that changed a state; `wake` tells the courier of events."""

    def __init__(
        self,
        store: Store,
        *,
        wake: Callable[[str, str, Lane], None],
        noted: Callable[[Delivery], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._wake = wake
        self._noted = noted
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, delivery: Delivery) -> None:
        """Note one. Never blocks; needs a running event loop."""
        task = asyncio.get_running_loop().create_task(self._settle(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """What the store does not take in a moment stays `sent`."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=GRACE)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _settle(self, delivery: Delivery) -> None:
        place = _place(delivery.message)
        if place is None:
            return
        member, gen, sends = place
        for wait in WAITS:
            await asyncio.sleep(wait)
            try:
                said = await self._store.report(delivery.tenant, member, gen=gen, sends=sends, ok=delivery.ok)
            except StoreUnavailable:
                continue
            if said == "ok":
                self._noted(delivery)
                self._wake(delivery.tenant, "callback", "event")
            if said != "early":
                return


def _place(message: str) -> tuple[str, bytes, int] | None:
    """Where a `Message.id` points: `n.generation.send` of a challenge, `n` of a raw message; None: nowhere.

    A channel of a third party, or an older program's ledger, may say anything.
    """
    n, _, rest = message.partition(".")
    if not rest:
        return "m" + n, b"", 0
    gen, _, sends = rest.partition(".")
    try:
        return "c" + n, bytes.fromhex(gen), int(sends)
    except ValueError:
        return None
