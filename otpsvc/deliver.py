"""Hands messages over: one message by one route, with its retries, fallback, limits and news.

A worker claims only what it can begin at once, holds it by a lease that it renews while
the channel works, and says in the end what came of it. What a far end's answer means
for the message is decided in `outcome.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any, Final, Protocol

from msgspec import Struct

from otpsvc.attempt import Beats, Outcome, attempt, put_back
from otpsvc.channel import Channel
from otpsvc.errors import StoreUnavailable, Unavailable
from otpsvc.letter import Draft
from otpsvc.message import Lane, Message, MessageState
from otpsvc.outcome import Result, Step, is_left_alone, next_event_step, next_step
from otpsvc.pending import Pending
from otpsvc.store import Claimed, Store

#: Milliseconds a worker holds a message without a sign of life.
LEASE: Final = 5000
#: Seconds between two signs of life, and between two looks at every queue.
BEAT: Final = 1.5
POLL: Final = 1.0
#: Seconds in which a step of the store has been answered or given up.
STORE_PATIENCE: Final = 1.5
#: Seconds for which messages that were claimed and not begun wait for a store that is away.
STORE_AWAY: Final = 60.0


class Compose(Protocol):
    """Makes the message of a claimed record; `draft` is what its maker had at hand."""

    def __call__(self, claimed: Claimed, draft: Draft | None = None) -> Message: ...


class Route(Struct, frozen=True):
    """An ordered list of channels under one name; a channel alone is a route of one."""

    name: str
    channels: tuple[tuple[str, Channel], ...]

    @property
    def slots(self) -> int:
        """Messages on their way at the same time."""
        return int(self.channels[0][1].config.concurrency)

    @property
    def rate(self) -> float:
        """Messages a second; 0: no limit."""
        return float(self.channels[0][1].config.rate)


class News(Struct, frozen=True):
    """What became of one attempt, for logs and metrics: no address, no text.

    `final` is the message's state when this attempt ended it, else "". `seconds` is how
    long the attempt took.
    """

    tenant: str
    route: str
    channel: str
    lane: Lane
    message: str
    result: Result
    reason: str
    final: str
    seconds: float
    #: What a channel raised that no channel may raise.
    bug: Exception | None = None


class Ended(Struct, frozen=True):
    """Messages that came to their deadline in the queue, or whose challenge a store restart made void."""

    tenant: str
    route: str
    lane: Lane
    count: int


class Courier:
    """Serves the queues of its routes until stopped.

    `compose` makes the message of a claimed record; `tenants` gives the names whose
    queues are looked at; `news` is told of every attempt and must not block. `lease` in
    milliseconds; `beat` and `poll` (the looks at every queue) in seconds.
    """

    def __init__(
        self,
        store: Store,
        routes: Mapping[str, Route],
        *,
        compose: Compose,
        tenants: Callable[[], Iterable[str]],
        news: Callable[[News | Ended], None] = lambda _: None,
        lease: int = LEASE,
        beat: float = BEAT,
        poll: float = POLL,
    ) -> None:
        self.store = store
        self._lease = lease
        self._beat = beat
        self._poll = poll
        self.compose = compose
        self._tenants = tenants
        self._news = news
        self._pending = {name: Pending(r.name, r.slots, r.rate) for name, r in routes.items()}
        self._routes = dict(routes)
        self._loops: list[asyncio.Task[None]] = []
        self._sending: set[asyncio.Task[None]] = set()
        self._open = False

    def start(self) -> None:
        """Begin to serve; must be called inside the running loop."""
        self._open = True
        self._loops = [asyncio.create_task(self._serve(pending)) for pending in self._pending.values()]

    async def stop(self, grace: float = 10.0) -> None:
        """Claim no more and wait `grace` seconds for what is on its way; its lease frees the rest."""
        self._open = False
        for pending in self._pending.values():
            pending.rouse()
        # What a claim is about to bring is sent: a loop is not cut off in its middle.
        if self._loops:
            await asyncio.wait(self._loops, timeout=STORE_PATIENCE)
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        if self._sending:
            await asyncio.wait(self._sending, timeout=grace)
        for task in list(self._sending):
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    def wake(self, tenant: str, route: str, lane: Lane) -> None:
        """Something is due there."""
        if pending := self._pending.get(route):
            pending.add(tenant, lane)

    def lease(self, tenant: str, route: str) -> int:
        """Keep a place for a code that a caller claims in its own step: milliseconds, or 0: queue it."""
        pending = self._pending.get(route)
        if not self._open or not pending or not pending.takes() or self._is_elsewhere(route):
            return 0
        pending.begin(tenant, "otp")
        return self._lease

    def give_back(self, tenant: str, route: str) -> None:
        """A place that `lease` kept is not needed."""
        self._pending[route].end(tenant, "otp")

    async def _barred(self, taken: list[Claimed]) -> list[bool]:
        """Whether the block list of all tenants has each: it may have changed while they waited."""
        if not any(dests := [claimed.dest for claimed in taken]):
            return [False] * len(taken)
        try:
            return await self.store.barred(dests)
        except StoreUnavailable:
            for claimed in taken:
                self._begin(put_back(self.store, claimed, patience=STORE_AWAY))
            raise

    def take(self, claimed: Claimed, draft: Draft | None = None, *, barred: bool = False) -> None:
        """Send what was claimed for a place that `lease` kept. `barred`: it must not leave any more."""
        self._begin(self._hand(claimed, draft, barred=barred))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    @property
    def in_flight(self) -> int:
        """Messages on their way now."""
        return len(self._sending)

    async def _serve(self, pending: Pending) -> None:
        next_poll = 0.0
        while self._open:
            # Marks may never end under load: the look at every queue has its own clock.
            if time.monotonic() >= next_poll:
                pending.add_some(self._tenants())
                next_poll = time.monotonic() + self._poll
            await pending.until_due(max(0.0, next_poll - time.monotonic()))
            try:
                await self._claim_due(pending)
            except StoreUnavailable:
                await asyncio.sleep(0.2 + 0.3 * random.random())

    def _is_elsewhere(self, route: str) -> bool:
        """Another process has a far end of it, and claims for it."""
        return any(channel.elsewhere for _, channel in self._routes[route].channels)

    async def _claim_due(self, pending: Pending) -> None:
        for lane, tenant in pending.pop_due():
            if not self._open or self._is_elsewhere(pending.route):
                return
            limit = pending.room(tenant, lane)
            if limit <= 0:
                pending.hold(tenant, lane)
                continue
            batch = await self.store.claim(tenant, pending.route, lane, limit=limit, lease=self._lease)
            for claimed, barred in zip(batch.taken, await self._barred(batch.taken), strict=True):
                pending.begin(tenant, lane)
                self.take(claimed, barred=barred)
            if batch.ended:
                self._news(Ended(tenant, pending.route, lane, batch.ended))
            if len(batch.taken) >= limit:
                pending.add(tenant, lane)
            elif batch.next_due >= 0:
                pending.add_later(tenant, lane, (batch.next_due - batch.now) / 1000)

    async def _hand(self, claimed: Claimed, draft: Draft | None, *, barred: bool) -> None:
        pending = self._pending[claimed.route]
        try:
            with contextlib.suppress(StoreUnavailable):
                await self._deliver(claimed, draft, barred=barred)
        except asyncio.CancelledError as cut:
            # Only `stop` cuts off. What surely did not leave is no doubt: the next worker takes it.
            if isinstance(cut.__cause__, Unavailable):
                await put_back(self.store, claimed)
            raise
        finally:
            pending.end(claimed.tenant, claimed.lane)

    async def _deliver(self, claimed: Claimed, draft: Draft | None, *, barred: bool) -> None:
        record, channels = claimed.record, self._routes[claimed.route].channels
        way = min(record.way, len(channels) - 1)
        name, channel = channels[way]
        began = time.monotonic()
        if barred:
            outcome = Outcome("refused", "blocked")
        elif is_left_alone(record.uncertain, channel.config):
            outcome = Outcome("uncertain", "a worker died")
        else:
            beats = Beats(self.store, claimed, every=self._beat, lease=self._lease)
            outcome = await attempt(channel, claimed, partial(self.compose, claimed, draft), beats)
        step = Step(MessageState.FAILED, "blocked", way=way) if barred else self._step(claimed, outcome, way)
        self._news(
            News(
                tenant=claimed.tenant,
                route=claimed.route,
                channel=name,
                lane=claimed.lane,
                message=claimed.n,
                result=outcome.result,
                reason=outcome.reason,
                final=step.state.value if step.state else "",
                seconds=time.monotonic() - began,
                bug=outcome.bug,
            )
        )
        await self._record(claimed, step, outcome)

    def _step(self, claimed: Claimed, outcome: Outcome, way: int) -> Step:
        record, left = claimed.record, claimed.seconds_left()
        if claimed.lane == "event":
            return next_event_step(
                outcome.result, outcome.reason, tries=record.tries, left=left, retry_after=outcome.retry_after
            )
        return next_step(
            outcome.result,
            outcome.reason,
            channels=[channel.config for _, channel in self._routes[claimed.route].channels],
            way=way,
            tries=record.tries,
            doubts=record.uncertain,
            left=left,
            retry_after=outcome.retry_after,
            settled=outcome.settled,
        )

    async def _record(self, claimed: Claimed, step: Step, outcome: Outcome) -> None:
        if step.state is not None:
            await self.store.finish(
                claimed,
                state=step.state,
                way=step.way,
                reason=step.reason,
                uncertain=step.uncertain or outcome.doubt,
                parts=outcome.parts,
            )
            return
        said = await self.store.later(
            claimed, delay=int(step.delay * 1000), way=step.way, reason=step.reason, uncertain=step.uncertain
        )
        if said == "ok":
            self._pending[claimed.route].add_later(claimed.tenant, claimed.lane, step.delay)
