"""The store in the memory of one process, for tests: as the real one, with a clock that the test owns.

Nothing is shared with another process and nothing survives. For one event loop: a step
has no await inside, so that it is as atomic as a script.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from otpsvc.challenge import MessageRecord
from otpsvc.message import Lane, MessageState
from otpsvc.store import Answer, Batch, Claimed, Creation, Guess, Resend, Wake
from otpsvc.stores import memory_check, memory_creation
from otpsvc.stores.memory_check import Question
from otpsvc.stores.memory_outbox import Outbox, enqueue
from otpsvc.stores.memory_space import Budget, Kept, Opened, Space
from otpsvc.tenant import PURPOSES, Rate

#: Milliseconds that a running request holds its Idempotency-Key.
RUNNING = 10_000


class MemoryStore:
    """`now` is Unix time in seconds; a test may move it on, or back (which voids what is open).

    `fenced`: `restart` then voids what is open, as with a real store that may lose writes (D9).
    """

    def __init__(self, now: Callable[[], float], *, fenced: bool = False) -> None:
        self._now = now
        self._fenced = fenced
        self._run = os.urandom(20) if fenced else b""
        self._spaces: dict[str, Space] = {}
        self._guards: Kept[str, list[float]] = Kept()
        self._check_values: dict[str, bytes] = {}
        self._wake: Wake | None = None

    def restart(self) -> None:
        """As if the server had been killed and had come back with all its data."""
        if self._fenced:
            self._run = os.urandom(20)

    async def close(self) -> None:
        """Nothing is open."""

    def _ms(self) -> float:
        return float(int(self._now() * 1000))

    def _space(self, tenant: str) -> Space:
        space = self._spaces.get(tenant)
        if space is None:
            space = self._spaces[tenant] = Space(tenant, self._woken)
        space.tick(self._ms(), self._run)
        return space

    def _woken(self, tenant: str, route: str, lane: Lane) -> None:
        if self._wake is not None:
            self._wake(tenant, route, lane)

    async def create(self, creation: Creation) -> Answer:
        return memory_creation.create(self._space(creation.tenant), creation)

    async def resend(self, resend: Resend) -> Answer:
        return memory_creation.resend(self._space(resend.tenant), resend)

    async def check(self, guess: Guess) -> Answer:
        return memory_check.check(self._space(guess.tenant), guess)

    async def read(self, tenant: str, n: str) -> Answer:
        return memory_check.read(self._space(tenant), n)

    async def status(
        self,
        tenant: str,
        n: str,
        op: bytes,
        *,
        needs: str,
        receipt: tuple[bytes, bytes] | None,
        until: int = 0,
        gen: bytes = b"",
        consume: bool = False,
    ) -> Answer:
        assert len(needs) == len(PURPOSES)
        question = Question(op=op, needs=needs, receipt=receipt, until=until, gen=gen, consume=consume)
        return memory_check.status(self._space(tenant), n, question)

    async def cancel(self, tenant: str, n: str, op: bytes) -> Answer:
        return memory_check.cancel(self._space(tenant), n, op)

    async def reserve(self, guards: Sequence[tuple[str, Sequence[Rate]]]) -> tuple[float, int]:
        now, worst, which = self._ms(), 0.0, -1
        for at, (name, rates) in enumerate(guards):
            stamps = self._guards.get(name, now) or []
            wait = max(_wait(stamps, now, rate) for rate in rates)
            if wait > worst:
                worst, which = wait, at
        if which >= 0:
            return worst, which
        for name, rates in guards:
            stamps = self._guards.get(name, now) or []
            longest = max(rate.window for rate in rates) * 1000
            kept = [stamp for stamp in stamps if stamp > now - longest]
            self._guards.put(name, [*kept, now], now + longest)
        return 0, -1

    async def unreserve(self, names: Sequence[str]) -> None:
        for name in names:
            if stamps := self._guards.get(name, self._ms()):
                stamps.pop()

    async def once(self, tenant: str, name: str, fingerprint: bytes, op: bytes) -> Answer:
        space = self._space(tenant)
        opened = space.onces.get(name, space.now)
        if opened is None:
            space.onces.put(name, Opened(fingerprint, op), space.now + RUNNING)
            return Answer("new", 0)
        if opened.fingerprint != fingerprint:
            return Answer("mismatch", 0)
        return opened.answer or Answer("mine" if opened.op == op else "running", 0)

    async def release_once(self, tenant: str, name: str) -> None:
        self._space(tenant).onces.drop(name)

    async def reset_budget(self, tenant: str, dest: bytes) -> None:
        space = self._space(tenant)
        for purpose in range(len(PURPOSES)):
            for trusted in (False, True):
                space.wrong.drop(Budget(dest, purpose, trusted))

    async def enqueue(
        self, tenant: str, n: str, *, route: str, lane: Lane, ttl: int, meta: bytes, body: bytes
    ) -> str:
        return enqueue(self._space(tenant), n, route=route, lane=lane, ttl=ttl, meta=meta, body=body)

    async def message(self, tenant: str, n: str) -> MessageRecord | None:
        parcel = self._space(tenant).parcel(n)
        return parcel.record() if parcel else None

    async def claim(self, tenant: str, route: str, lane: Lane, *, limit: int, lease: int) -> Batch:
        return Outbox(self._space(tenant), route, lane).claim(limit, lease)

    def _outbox(self, claimed: Claimed) -> Outbox:
        return Outbox(self._space(claimed.tenant), claimed.route, claimed.lane)

    async def beat(self, claimed: Claimed, *, lease: int) -> str:
        return self._outbox(claimed).beat(claimed, lease=lease)

    async def later(self, claimed: Claimed, *, delay: int, way: int, reason: str, uncertain: bool) -> str:
        outbox = self._outbox(claimed)
        return outbox.later(claimed, delay=delay, way=way, reason=reason[:60], uncertain=uncertain)

    async def finish(
        self, claimed: Claimed, *, state: MessageState, way: int, reason: str, uncertain: bool
    ) -> str:
        outbox = self._outbox(claimed)
        return outbox.finish(claimed, state=state, way=way, reason=reason[:60], uncertain=uncertain)

    async def check_values(self, values: Sequence[tuple[str, bytes]]) -> list[str]:
        return [name for name, value in values if self._check_values.setdefault(name, value) != value]

    async def ping(self) -> str:
        return "ok"

    def listen(self, wake: Wake) -> None:
        """`wake` is called inside the step that puts something into the outbox."""
        self._wake = wake


def _wait(stamps: list[float], now: float, rate: Rate) -> float:
    """Milliseconds until a sliding window has a place again; 0 when it has."""
    window = rate.window * 1000
    inside = [stamp for stamp in stamps if stamp > now - window]
    return inside[-rate.count] + window - now if len(inside) >= rate.count else 0
