"""What a store is: where challenges, messages and guards are kept, and each change of state.

Every method is one atomic step (one script, one round trip) and may be asked again with
the same `op` when its answer was lost: the first answer comes back. All of them raise
StoreUnavailable when the store does not answer in time. Times in answers are
milliseconds of the store's clock.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from otpsvc.challenge import MessageRecord, Record, State
from otpsvc.message import Lane, MessageState
from otpsvc.tenant import Rate

#: Seeded by the operating system in each process. Operation ids tell calls apart, they hide nothing.
_ops = random.Random()
# A fork would go on with the same numbers, and take another's answers for its own.
os.register_at_fork(after_in_child=_ops.seed)


def new_op() -> bytes:
    """An operation id: 8 random bytes."""
    return _ops.randbytes(8)


class Answer(NamedTuple):
    """What a step answered: one word, listed with each step. `wait` is in milliseconds."""

    outcome: str
    now: float
    record: Record | None = None
    wait: float = 0


class Once(Struct, frozen=True):
    """An Idempotency-Key: its digest, and the keyed fingerprint of the request (16 bytes)."""

    name: str
    fingerprint: bytes


class Creation(Struct, frozen=True, kw_only=True):
    """All that one create carries. `route` empty: no address yet, nothing is sent.

    `ttl` and `cap` (longest life of one generation) in milliseconds; `lease` in
    milliseconds when the caller's own worker sends the message at once, else 0.
    """

    tenant: str
    n: str
    op: bytes
    gen: bytes
    kid: bytes
    purpose: int
    flags: int
    kind: int
    dest: bytes
    digest: bytes
    salt: bytes
    route: str
    ttl: int
    cap: int
    max_attempts: int
    max_sends: int
    waits: tuple[int, ...]
    blob: bytes
    body: bytes
    sends: Rate | None
    once: Once | None = None
    lease: int = 0


class Resend(Struct, frozen=True, kw_only=True):
    """A resend; the fields from `new_gen` on are filled for a slow hash, whose code is replaced."""

    tenant: str
    n: str
    op: bytes
    waits: tuple[int, ...]
    sends: Rate | None
    lease: int
    gen: bytes
    new_gen: bytes = b""
    kid: bytes = bytes(4)
    digest: bytes = b""
    salt: bytes = b""
    body: bytes = b""
    blob: bytes = b""


class Offer(NamedTuple):
    """One digest of what the user typed: under this key, by this scheme ("h" keyed, "a" argon2id)."""

    scheme: str
    kid: bytes
    digest: bytes


class Guess(Struct, frozen=True, kw_only=True):
    """One check. `client` is the digest of the client's prefix or b"". `limits`: None switches budgets off.

    `gen` pins the generation that the offers were made for (slow hash), else b"".
    """

    tenant: str
    n: str
    op: bytes
    client: bytes
    limits: tuple[Rate, Rate, Rate] | None
    offers: Sequence[Offer]
    gen: bytes = b""


class Claimed(NamedTuple):
    """A message that this worker holds until its lease ends.

    `left`: seconds until its deadline at the moment `at` of this process's monotonic clock.
    """

    tenant: str
    route: str
    lane: Lane
    member: str
    fence: int
    gen: bytes
    challenge: Record | None
    message: MessageRecord | None
    left: float
    at: float

    @property
    def n(self) -> str:
        return self.member[1:]

    @property
    def record(self) -> Record | MessageRecord:
        record = self.challenge or self.message
        assert record is not None
        return record

    def seconds_left(self) -> float:
        """Until nothing may be handed over any more."""
        return self.left - (time.monotonic() - self.at)


def claimed_challenge(tenant: str, n: str, record: Record, now: float) -> Claimed:
    """What a create or resend claimed for its own worker. `now` as its answer said."""
    left, at = (record.deadline - now) / 1000, time.monotonic()
    return Claimed(tenant, record.route, "otp", "c" + n, record.fence, record.gen, record, None, left, at)


class Batch(NamedTuple):
    """What a claim gave: messages, when the next one is due (ms; -1: none), and how many it ended.

    A message ends in a claim when its deadline came in the queue or its challenge is void.
    """

    now: float
    next_due: float
    taken: list[Claimed]
    ended: int = 0


#: (tenant, route, lane): something is due there.
Wake = Callable[[str, str, Lane], None]


class Store(Protocol):
    """Implemented by `stores/redis.py` and `stores/memory.py`; one contract test holds both."""

    async def create(self, creation: Creation) -> Answer:
        """created | locked | sends | wait | budget | mismatch | running | done."""

    async def resend(self, resend: Resend) -> Answer:
        """created | unknown | locked | closed | unsent | sends | wait | supplied | offer | budget."""

    async def check(self, guess: Guess) -> Answer:
        """verified | wrong (these two count) | locked | closed | unknown | unsent | offer | budget."""

    async def read(self, tenant: str, n: str) -> Answer:
        """read | unknown | void | expired. Changes nothing."""

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
        """verified | open | unknown | void | expired.

        `needs`: one "0" or "1" per purpose: whether a receipt must be shown;
        `receipt`: (generation, operation) of a receipt, which is spent by this, and `until`
        when it holds (ms; 0: for ever), by the store's clock as it was made;
        `gen`: only this generation counts; `consume` forgets a verified challenge.
        """

    async def cancel(self, tenant: str, n: str, op: bytes) -> Answer:
        """cancelled | unknown | void | expired."""

    async def reserve(self, guards: Sequence[tuple[str, Sequence[Rate]]]) -> tuple[float, int]:
        """Take a place in every window of every guard, or in none: ms to wait or 0, which one refused."""

    async def unreserve(self, names: Sequence[str]) -> None:
        """Give the places of `reserve` back: nothing was sent."""

    async def once(self, tenant: str, name: str, fingerprint: bytes, op: bytes) -> Answer:
        """new | mine | running | mismatch | done (with the first answer's record and time)."""

    async def release_once(self, tenant: str, name: str) -> None:
        """Give a running Idempotency-Key up: its request had no effect."""

    async def reset_budget(self, tenant: str, dest: bytes) -> None:
        """Forget the wrong checks of a destination."""

    async def enqueue(
        self, tenant: str, n: str, *, route: str, lane: Lane, ttl: int, meta: bytes, body: bytes
    ) -> str:
        """Put a raw message into the outbox: queued | known. `ttl` in milliseconds."""

    async def message(self, tenant: str, n: str) -> MessageRecord | None:
        """A raw message's record."""

    async def claim(self, tenant: str, route: str, lane: Lane, *, limit: int, lease: int) -> Batch:
        """Take due messages. `lease` in milliseconds."""

    async def beat(self, claimed: Claimed, *, lease: int) -> str:
        """Ok: still mine, the lease runs anew; lost: it is another's; ended: closed, changed or too late."""

    async def later(self, claimed: Claimed, *, delay: int, way: int, reason: str, uncertain: bool) -> str:
        """Give it back to be taken again after `delay` ms, by the `way`-th channel. ok | lost | ended."""

    async def finish(
        self, claimed: Claimed, *, state: MessageState, way: int, reason: str, uncertain: bool
    ) -> str:
        """Its last word. ok | lost."""

    async def check_values(self, values: Sequence[tuple[str, bytes]]) -> list[str]:
        """Keep each key's check value if the store has none; the names whose value differs."""

    async def ping(self) -> str:
        """One word on the store. Raises: StoreUnavailable."""

    def listen(self, wake: Wake) -> None:
        """Call `wake` when another process put something into the outbox. Loss is fine."""


__all__ = ["Answer", "Batch", "Claimed", "Creation", "Guess", "Offer", "Once", "Resend", "State", "Store"]
