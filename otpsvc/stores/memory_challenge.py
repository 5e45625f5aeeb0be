"""What the memory store keeps: challenges and raw messages, with absolute times and free to change.

Twins of `Record` and `MessageRecord` (`challenge.py`), which are what callers see.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha1
from typing import Final

from otpsvc.challenge import NO_DESTINATION, VERSION, MessageRecord, Record, State
from otpsvc.message import Lane, MessageState

#: Operations that a record remembers.
OPS_KEPT: Final = 24
#: Message states by the number under which records keep them.
STATES: Final = {state: at for at, state in enumerate(MessageState)}
QUEUED: Final = STATES[MessageState.QUEUED]
SENDING: Final = STATES[MessageState.SENDING]
SENT: Final = STATES[MessageState.SENT]
DELIVERED: Final = STATES[MessageState.DELIVERED]
FAILED: Final = STATES[MessageState.FAILED]
EXPIRED: Final = STATES[MessageState.EXPIRED]


@dataclass(slots=True)
class Challenge:
    """Times are milliseconds of the store's clock; `ops` holds (operation, outcome, number)."""

    created: float
    epoch: int
    max_attempts: int
    max_sends: int
    state: State = State.OPEN
    purpose: int = 0
    flags: int = 0
    kind: int = 0
    kid: bytes = bytes(4)
    gen: bytes = bytes(16)
    dest: bytes = NO_DESTINATION
    digest: bytes = bytes(16)
    gen_at: float = 0
    deadline: float = 0
    wait: float = 0
    due: float = 0
    attempts: int = 0
    sends: int = 0
    mstate: int = 0
    tries: int = 0
    uncertain: int = 0
    way: int = 0
    fence: int = 0
    route: str = ""
    reason: str = ""
    salt: bytes = b""
    ops: list[tuple[bytes, int, int]] = field(default_factory=list)
    blob: bytes = b""
    body: bytes = b""

    def has(self, flag: int) -> bool:
        return bool(self.flags & flag)

    @property
    def waits_for_code(self) -> bool:
        return self.state in (State.OPEN, State.FAILED)

    def mix(self, digest: bytes) -> bytes:
        """What is kept of a code's digest: bound to generation, purpose and destination."""
        bound = self.gen + bytes([self.purpose]) + self.dest + digest
        return sha1(bound, usedforsecurity=False).digest()[:16]

    def first_answer(self, op: bytes) -> int:
        """The outcome of an operation that was done before; 0 when it was not."""
        return next((outcome for known, outcome, _ in self.ops if known == op), 0)

    def remember(self, op: bytes, outcome: int, number: int) -> None:
        self.ops = [*self.ops, (op, outcome, number)][-OPS_KEPT:]

    def drop_queued(self) -> None:
        """It was closed: a message that nobody holds yet is not sent."""
        if self.mstate == QUEUED:
            self.mstate = 0
        self.body = b""

    def record(self) -> Record:
        """As callers see it."""
        ops = b"".join(op + bytes([outcome, number]) for op, outcome, number in self.ops)
        return Record(
            VERSION, self.state, self.purpose, self.flags, self.kind, self.kid, self.gen, self.dest,
            self.digest, self.created, self._after(self.gen_at), self._after(self.deadline),
            self._after(self.wait), self._after(self.due), self.epoch, self.attempts, self.max_attempts,
            self.sends, self.max_sends, self.mstate, self.tries, self.uncertain, self.way, self.fence,
            self.route, self.reason, self.salt, ops, self.blob, self.body,
        )  # fmt: skip

    def _after(self, moment: float) -> int:
        return max(0, min(int(moment - self.created), 0xFFFFFFFF))


@dataclass(slots=True)
class Parcel:
    """A raw message or an event in the outbox. Times are milliseconds of the store's clock."""

    kind: int
    created: float
    deadline: float
    due: float
    route: str
    lane: Lane
    meta: bytes
    body: bytes
    mstate: int = QUEUED
    tries: int = 0
    uncertain: int = 0
    way: int = 0
    fence: int = 0
    reason: str = ""

    def record(self) -> MessageRecord:
        """As callers see it."""
        return MessageRecord(
            VERSION, self.kind, self.mstate, self.tries, self.uncertain, self.way, self.fence,
            self.created, self.deadline, self.due, self.route, self.lane, self.reason, self.meta, self.body,
        )  # fmt: skip


def doubt(held: Challenge | Parcel) -> None:
    """One that another worker left: the far end may have it, even when its time is over."""
    if held.mstate == SENDING:
        held.uncertain = min(held.uncertain + 1, 255)


def hold(held: Challenge | Parcel, *, now: float, lease: int) -> None:
    """A worker takes a message."""
    doubt(held)
    held.mstate, held.tries = SENDING, min(held.tries + 1, 255)
    held.fence, held.due = held.fence % 65535 + 1, now + lease
