"""The outbox in the memory store: what is due, who holds it, what came of it."""

from __future__ import annotations

import time
from typing import Final

from otpsvc.challenge import RAW, unpack_raw
from otpsvc.message import Lane, MessageState
from otpsvc.step import Batch, Claimed
from otpsvc.stores.memory_challenge import (
    EXPIRED,
    FAILED,
    QUEUED,
    SENDING,
    SENT,
    STATES,
    Challenge,
    Parcel,
    doubt,
    hold,
)
from otpsvc.stores.memory_space import DAY, HOUR, Space

__all__ = ["Outbox"]

#: Why a message was not sent.
BLOCKED: Final = "blocked"


class Outbox:
    """One (route, lane) of a tenant, for one step."""

    def __init__(self, space: Space, route: str, lane: Lane) -> None:
        self._space = space
        self._route = route
        self._lane = lane
        self._queue = space.queue(route, lane)
        self._ended = 0

    def claim(self, limit: int, lease: int) -> Batch:
        """As `Store.claim`."""
        space, taken = self._space, list[Claimed]()
        # What turned out to be dead makes room for more, once.
        for _ in range(2):
            due = sorted((at, member) for member, at in self._queue.items() if at <= space.now)
            for _, member in due[: limit - len(taken)]:
                held = self._take(member, lease)
                if held is not None:
                    taken.append(self._claimed(member, held))
        return Batch(space.now, float(min(self._queue.values(), default=-1)), taken, self._ended)

    def _take(self, member: str, lease: int) -> Challenge | Parcel | None:
        kind, n = member[0], member[1:]
        if kind == "x":
            self._expire(member, n)
            return None
        if kind == "c":
            held: Challenge | Parcel | None = self._challenge(n)
        else:
            held = self._parcel(n)
        if held is None:
            del self._queue[member]
            return None
        hold(held, now=self._space.now, lease=lease)
        self._queue[member] = held.due
        self._space.save(n, held)
        return held

    def _challenge(self, n: str) -> Challenge | None:
        """The challenge when its message may still be sent; else it is marked as failed."""
        space, c = self._space, self._space.challenge(n)
        if c is None or not self._waits(c) or not c.waits_for_code:
            return None
        alive = c.epoch == space.epoch and space.now < c.deadline
        if alive and c.dest not in space.blocks:
            return c
        doubt(c)
        self._ended += 1
        if alive:
            space.fail_send(n, c, BLOCKED)
        elif c.epoch != space.epoch:
            c.mstate, c.reason, c.body = FAILED, "store_restarted", b""
            space.end(n, c)
        else:
            c.mstate, c.reason, c.body = EXPIRED, "deadline", b""
        space.keep(n, c)
        return None

    def _parcel(self, n: str) -> Parcel | None:
        space, parcel = self._space, self._space.parcel(n)
        if parcel is None or not self._waits(parcel):
            return None
        late = space.now >= parcel.deadline
        if not late and not (parcel.kind == RAW and unpack_raw(parcel.meta).dest in space.blocks):
            return parcel
        self._ended += 1
        doubt(parcel)
        parcel.mstate, parcel.reason = (EXPIRED, "deadline") if late else (FAILED, BLOCKED)
        parcel.body = b""
        space.keep_parcel(n, parcel)
        return None

    def _waits(self, held: Challenge | Parcel) -> bool:
        return held.route == self._route and held.mstate in (QUEUED, SENDING)

    def _expire(self, member: str, n: str) -> None:
        """The deadline of a challenge that owes an event has come."""
        space, c = self._space, self._space.challenge(n)
        if c and c.waits_for_code and c.epoch == space.epoch and space.now < c.deadline:
            self._queue[member] = c.deadline
            return
        del self._queue[member]
        if c:
            space.end(n, c)

    def _claimed(self, member: str, held: Challenge | Parcel) -> Claimed:
        left, at = (held.deadline - self._space.now) / 1000, time.monotonic()
        place = (self._space.tenant, self._route, self._lane, member, held.fence)
        if isinstance(held, Challenge):
            return Claimed(*place, held.gen, held.record(), None, left, at)
        return Claimed(*place, b"", None, held.record(), left, at)

    # What a worker says of a message that it holds.

    def _held(self, claimed: Claimed, *, uncertain: bool = False) -> Challenge | Parcel | None:
        held: Challenge | Parcel | None
        if claimed.challenge is not None:
            held = self._space.challenge(claimed.n)
            if held and held.gen != claimed.gen:
                return None
        else:
            held = self._space.parcel(claimed.n)
        # One that ended on its way (closed, too late) still hears what the far end said in the end.
        if held is None or held.fence != claimed.fence or held.mstate not in (SENDING, EXPIRED):
            return None
        # A doubt is kept even when the challenge was closed in the meantime.
        held.uncertain = min(held.uncertain + uncertain, 255)
        return held

    def beat(self, claimed: Claimed, *, lease: int) -> str:
        """As `Store.beat`."""
        held = self._held(claimed)
        if held is None:
            return "lost"
        if self._over(claimed, held):
            return "ended"
        return self._put_back(claimed, held, lease)

    def later(self, claimed: Claimed, *, delay: int, way: int, reason: str, uncertain: bool) -> str:
        """As `Store.later`."""
        held = self._held(claimed, uncertain=uncertain)
        if held is None:
            return "lost"
        if self._over(claimed, held):
            return "ended"
        if way != held.way:
            held.tries = 0
        held.mstate, held.way, held.reason = QUEUED, way, reason
        return self._put_back(claimed, held, delay)

    def _put_back(self, claimed: Claimed, held: Challenge | Parcel, delay: int) -> str:
        held.due = self._space.now + delay
        self._queue[claimed.member] = held.due
        self._space.save(claimed.n, held)
        return "ok"

    def _over(self, claimed: Claimed, held: Challenge | Parcel) -> bool:
        now, reason = self._space.now, ""
        if now >= held.deadline:
            reason = "deadline"
        if isinstance(held, Challenge):
            if held.epoch != self._space.epoch:
                reason = "store_restarted"
            elif not reason and not held.waits_for_code:
                reason = "closed"
        if not reason:
            return False
        self._queue.pop(claimed.member, None)
        held.mstate, held.body, held.reason = EXPIRED, b"", reason
        self._space.save(claimed.n, held)
        return True

    def finish(
        self,
        claimed: Claimed,
        *,
        state: MessageState,
        way: int,
        reason: str,
        uncertain: bool,
        parts: int,
    ) -> str:
        """As `Store.finish`."""
        held, space = self._held(claimed, uncertain=uncertain), self._space
        if held is None:
            return "lost"
        held.mstate, held.reason, held.body, held.way = STATES[state], reason, b"", way
        self._queue.pop(claimed.member, None)
        if isinstance(held, Challenge):
            # When it was: pages tell it.
            held.due = space.now
            if held.mstate == FAILED:
                space.fail_send(claimed.n, held, reason)
        elif held.kind == RAW:
            held.meta = bytes([min(parts, 255)]) + held.meta[1:]
        elif held.mstate == SENT:
            space.parcels.drop(claimed.n)
            # A message can fail once more after a resend; the other events cannot repeat.
            space.delivered.put(claimed.n, True, space.now + (DAY if held.meta[:1] == b"f" else HOUR))
            return "ok"
        space.save(claimed.n, held)
        return "ok"
