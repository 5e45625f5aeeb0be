"""Random sequences of steps give the same answers from the memory store as from Redis.

Time goes by in hundreds of seconds, and times are compared in hundreds of seconds: what a
real server loses between two steps does not matter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from otpsvc.challenge import EVENT, Flag, MessageRecord, Record, unpack_event, unpack_raw
from otpsvc.message import MessageState
from otpsvc.store import ALL, Answer, Batch, Claimed, Offer, Once, Posted, Store
from otpsvc.tenant import Rate
from tests.far_ends.valkey import ValkeyServer
from tests.stores.places import MemoryPlace, RedisPlace, answering
from tests.stores.steps import (
    ALICE,
    FREE,
    HERE,
    KID,
    MALLORY,
    NEEDED,
    OTHER,
    OTHER_KID,
    RIGHT,
    SHOP,
    THERE,
    WRONG,
    creation,
    guess,
    posting,
    resend,
    without_address,
)

IDS = st.sampled_from(["one", "two"])
OPS = st.integers(0, 30).map(lambda number: b"op%06d" % number)
GENS = st.integers(0, 9).map(lambda number: b"generation%06d" % number)
FLAGS = st.sampled_from(
    [
        Flag.NONE,
        Flag.CALLBACK,
        Flag.CALLBACK | Flag.TRUSTED,
        Flag.SUPPLIED,
        Flag.SLOW_HASH,
        Flag.COLLECTED,
    ]
)
ONCES = st.none() | st.builds(Once, st.sampled_from(["k1", "k2"]), st.sampled_from([b"f" * 16, b"g" * 16]))
SENDS = st.sampled_from([None, Rate(4, 1000)])
LIMITS = (Rate(2, 1000), Rate(3, 1000), Rate(1, 1000))
DIGESTS = st.sampled_from([RIGHT, RIGHT, WRONG, OTHER])
LEASE, CAP, DAYS = 100_000, 1_900_000, 200_000_000
RAWS = st.sampled_from(["m1", "m2", "m3", "m4"])
DESTS = st.sampled_from([HERE, HERE, THERE])
FEEDERS = st.sampled_from(["mqtt", "other"])
PLACES = [("mail", "otp"), ("mail", "otp"), ("sms", "otp"), ("callback", "event"), ("sms", "message")]


class Sequences(RuleBasedStateMachine):
    """Each rule takes one step in both stores and compares what they say."""

    def __init__(self, server: ValkeyServer) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.memory = MemoryPlace()
        self.redis = self.runner.run(_made(server))
        self.held: list[tuple[Claimed, Claimed]] = []
        self.gens: dict[str, bytes] = {}

    def teardown(self) -> None:
        assert self.redis.endless() == []
        self.runner.run(self.redis.close())
        self.runner.close()

    def both(self, step: Callable[[Store], Awaitable[Any]]) -> tuple[Any, Any]:
        async def taken() -> tuple[Any, Any]:
            return await step(self.memory.store), await step(self.redis.store)

        mine, theirs = self.runner.run(taken())
        assert plain(mine) == plain(theirs)
        return mine, theirs

    def note(self, n: str, answer: Answer) -> None:
        if answer.record:
            self.gens[n] = answer.record.gen

    @initialize()
    def begin(self) -> None:
        assert self.memory.endless() == self.redis.endless() == []

    @rule(seconds=st.sampled_from([100, 200, 500, 1000, 3000]))
    def advance(self, seconds: int) -> None:
        self.memory.advance(seconds)
        self.redis.advance(seconds)

    @rule(
        n=IDS, op=OPS, gen=GENS, flags=FLAGS, once=ONCES, sends=SENDS, digest=DIGESTS,
        dest=st.sampled_from([HERE, HERE, THERE]), purpose=st.sampled_from([0, 0, 1]),
        route=st.sampled_from(["mail", "mail", "sms"]), ttl=st.sampled_from([500_000, 900_000]),
        waits=st.sampled_from([(), (300, 600)]), limit=st.integers(1, 4), lease=st.sampled_from([0, LEASE]),
    )  # fmt: skip
    def create(self, n: str, limit: int, flags: int, **asked: Any) -> None:
        step = creation(n=n, cap=CAP, max_attempts=limit, max_sends=limit + 1, flags=int(flags), **asked)
        mine, _ = self.both(lambda store: store.create(step))
        self.note(n, mine)

    @rule(
        n=IDS, op=OPS, flags=FLAGS, digest=DIGESTS, dest=st.sampled_from([HERE, THERE]),
        route=st.sampled_from(["mail", "sms"]), old=st.booleans(), waits=st.sampled_from([(), (300, 600)]),
    )  # fmt: skip
    def direct(self, n: str, old: bool, flags: int, **asked: Any) -> None:
        pin = b"generation------" if old else self.gens.get(n, bytes(16))
        step = creation(n=n, gen=pin, pin=pin, cap=CAP, ttl=900_000, flags=int(flags), **asked)
        mine, _ = self.both(lambda store: store.create(step))
        self.note(n, mine)

    @rule(n=IDS, op=OPS, gen=GENS, flags=FLAGS)
    def create_without_address(self, n: str, op: bytes, gen: bytes, flags: int) -> None:
        step = without_address(n=n, op=op, gen=gen, flags=int(flags), ttl=900_000)
        mine, _ = self.both(lambda store: store.create(step))
        self.note(n, mine)

    @rule(n=IDS, op=OPS, digest=DIGESTS, sends=SENDS, lease=st.sampled_from([0, LEASE]))
    def resend(self, n: str, **asked: Any) -> None:
        known = self.gens.get(n, bytes(16))
        step = resend(known, n=n, waits=(300, 600), kid=KID, salt=b"salt2", **asked)
        mine, _ = self.both(lambda store: store.resend(step))
        self.note(n, mine)

    @rule(
        n=IDS, op=OPS, digest=DIGESTS, kid=st.sampled_from([KID, KID, KID, OTHER_KID]),
        client=st.sampled_from([ALICE, MALLORY]), limits=st.sampled_from([None, LIMITS]),
        open_most=st.sampled_from([0, 0, 1, 2]), page=st.sampled_from(["", "", "this", "old"]),
    )  # fmt: skip
    def check(self, n: str, digest: bytes, kid: bytes, page: str, **asked: Any) -> None:
        offers = (Offer("h", kid, digest), Offer("a", kid, digest))
        gen = {"": b"", "this": self.gens.get(n, b""), "old": b"generation------"}[page]
        step = guess(n=n, offers=offers, gen=gen, **asked)
        self.both(lambda store: store.check(step))

    @rule(n=IDS, op=OPS, closing=OPS, needs=st.sampled_from([FREE, NEEDED]), consume=st.booleans())
    def status(self, n: str, op: bytes, closing: bytes, needs: str, consume: bool) -> None:
        proof = (self.gens.get(n, bytes(16)), closing) if needs == NEEDED else None
        self.both(lambda store: store.status(SHOP, n, op, needs=needs, receipt=proof, consume=consume))

    @rule(n=IDS)
    def read(self, n: str) -> None:
        self.both(lambda store: store.read(SHOP, n))

    @rule(n=IDS, op=OPS)
    def cancel(self, n: str, op: bytes) -> None:
        self.both(lambda store: store.cancel(SHOP, n, op))

    @rule(
        n=RAWS, dest=DESTS, route=st.sampled_from(["mail", "sms"]), ttl=st.sampled_from([500_000, 900_000]),
        sends=SENDS, once=st.sampled_from(["", "k1", "k2"]), once_life=st.sampled_from([700_000, DAYS]),
    )  # fmt: skip
    def enqueue(self, n: str, **asked: Any) -> None:
        step = posting(n, **asked)
        self.both(lambda store: store.enqueue(step))

    @rule(n=RAWS)
    def message(self, n: str) -> None:
        async def told(store: Store) -> Any:
            record = await store.message(SHOP, n)
            return record and _message(record, (await store.read(SHOP, "nobody")).now)

        self.both(told)

    @rule(dest=DESTS, scope=st.sampled_from([SHOP, SHOP, ALL]), out=st.booleans())
    def block(self, dest: bytes, scope: str, out: bool) -> None:
        self.both(lambda store: store.unblock(scope, dest) if out else store.block(scope, dest, b"sealed"))
        self.both(lambda store: store.reserve([], dest))

    @rule(id=st.sampled_from(["t1", "t2", "t3", "t4"]), life=st.sampled_from([500_000, 900_000]))
    def keep_text(self, id: str, life: int) -> None:
        self.both(lambda store: store.keep_text(SHOP, id, b"sealed", life=life, most=3))

    @rule(limit=st.integers(1, 3))
    def texts(self, limit: int) -> None:
        async def told(store: Store) -> Any:
            now = (await store.read(SHOP, "nobody")).now
            return [(kept.id, rough(kept.at - now)) for kept in await store.texts(SHOP, limit=limit)]

        self.both(told)

    @rule(feeder=FEEDERS, told=st.booleans())
    def unread(self, feeder: str, told: bool) -> None:
        async def read(store: Store) -> Any:
            ids = [kept.id for kept in await store.unread(SHOP, feeder, limit=2)]
            if told and ids:
                await store.advance(SHOP, feeder, ids[-1])
            return ids

        self.both(read)

    @rule(name=st.sampled_from(["f1", "f2"]), token=OPS, within=st.sampled_from([0, 500_000, 900_000]))
    def first(self, name: str, token: bytes, within: int) -> None:
        self.both(lambda store: store.first(SHOP, name, token, life=900_000, within=within))

    @rule(token=st.sampled_from([b"one", b"two"]), life=st.sampled_from([500_000, 900_000]), on=st.booleans())
    def hold(self, token: bytes, life: int, on: bool) -> None:
        self.both(
            lambda store: store.hold("line", token, life=life) if on else store.release("line", token),
        )

    @rule(feeder=FEEDERS, n=RAWS, life=st.sampled_from([500_000, 900_000]))
    def watch(self, feeder: str, n: str, life: int) -> None:
        self.both(lambda store: store.watch(SHOP, feeder, [(n, b"new")], life=life, most=3))

    @rule(feeder=FEEDERS, n=RAWS, sealed=st.sampled_from([b"told", b""]))
    def rewatch(self, feeder: str, n: str, sealed: bytes) -> None:
        async def changed(store: Store) -> Any:
            await store.rewatch(SHOP, feeder, n, sealed)
            return sorted(await store.watched(SHOP, feeder))

        self.both(changed)

    @rule(place=st.sampled_from(PLACES))
    def claim(self, place: Any) -> None:
        mine, theirs = self.both(lambda store: store.claim(SHOP, *place, limit=100, lease=LEASE))
        for one, other in zip(_sorted(mine), _sorted(theirs), strict=True):
            self.held.append((one, other))

    def last(self, step: Callable[[Store, Claimed], Awaitable[str]], which: int) -> None:
        """A step of one of the messages that were claimed last."""
        if not self.held:
            return
        one, other = self.held[-1 - which % len(self.held)]

        async def taken() -> tuple[str, str]:
            return await step(self.memory.store, one), await step(self.redis.store, other)

        mine, theirs = self.runner.run(taken())
        assert mine == theirs

    @rule(which=st.integers(0, 2), state=st.sampled_from([MessageState.SENT, MessageState.FAILED]))
    def finish(self, which: int, state: MessageState) -> None:
        said: Any = {"state": state, "way": 1, "reason": "r", "uncertain": False, "parts": which}
        self.last(lambda s, held: s.finish(held, **said), which)

    @rule(which=st.integers(0, 2), ok=st.booleans(), later=st.sampled_from([0, 0, 0, 1]))
    def report(self, which: int, ok: bool, later: int) -> None:
        def step(store: Store, held: Claimed) -> Awaitable[str]:
            sends = held.challenge.sends + later if held.challenge else 0
            return store.report(SHOP, held.member, gen=held.gen[:4], sends=sends, ok=ok)

        self.last(step, which)

    @rule(which=st.integers(0, 2), way=st.integers(0, 1), uncertain=st.booleans())
    def later(self, which: int, **said: Any) -> None:
        self.last(lambda s, held: s.later(held, delay=100_000, reason="busy", **said), which)

    @rule(which=st.integers(0, 2))
    def beat(self, which: int) -> None:
        self.last(lambda s, held: s.beat(held, lease=LEASE), which)


async def _made(server: ValkeyServer) -> RedisPlace:
    place = RedisPlace(server.path, server.restart)
    await answering(place.store)
    return place


def _sorted(batch: Batch) -> list[Claimed]:
    return sorted(batch.taken, key=lambda claimed: claimed.member)


def rough(ms: float) -> int:
    return round(ms / 100_000)


def plain(said: Any) -> Any:
    """What a store said, with times in hundreds of seconds from now on."""
    if isinstance(said, Answer):
        return said.outcome, rough(said.wait), said.record and _challenge(said.record, said.now)
    if isinstance(said, Posted):
        return said.outcome, said.n, rough(said.wait), said.record and _message(said.record, said.now)
    if isinstance(said, Batch):
        taken = [_held(claimed, said.now) for claimed in _sorted(said)]
        return taken, said.ended, None if said.next_due < 0 else rough(said.next_due - said.now)
    return said


def _held(claimed: Claimed, now: float) -> Any:
    record: Any = claimed.challenge and _challenge(claimed.challenge, now)
    return claimed.member, claimed.fence, claimed.gen, record or _message(claimed.record, now)


def _challenge(record: Record, now: float) -> Any:
    r = record
    times = [rough(r.created + ms - now) for ms in (0, r.gen_at, r.deadline_after, r.wait_after, r.due_after)]
    return r._replace(created=0, gen_at=0, deadline_after=0, wait_after=0, due_after=0), times


def _message(record: Any, now: float) -> Any:
    assert isinstance(record, MessageRecord)
    times = [rough(record.created - now), rough(record.deadline - now), rough(record.due - now)]
    event = record.kind == EVENT
    meta: Any = unpack_event(record.meta)._replace(at=0) if event else unpack_raw(record.meta)
    return record._replace(created=0, deadline=0, due=0, meta=b""), meta, times


def test_memory_and_redis_agree(redis_server: ValkeyServer) -> None:
    class Here(Sequences):
        def __init__(self) -> None:
            super().__init__(redis_server)

    run_state_machine_as_test(Here, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))
