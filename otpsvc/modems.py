"""What a process lends to its channels that have modems, and how other processes reach those.

ledger (counts, references, PINs) ─> channel        inbox <─ texts that came in
errands of other processes ─> desk ─> channel       reporter <─ delivery reports
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

import structlog

from otpsvc.channel import Channel
from otpsvc.gsm.ledger import Ledger
from otpsvc.gsm.types import Text
from otpsvc.inbox import Inbox
from otpsvc.keyring import Keyring
from otpsvc.lines import Owner
from otpsvc.message import Delivery, Incoming, Lane
from otpsvc.metrics import Metrics
from otpsvc.reporting import Reporter
from otpsvc.stores.desk import Desk
from otpsvc.stores.ledger import RedisLedger
from otpsvc.stores.redis import RedisStore

_log = structlog.get_logger("otpsvc")


@runtime_checkable
class Borrower(Protocol):
    """A channel that wants a ledger, and a place for texts that came in."""

    def lend(
        self,
        ledger: Ledger,
        take: Callable[[Incoming], Awaitable[object]],
        changed: Callable[[], None],
    ) -> None: ...

    async def keep(self, text: Text) -> None: ...


class Modems:
    """Of one process that delivers, called `node`.

    `channels` is asked each time: a reload changes them. `came` is told the tenant of each
    text that came in.
    """

    def __init__(
        self,
        store: RedisStore,
        keyring: Keyring,
        inbox: Inbox,
        *,
        channels: Callable[[], Mapping[str, Channel]],
        wake: Callable[[str, str, Lane], None],
        metrics: Metrics,
        came: Callable[[str], None],
        node: str,
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._inbox = inbox
        self._channels = channels
        self._metrics = metrics
        self._came = came
        self._reporter = Reporter(store, wake=wake, noted=self._noted)
        self._stack = AsyncExitStack()
        self._desk = Desk(store, keyring, self._owners, node=node)

    async def __aenter__(self) -> Self:
        self._stack.push_async_callback(self._reporter.close)
        await self._stack.enter_async_context(self._desk)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def equip(self, channels: Mapping[str, Channel]) -> None:
        """Before channels are opened: lend them what they want; twice is harmless."""
        for channel in channels.values():
            channel.report = self._reporter.take
            if isinstance(channel, Borrower):
                ledger = RedisLedger(self._store, self._keyring.name, channel.keep)
                channel.lend(ledger, self._take, self._desk.hurry)

    def _owners(self) -> dict[str, Owner]:
        return {name: channel for name, channel in self._channels().items() if isinstance(channel, Owner)}

    async def _take(self, incoming: Incoming) -> None:
        """Raises: StoreUnavailable: the channel keeps it."""
        new = await self._inbox.take(incoming)
        if new:
            self._came(incoming.tenant)
            self._metrics.incoming(complete=incoming.complete)
            _log.info(
                "text received", modem=incoming.line, tenant=incoming.tenant, complete=incoming.complete
            )

    def _noted(self, delivery: Delivery) -> None:
        self._metrics.delivery(ok=delivery.ok)
        _log.info(
            "delivery report",
            tenant=delivery.tenant,
            message=delivery.message[:8],
            delivered=delivery.ok,
            detail=delivery.detail,
        )
