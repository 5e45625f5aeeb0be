"""One tenant's part of the memory store: its clock, what it keeps, its queues and events."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Hashable
from hashlib import sha1
from typing import Final, Generic, NamedTuple, TypeVar

from otpsvc.challenge import EVENT, Flag, State
from otpsvc.message import Lane
from otpsvc.step import Answer
from otpsvc.stores.memory_challenge import FAILED, QUEUED, SENDING, Challenge, Parcel
from otpsvc.stores.memory_inbox import Inbox
from otpsvc.stores.memory_watches import Watches
from otpsvc.tenant import Rate

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

#: All in milliseconds. A challenge outlives its deadline by `GRACE`, and by `DAY` when it owes an event.
GRACE, MINUTE, HOUR, DAY = 2000, 60_000, 3_600_000, 86_400_000
EVENT_LIFE: Final = 3 * DAY
#: A step back of the clock by more than this voids what was open.
STEP_BACK: Final = 2000
_META = struct.Struct("<BBBBBB16sd")


class Kept(Generic[K, V]):
    """Entries that end by themselves."""

    def __init__(self) -> None:
        self._entries: dict[K, tuple[V, float]] = {}

    def get(self, key: K, now: float) -> V | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now >= entry[1]:
            del self._entries[key]
            return None
        return entry[0]

    def until(self, key: K) -> float:
        """When an entry ends; 0 when there is none."""
        return self._entries[key][1] if key in self._entries else 0.0

    def put(self, key: K, value: V, until: float) -> None:
        self._entries[key] = (value, until)

    def drop(self, key: K) -> None:
        self._entries.pop(key, None)


class Opened(NamedTuple):
    """An Idempotency-Key: who opened it, and the answer once there is one."""

    fingerprint: bytes
    op: bytes
    answer: Answer | None = None


class Budget(NamedTuple):
    """What wrong checks are counted by."""

    dest: bytes
    purpose: int
    trusted: bool


class Space:
    """`tick` begins a step: it sets `now` and `epoch` for all that follows."""

    def __init__(self, tenant: str, wake: Callable[[str, str, Lane], None]) -> None:
        self.tenant = tenant
        self.now = 0.0
        self.epoch = 0
        self.challenges: Kept[str, Challenge] = Kept()
        self.parcels: Kept[str, Parcel] = Kept()
        #: Tombstones of events.
        self.delivered: Kept[str, bool] = Kept()
        self.onces: Kept[str, Opened] = Kept()
        #: Of raw messages: which one stands for a name.
        self.raw_onces: Kept[str, str] = Kept()
        #: Blocked destinations, and what was sealed with each.
        self.blocks: dict[bytes, bytes] = {}
        self.inbox = Inbox()
        #: Of feeders: who was the first with a name.
        self.firsts: Kept[str, bytes] = Kept()
        #: By feeder: the messages that it tells of.
        self.watches: dict[str, Watches] = {}
        self.wrong: Kept[Budget, Counter[bytes]] = Kept()
        #: Attempts of clients without a token, by challenge.
        self.open: Kept[str, Counter[bytes]] = Kept()
        self.sends: Kept[str, int] = Kept()
        self._queues: dict[tuple[str, Lane], dict[str, float]] = {}
        self._run = b""
        self._wake = wake

    def tick(self, time: float, run: bytes) -> None:
        """A step back, or another run of a store that may have lost writes, opens a new epoch."""
        restarted = run and self._run and run != self._run
        if self.epoch == 0:
            self.epoch, self.now = 1, time
        elif time < self.now - STEP_BACK or restarted:
            self.epoch, self.now = self.epoch % 65535 + 1, time
        self.now = max(self.now, time)
        self._run = run or self._run

    def answer(self, outcome: str, challenge: Challenge | None = None, wait: float = 0) -> Answer:
        return Answer(outcome, self.now, challenge.record() if challenge else None, wait)

    def challenge(self, n: str) -> Challenge | None:
        return self.challenges.get(n, self.now)

    def keep(self, n: str, challenge: Challenge) -> None:
        """A challenge that owes an event stays until some worker can write it."""
        until = max(challenge.deadline, self.now) + GRACE
        if challenge.has(Flag.CALLBACK) and challenge.waits_for_code:
            until += DAY
        if challenge.has(Flag.LINGERS):
            until += MINUTE
        self.challenges.put(n, challenge, until)

    def parcel(self, n: str) -> Parcel | None:
        return self.parcels.get(n, self.now)

    def keep_parcel(self, n: str, parcel: Parcel) -> None:
        self.parcels.put(n, parcel, max(parcel.deadline, self.now) + DAY)

    def save(self, n: str, held: Challenge | Parcel) -> None:
        if isinstance(held, Challenge):
            self.keep(n, held)
        else:
            self.keep_parcel(n, held)

    def queue(self, route: str, lane: Lane) -> dict[str, float]:
        """What is due on a route, and when."""
        return self._queues.setdefault((route, lane), {})

    def wake(self, route: str, lane: Lane) -> None:
        self._wake(self.tenant, route, lane)

    def unqueue(self, n: str, challenge: Challenge) -> None:
        if challenge.route and challenge.mstate in (QUEUED, SENDING):
            self.queue(challenge.route, "otp").pop("c" + n, None)

    def event(self, n: str, challenge: Challenge, kind: str) -> None:
        """Write a generation's final event, once: its id follows from generation and kind."""
        if not challenge.has(Flag.CALLBACK):
            return
        queue = self.queue("callback", "event")
        queue.pop("x" + n, None)
        name = n.encode() + challenge.gen + kind.encode()
        id = sha1(name, usedforsecurity=False).hexdigest()[:24]
        if self.parcel(id) or self.delivered.get(id, self.now):
            return
        parcel = Parcel(
            kind=EVENT,
            created=self.now,
            deadline=self.now + EVENT_LIFE,
            due=self.now,
            route="callback",
            lane="event",
            meta=_meta(n, challenge, kind, self.now),
            body=challenge.blob,
        )
        self.keep_parcel(id, parcel)
        queue["m" + id] = self.now
        self.wake("callback", "event")

    def count_send(self, rate: Rate | None) -> float:
        """Count a send of the tenant; milliseconds to wait when there is none left."""
        if rate is None:
            return 0
        sent = self.sends.get("", self.now) or 0
        until = self.sends.until("") if sent else self.now + rate.window * 1000
        if sent >= rate.count:
            return until - self.now
        self.sends.put("", sent + 1, until)
        return 0

    def fail_send(self, n: str, challenge: Challenge, reason: str) -> None:
        """Its message ends as one that failed: no wait begins, and who waits for the code is told."""
        c = challenge
        c.mstate, c.reason, c.body, c.due = FAILED, reason, b"", self.now
        # Of a verified one it is the time of that.
        if c.state != State.VERIFIED:
            c.wait = self.now
        if c.state == State.OPEN and c.epoch == self.epoch and self.now < c.deadline:
            c.state = State.FAILED
            self.event(n, c, "f")

    def end(self, n: str, challenge: Challenge) -> None:
        """Its deadline has come, or it is of another epoch: an open one's tenant is told."""
        if challenge.state == State.OPEN:
            late = challenge.epoch == self.epoch
            self.event(n, challenge, "x" if late else "r")
            challenge.state = State.EXPIRED if late else State.VOID
            self.keep(n, challenge)


def _meta(n: str, challenge: Challenge, kind: str, now: float) -> bytes:
    c = challenge
    head = _META.pack(ord(kind), c.purpose, c.attempts, c.mstate, c.uncertain, c.sends, c.gen, now)
    words = (n.encode(), c.route.encode(), c.reason.encode())
    return head + b"".join(bytes([len(word)]) + word for word in words)
