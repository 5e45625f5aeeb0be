"""Raw messages in the memory store, and the news of messages that were sent."""

from __future__ import annotations

from typing import Final

from otpsvc.challenge import RAW
from otpsvc.step import Posted, Posting
from otpsvc.stores.memory_challenge import DELIVERED, FAILED, SENDING, SENT, Challenge, Parcel
from otpsvc.stores.memory_space import Space

__all__ = ["enqueue", "report"]

#: Why a message failed after it was sent.
UNDELIVERED: Final = "not delivered"


def enqueue(space: Space, p: Posting) -> Posted:
    """As `Store.enqueue`."""
    now = space.now
    # This very call once more, whose answer was lost.
    if known := space.parcel(p.n):
        return Posted("queued", now, p.n, known.record())
    first = (space.raw_onces.get(p.once, now) or "") if p.once else ""
    if known := space.parcel(first):
        return Posted("known", now, first, known.record())
    if p.dest in space.blocks:
        return Posted("blocked", now)
    if wait := space.count_send(p.sends):
        return Posted("budget", now, wait=wait)
    parcel = Parcel(
        kind=RAW,
        created=now,
        deadline=now + p.ttl,
        due=now,
        route=p.route,
        lane=p.lane,
        meta=p.meta,
        body=p.body,
    )
    space.keep_parcel(p.n, parcel)
    if p.once:
        space.raw_onces.put(p.once, p.n, now + p.once_life)
    space.queue(p.route, p.lane)["m" + p.n] = now
    space.wake(p.route, p.lane)
    return Posted("queued", now, p.n, parcel.record())


def report(space: Space, member: str, *, gen: bytes, sends: int, ok: bool) -> str:
    """As `Store.report`."""
    kind, n = member[0], member[1:]
    held: Challenge | Parcel | None = space.challenge(n) if kind == "c" else space.parcel(n)
    if held is None or not _is_of(held, gen, sends):
        return "lost"
    if held.mstate == SENDING:
        return "early"
    if held.mstate == DELIVERED or (not ok and (held.mstate, held.reason) == (FAILED, UNDELIVERED)):
        return "ok"
    if held.mstate != SENT:
        return "lost"
    if ok:
        held.mstate = DELIVERED
    elif isinstance(held, Challenge):
        space.fail_send(n, held, UNDELIVERED)
    else:
        held.mstate, held.reason = FAILED, UNDELIVERED
    space.save(n, held)
    return "ok"


def _is_of(held: Challenge | Parcel, gen: bytes, sends: int) -> bool:
    """Whether news of this send are of what is kept now."""
    if isinstance(held, Challenge):
        return held.gen[:4] == gen[:4] and held.sends == sends
    return held.kind == RAW
