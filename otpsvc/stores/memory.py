"""The store in the memory of one process, for tests: as the real one, with a clock that the test owns.

Nothing is shared with another process and nothing survives. For one event loop: a step
has no await inside, so that it is as atomic as a script.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from otpsvc.challenge import MessageRecord
from otpsvc.message import Lane, MessageState
from otpsvc.step import Answer, Batch, Claimed, Creation, Guess, Posted, Posting, Resend
from otpsvc.step import Kept as KeptText
from otpsvc.store import ALL, BARRED, Wake
from otpsvc.stores import memory_check, memory_creation
from otpsvc.stores.memory_check import Question
from otpsvc.stores.memory_outbox import Outbox
from otpsvc.stores.memory_posting import enqueue, report
from otpsvc.stores.memory_space import Budget, Kept, Opened, Space
from otpsvc.stores.memory_watches import Watches
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
        self._leases: Kept[str, bytes] = Kept()
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

    async def reserve(
        self, guards: Sequence[tuple[str, Sequence[Rate]]], dest: bytes = b""
    ) -> tuple[float, int]:
        if dest in self._space(ALL).blocks:
            return 0, BARRED
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

    async def enqueue(self, posting: Posting) -> Posted:
        return enqueue(self._space(posting.tenant), posting)

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
        self,
        claimed: Claimed,
        *,
        state: MessageState,
        way: int,
        reason: str,
        uncertain: bool,
        parts: int = 0,
    ) -> str:
        outbox = self._outbox(claimed)
        return outbox.finish(
            claimed, state=state, way=way, reason=reason[:60], uncertain=uncertain, parts=parts
        )

    async def report(self, tenant: str, member: str, *, gen: bytes, sends: int, ok: bool) -> str:
        return report(self._space(tenant), member, gen=gen, sends=sends, ok=ok)

    async def block(self, scope: str, dest: bytes, sealed: bytes) -> bool:
        blocks = self._space(scope).blocks
        new = dest not in blocks
        blocks.setdefault(dest, sealed)
        return new

    async def unblock(self, scope: str, dest: bytes) -> bool:
        return self._space(scope).blocks.pop(dest, None) is not None

    async def blocked(self, scope: str, dest: bytes) -> bytes | None:
        return self._space(scope).blocks.get(dest)

    async def blocks(self, scope: str) -> list[tuple[bytes, bytes]]:
        return list(self._space(scope).blocks.items())

    async def barred(self, dests: Sequence[bytes]) -> list[bool]:
        return [dest in self._space(ALL).blocks for dest in dests]

    async def keep_text(self, scope: str, id: str, sealed: bytes, *, life: int, most: int) -> bool:
        space = self._space(scope)
        return space.inbox.keep(id, sealed, now=space.now, life=life, most=most)

    async def texts(self, scope: str, *, before: float = 0, limit: int = 100) -> list[KeptText]:
        space = self._space(scope)
        return space.inbox.list(now=space.now, before=before, limit=limit)

    async def first(
        self, tenant: str, name: str, token: bytes, *, life: int, within: int | None = None
    ) -> bytes:
        space = self._space(tenant)
        known = space.firsts.get(name, space.now)
        oldest = life - (life if within is None else within)
        if known is not None and space.firsts.until(name) - space.now > oldest:
            return known
        space.firsts.put(name, token, space.now + life)
        return token

    async def hold(self, name: str, token: bytes, *, life: int) -> bool:
        now = self._ms()
        if self._leases.get(name, now) not in (None, token):
            return False
        self._leases.put(name, token, now + life)
        return True

    async def release(self, name: str, token: bytes) -> None:
        if self._leases.get(name, self._ms()) == token:
            self._leases.drop(name)

    async def unread(self, scope: str, feeder: str, *, limit: int = 1) -> list[KeptText]:
        space = self._space(scope)
        return space.inbox.unread(feeder, now=space.now, limit=limit)

    async def advance(self, scope: str, feeder: str, id: str) -> None:
        self._space(scope).inbox.advance(feeder, id)

    async def arrivals(self, scope: str) -> int:
        return self._space(scope).inbox.arrivals

    async def messages(self, tenant: str, ns: Sequence[str]) -> list[MessageRecord | None]:
        return [await self.message(tenant, n) for n in ns]

    def _watches(self, tenant: str, feeder: str) -> tuple[Watches, float]:
        space = self._space(tenant)
        return space.watches.setdefault(feeder, Watches()), space.now

    async def watch(
        self, tenant: str, feeder: str, watches: Sequence[tuple[str, bytes]], *, life: int, most: int
    ) -> None:
        held, now = self._watches(tenant, feeder)
        held.add(watches, now=now, life=life, most=most)

    async def watched(self, tenant: str, feeder: str) -> list[tuple[str, bytes]]:
        held, now = self._watches(tenant, feeder)
        return held.list(now=now)

    async def rewatch(self, tenant: str, feeder: str, n: str, sealed: bytes) -> None:
        held, now = self._watches(tenant, feeder)
        held.change(n, sealed, now=now)

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
