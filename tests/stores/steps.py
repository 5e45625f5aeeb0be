"""Steps of the contract test with the arguments that it is not about filled in."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from otpsvc.challenge import NO_DESTINATION, Flag, pack_raw
from otpsvc.message import Lane, MessageState
from otpsvc.refusal import seconds as seconds_of
from otpsvc.store import Batch, Claimed, Creation, Guess, Offer, Posting, Resend, Store
from otpsvc.stores.memory import MemoryStore
from otpsvc.tenant import Rate

SHOP, BANK = "shop", "bank"
N = "challenge-of-alice"
#: Two destinations, two clients, and digests of codes.
HERE, THERE = b"A" * 16, b"B" * 16
ALICE, MALLORY = b"alice   ", b"mallory "
RIGHT, WRONG, OTHER = b"right" + bytes(11), b"wrong" + bytes(11), b"other" + bytes(11)
KID, OTHER_KID = b"key1", b"key2"
SALT = b"salt"
#: Of a status: no purpose needs a receipt; every purpose does.
FREE, NEEDED = "000", "111"
LEASE = 30_000
#: Seconds that a real server's clock may go on between two steps of a test.
SLACK = 20
#: The fingerprint of a command.
PRINT = b"fingerprint of 1"
BIG = (Rate(1000, 600), Rate(1000, 600), Rate(1000, 600))


def op() -> bytes:
    return os.urandom(8)


def creation(**changes: Any) -> Creation:
    """A first create: one code to `HERE` by the route "mail", no budget, no waits."""
    plain = Creation(
        tenant=SHOP,
        n=N,
        op=op(),
        gen=os.urandom(16),
        kid=KID,
        purpose=0,
        flags=0,
        kind=1,
        dest=HERE,
        digest=RIGHT,
        salt=b"",
        route="mail",
        ttl=300_000,
        cap=86_400_000,
        max_attempts=5,
        max_sends=4,
        waits=(),
        blob=b"sealed",
        body=b"",
        sends=None,
    )
    return msgspec.structs.replace(plain, **changes)


def without_address(**changes: Any) -> Creation:
    """A create whose address is not known yet: nothing is sent."""
    return creation(**{"dest": NO_DESTINATION, "digest": b"", "route": "", "kind": 0, **changes})


def slow(**changes: Any) -> Creation:
    """A create whose code is behind argon2id."""
    return creation(**{"flags": int(Flag.SLOW_HASH), "salt": SALT, "body": b"sealed code", **changes})


def resend(gen: bytes, **changes: Any) -> Resend:
    plain = Resend(tenant=SHOP, n=N, op=op(), waits=(), sends=None, lease=0, gen=gen)
    return msgspec.structs.replace(plain, **changes)


def guess(digest: bytes = RIGHT, **changes: Any) -> Guess:
    """One check with one offer and budgets off."""
    offers = (Offer("h", KID, digest),)
    plain = Guess(tenant=SHOP, n=N, op=op(), client=ALICE, limits=None, offers=offers)
    return msgspec.structs.replace(plain, **changes)


def lasts(store: Store, ms: float, seconds: int) -> bool:
    """Whether it takes so many seconds, rounded up, less what went by since: in memory nothing does."""
    least = seconds if isinstance(store, MemoryStore) else seconds - SLACK
    return least <= seconds_of(ms) <= seconds


async def status(store: Store, *, n: str = N, op: bytes = b"", **changes: Any) -> str:
    """The outcome of a status that needs no receipt."""
    asked: dict[str, Any] = {"needs": FREE, "receipt": None, **changes}
    return (await store.status(SHOP, n, op or os.urandom(8), **asked)).outcome


async def claim(store: Store, route: str = "mail", lane: Lane = "otp", *, limit: int = 10) -> list[Claimed]:
    return (await claim_batch(store, route, lane, limit=limit)).taken


async def claim_batch(store: Store, route: str = "mail", lane: Lane = "otp", *, limit: int = 10) -> Batch:
    return await store.claim(SHOP, route, lane, limit=limit, lease=LEASE)


async def events(store: Store) -> list[Claimed]:
    """The events that are due now; they stay claimed."""
    return await claim(store, "callback", "event", limit=100)


async def finish(
    store: Store,
    claimed: Claimed,
    state: MessageState = MessageState.SENT,
    *,
    reason: str = "",
    uncertain: bool = False,
    parts: int = 0,
) -> str:
    return await store.finish(claimed, state=state, way=0, reason=reason, uncertain=uncertain, parts=parts)


async def later(store: Store, claimed: Claimed, *, delay: int = 1000, **changes: Any) -> str:
    said: dict[str, Any] = {"way": 0, "reason": "busy", "uncertain": False, **changes}
    return await store.later(claimed, delay=delay, **said)


def posting(n: str = "m1", **changes: Any) -> Posting:
    """A raw message to `HERE` by the route "sms", no budget, no name under which it is known again."""
    plain = Posting(
        tenant=SHOP,
        n=n,
        route="sms",
        ttl=60_000,
        dest=HERE,
        meta=pack_raw(HERE, PRINT),
        body=b"sealed text",
        sends=None,
    )
    if "dest" in changes:
        changes["meta"] = pack_raw(changes["dest"], PRINT)
    return msgspec.structs.replace(plain, **changes)


async def enqueue(store: Store, n: str = "m1", **changes: Any) -> str:
    return (await store.enqueue(posting(n, **changes))).outcome


async def raw_state(store: Store, n: str = "m1") -> tuple[MessageState, str]:
    """A raw message's state, and the reason of it."""
    record = await store.message(SHOP, n)
    assert record
    return record.message_state, record.reason


async def state_of(store: Store, n: str = N) -> tuple[MessageState, int, int, str]:
    """A challenge's message: its state, tries, doubts, reason."""
    record = (await store.read(SHOP, n)).record
    assert record
    return record.message_state, record.tries, record.uncertain, record.reason
