"""What the steps of a store are given and answer.

Times in answers are milliseconds of the store's clock.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

from otpsvc.challenge import RAW, MessageRecord, Record, unpack_raw
from otpsvc.message import Lane
from otpsvc.tenant import Rate


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
    #: The generation of the page that asks: only this one may be sent on, and it stays.
    pin: bytes = b""


class Resend(Struct, frozen=True, kw_only=True):
    """A resend; the fields from `kid` on are filled for a slow hash, whose code is replaced."""

    tenant: str
    n: str
    op: bytes
    waits: tuple[int, ...]
    sends: Rate | None
    lease: int
    gen: bytes
    kid: bytes = bytes(4)
    digest: bytes = b""
    salt: bytes = b""
    body: bytes = b""


class Posting(Struct, frozen=True, kw_only=True):
    """A raw message for the outbox. `ttl` in milliseconds; `meta` as `challenge.pack_raw` makes it.

    `once` names what is known again for `once_life` milliseconds (an Idempotency-Key, or
    the command itself): the second one gets the first one's record. `sends`: the tenant's
    budget.
    """

    tenant: str
    n: str
    route: str
    ttl: int
    dest: bytes
    meta: bytes
    body: bytes
    sends: Rate | None
    once: str = ""
    once_life: int = 0
    lane: Lane = "message"


class Posted(NamedTuple):
    """What became of a posting; `n` and `record` are those of the message that stands for it now.

    queued | known (an earlier one under the same `once`) | blocked | budget (`wait` ms).
    """

    outcome: str
    now: float
    n: str = ""
    record: MessageRecord | None = None
    wait: float = 0


class Kept(NamedTuple):
    """A text that came in: its id, when (ms of the store's clock), and the sealed text."""

    id: str
    at: float
    sealed: bytes


class Offer(NamedTuple):
    """One digest of what the user typed: under this key, by this scheme ("h" keyed, "a" argon2id)."""

    scheme: str
    kid: bytes
    digest: bytes


class Guess(Struct, frozen=True, kw_only=True):
    """One check. `client` is the digest of the client's prefix or b"". `limits`: None switches budgets off.

    `salt`: that of the slow offers, else b"". `gen`: only this generation counts. `open_most`:
    how many attempts a client without a token has, 0 for one that has it.
    """

    tenant: str
    n: str
    op: bytes
    client: bytes
    limits: tuple[Rate, Rate, Rate] | None
    offers: Sequence[Offer]
    salt: bytes = b""
    gen: bytes = b""
    open_most: int = 0


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

    @property
    def dest(self) -> bytes:
        """What block lists are asked by; empty for events."""
        if self.challenge is not None:
            return self.challenge.dest
        if self.message is not None and self.message.kind == RAW:
            return unpack_raw(self.message.meta).dest
        return b""

    @property
    def until(self) -> float:
        """When nothing may be handed over any more, by `time.monotonic()`."""
        return self.at + self.left

    def seconds_left(self) -> float:
        """Until nothing may be handed over any more."""
        return self.until - time.monotonic()


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
