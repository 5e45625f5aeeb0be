"""One challenge as it is kept: its packed record, and how its state reads.

The layout is shared with the scripts (`stores/lua/prelude.lua`); change them together.
Header, little-endian: version, state, purpose, flags, address kind (1 byte each), key
id (4), generation (16), destination digest (16), code digest (16), created (double, ms
since the epoch), then as milliseconds after it: generation's begin, deadline, next send
allowed, message due (4 each); clock epoch (2), attempts, max attempts, sends, max sends,
message state, tries, uncertain, way (1 each), fence (2). Then length-prefixed: route,
reason, salt, operations (1 byte of length), sealed blob, sealed body (2 bytes).
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag
from typing import NamedTuple

from otpsvc.message import MessageState
from otpsvc.tenant import PURPOSES, Purpose


class State(IntEnum):
    """Of a challenge. `FAILED`: its message failed; a resend revives it."""

    OPEN = 0
    VERIFIED = 1
    LOCKED = 2
    CANCELLED = 3
    FAILED = 4
    VOID = 5
    EXPIRED = 6


class Flag(IntFlag):
    """Bits of a record."""

    NONE = 0
    TRUSTED = 1
    SLOW_HASH = 2
    SUPPLIED = 4
    CALLBACK = 8
    RECEIPT_USED = 16
    CONSUMED = 32
    #: The address was given on our page, where it may be corrected.
    COLLECTED = 64
    #: Kept for a minute after its end, for clients who tell "expired" from "wrong".
    LINGERS = 128


#: Stored by position, shared by challenges and messages; append only.
MESSAGE_STATES: tuple[MessageState, ...] = (
    MessageState.NONE,
    MessageState.QUEUED,
    MessageState.SENDING,
    MessageState.SENT,
    MessageState.DELIVERED,
    MessageState.FAILED,
    MessageState.EXPIRED,
)

VERSION = 1
HEAD = struct.Struct("<BBBBB4s16s16s16sdIIIIHBBBBBBBBH")
NO_DESTINATION = bytes(16)
#: Outcomes in the list of operations.
CREATED, WRONG, VERIFIED_BY, CANCELLED_BY, SPENT = 1, 2, 3, 4, 5


class Record(NamedTuple):
    """A challenge's packed record, unpacked. Times are milliseconds of the store's clock."""

    version: int
    state: State
    purpose_at: int
    flags: int
    kind: int
    kid: bytes
    gen: bytes
    dest: bytes
    digest: bytes
    created: float
    gen_at: int
    deadline_after: int
    wait_after: int
    due_after: int
    epoch: int
    attempts: int
    max_attempts: int
    sends: int
    max_sends: int
    mstate: int
    tries: int
    uncertain: int
    way: int
    fence: int
    route: str
    reason: str
    salt: bytes
    ops: bytes
    blob: bytes
    body: bytes

    @property
    def purpose(self) -> Purpose:
        return PURPOSES[self.purpose_at]

    @property
    def deadline(self) -> float:
        """Milliseconds since the epoch, by the store's clock."""
        return self.created + self.deadline_after

    @property
    def wait_until(self) -> float:
        """Milliseconds since the epoch: when the next send is allowed; of a verified one, when it was."""
        return self.created + self.wait_after

    @property
    def due_at(self) -> float:
        """Milliseconds since the epoch: when its message is due, or when that was sent or failed."""
        return self.created + self.due_after

    @property
    def message_state(self) -> MessageState:
        return MESSAGE_STATES[self.mstate]

    @property
    def slow_hash(self) -> bool:
        return bool(self.flags & Flag.SLOW_HASH)

    def seconds_left(self, now: float) -> int:
        """Whole seconds until the deadline, rounded up, never below 0."""
        return max(0, -int((now - self.deadline) // 1000))

    def wait_left(self, now: float) -> int:
        """Whole seconds until the next send is allowed, rounded up, never below 0."""
        return max(0, -int((now - self.created - self.wait_after) // 1000))

    def closing_op(self) -> bytes:
        """The operation that verified this generation; empty when none did."""
        for at in range(0, len(self.ops), 10):
            if self.ops[at + 8] == VERIFIED_BY:
                return self.ops[at : at + 8]
        return b""


def unpack(raw: bytes) -> Record:
    """Read a packed record.

    Raises: ValueError when it was written by a version that this one does not know.
    """
    if not raw or raw[0] != VERSION:
        raise ValueError("a challenge record of an unknown version")
    route, reason, salt, ops, blob, body = _strings(raw, HEAD.size, (1, 1, 1, 1, 2, 2))
    return Record._make((*HEAD.unpack_from(raw), route.decode(), reason.decode(), salt, ops, blob, body))


class EventMeta(NamedTuple):
    """What a final event says besides the challenge's sealed blob."""

    kind: str
    purpose: Purpose
    attempts: int
    message_state: MessageState
    uncertain: int
    sends: int
    gen: bytes
    at: float
    challenge: str
    route: str
    reason: str


class MessageRecord(NamedTuple):
    """A raw message or an event in the outbox. Times are milliseconds of the store's clock."""

    version: int
    kind: int
    mstate: int
    tries: int
    uncertain: int
    way: int
    fence: int
    created: float
    deadline: float
    due: float
    route: str
    lane: str
    reason: str
    meta: bytes
    body: bytes

    @property
    def message_state(self) -> MessageState:
        return MESSAGE_STATES[self.mstate]


MESSAGE_HEAD = struct.Struct("<BBBBBBHddd")
EVENT, RAW = 1, 2


class RawMeta(NamedTuple):
    """What stands in front of a raw message's sealed body.

    `parts`: what it became when it was sent; `dest`: what the block list is asked by;
    `fingerprint`: of the whole command, so that a repeat can be told from another.
    """

    parts: int
    dest: bytes
    fingerprint: bytes


_RAW_META = struct.Struct("<B16s16s")


def pack_raw(dest: bytes, fingerprint: bytes) -> bytes:
    """The meta of a raw message not sent yet. `claim.lua` reads `dest`, `progress.lua` sets `parts`."""
    return _RAW_META.pack(0, dest, fingerprint)


def unpack_raw(meta: bytes) -> RawMeta:
    """Read what `pack_raw` wrote."""
    return RawMeta._make(_RAW_META.unpack_from(meta))


_META = struct.Struct("<BBBBBB16sd")


def _strings(raw: bytes, at: int, widths: tuple[int, ...]) -> list[bytes]:
    parts = []
    for width in widths:
        size = int.from_bytes(raw[at : at + width], "little")
        at += width
        parts.append(raw[at : at + size])
        at += size
    return parts


def unpack_message(raw: bytes) -> MessageRecord:
    """Read a packed message. Raises: ValueError for an unknown version."""
    if not raw or raw[0] != VERSION:
        raise ValueError("a message record of an unknown version")
    route, lane, reason, meta, body = _strings(raw, MESSAGE_HEAD.size, (1, 1, 1, 1, 2))
    head = MESSAGE_HEAD.unpack_from(raw)
    return MessageRecord._make((*head, route.decode(), lane.decode(), reason.decode(), meta, body))


def unpack_event(meta: bytes) -> EventMeta:
    """Read what `prelude.lua` wrote in front of an event's sealed blob."""
    kind, purpose, attempts, mstate, uncertain, sends, gen, at = _META.unpack_from(meta)
    challenge, route, reason = _strings(meta, _META.size, (1, 1, 1))
    return EventMeta(
        kind=chr(kind),
        purpose=PURPOSES[purpose],
        attempts=attempts,
        message_state=MESSAGE_STATES[mstate],
        uncertain=uncertain,
        sends=sends,
        gen=gen,
        at=at,
        challenge=challenge.decode(),
        route=route.decode(),
        reason=reason.decode(),
    )
