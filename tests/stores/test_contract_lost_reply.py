"""A reply is lost after its step ran: nothing runs twice, and the caller gets the first answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from otpsvc.challenge import Flag
from otpsvc.message import MessageState
from otpsvc.store import Once
from otpsvc.stores.redis import RedisStore
from otpsvc.tenant import Rate
from tests.far_ends.cut_proxy import CutProxy
from tests.stores.places import RedisPlace
from tests.stores.steps import (
    BIG,
    HERE,
    KID,
    LEASE,
    NEEDED,
    OTHER,
    SHOP,
    WRONG,
    N,
    claim,
    claim_batch,
    creation,
    enqueue,
    events,
    finish,
    guess,
    lasts,
    later,
    op,
    posting,
    resend,
    slow,
    status,
)
from tests.waiting import PATIENCE

TWO = Rate(2, 600)


@pytest.fixture
async def between(real: RedisPlace) -> AsyncIterator[CutProxy]:
    async with CutProxy(real._url.removeprefix("unix://")) as proxy:
        yield proxy


@pytest.fixture
async def lossy(between: CutProxy) -> AsyncIterator[RedisStore]:
    """A node behind the proxy, connected already; `real.store` sees what really happened."""
    store = RedisStore(between.url, fenced=False, timeout=PATIENCE)
    await store.ping()
    yield store
    await store.close()


async def test_a_create_sends_once(lossy: RedisStore, between: CutProxy, real: RedisPlace) -> None:
    asked = creation(sends=TWO, flags=int(Flag.CALLBACK))
    await between.misbehave("loses_reply")
    answer = await lossy.create(asked)

    assert between.accepted == 2
    assert answer.outcome == "created"
    assert answer.record
    assert (answer.record.gen, answer.record.sends) == (asked.gen, 1)
    assert len(await claim(real.store)) == 1
    assert (await real.store.create(creation(n="other", sends=TWO))).outcome == "created"
    assert (await real.store.create(creation(n="third", sends=TWO))).outcome == "budget"


async def test_a_create_with_a_key_answers_its_own_create(lossy: RedisStore, between: CutProxy) -> None:
    once, first = Once("key", b"f" * 16), op()
    await between.misbehave("loses_reply")
    opened = await lossy.once(SHOP, once.name, once.fingerprint, first)
    await between.misbehave("loses_reply")
    answer = await lossy.create(creation(op=first, once=once))

    assert (opened.outcome, answer.outcome) == ("mine", "created")
    assert answer.record
    assert answer.record.sends == 1


async def test_a_create_that_its_caller_holds_is_held_by_it(
    lossy: RedisStore, between: CutProxy, real: RedisPlace
) -> None:
    await between.misbehave("loses_reply")
    record = (await lossy.create(creation(lease=LEASE))).record

    assert record
    assert (record.message_state, record.fence, record.tries) == (MessageState.SENDING, 1, 1)
    assert await claim(real.store) == []


@pytest.mark.parametrize(("digest", "outcome"), [(WRONG, "wrong"), (b"right" + bytes(11), "verified")])
async def test_a_check_counts_once(
    lossy: RedisStore, between: CutProxy, real: RedisPlace, digest: bytes, outcome: str
) -> None:
    await real.store.create(creation(flags=int(Flag.CALLBACK), max_attempts=2))
    limits = (TWO, *BIG[1:])
    await between.misbehave("loses_reply")
    answer = await lossy.check(guess(digest, limits=limits))

    assert answer.outcome == outcome
    assert answer.record
    assert answer.record.attempts == 1
    assert len(await events(real.store)) == (outcome == "verified")
    again = await real.store.check(guess(WRONG, limits=limits))
    assert again.outcome == ("closed" if outcome == "verified" else "wrong")


async def test_a_lost_verification_can_still_be_shown(
    lossy: RedisStore, between: CutProxy, real: RedisPlace
) -> None:
    await real.store.create(creation())
    await between.misbehave("loses_reply")
    record = (await lossy.check(guess())).record
    assert record
    receipt = (record.gen, record.closing_op())
    await between.misbehave("loses_reply")

    assert await status(lossy, needs=NEEDED, receipt=receipt) == "verified"
    assert await status(lossy, needs=NEEDED, receipt=receipt) == "open"


async def test_a_resend_sends_once(lossy: RedisStore, between: CutProxy, real: RedisPlace) -> None:
    record = (await real.store.create(creation(sends=TWO))).record
    assert record
    await between.misbehave("loses_reply")
    answer = await lossy.resend(resend(record.gen, sends=TWO))

    assert answer.outcome == "created"
    assert answer.record
    assert (answer.record.gen, answer.record.sends) == (record.gen, 2)
    assert len(await claim(real.store)) == 1
    assert (await real.store.create(creation(n="third", sends=TWO))).outcome == "budget"


async def test_a_resend_that_replaces_the_code_replaces_it_once(
    lossy: RedisStore, between: CutProxy, real: RedisPlace
) -> None:
    record = (await real.store.create(slow())).record
    assert record
    await between.misbehave("loses_reply")
    answer = await lossy.resend(resend(record.gen, kid=KID, digest=OTHER, salt=b"s"))

    assert answer.outcome == "created"
    assert answer.record
    assert (answer.record.salt, answer.record.sends) == (b"s", 2)


async def test_a_cancel_and_a_consume_are_answered(
    lossy: RedisStore, between: CutProxy, real: RedisPlace
) -> None:
    await real.store.create(creation())
    await real.store.create(creation(n="two"))
    await real.store.check(guess(n="two"))
    await between.misbehave("loses_reply")
    assert (await lossy.cancel(SHOP, N, op())).outcome == "cancelled"
    await between.misbehave("loses_reply")
    assert await status(lossy, n="two", consume=True) == "verified"

    assert await status(real.store, n="two") == "unknown"


async def test_a_claim_is_taken_over_after_its_lease(
    lossy: RedisStore, between: CutProxy, real: RedisPlace
) -> None:
    await real.store.create(creation())
    await between.misbehave("loses_reply")
    lost = await claim_batch(lossy)
    assert lost.taken == []
    assert lasts(lossy, lost.next_due - lost.now, LEASE // 1000)
    real.advance(30)

    [claimed] = await claim(lossy)
    assert claimed.challenge
    assert (claimed.challenge.tries, claimed.challenge.uncertain) == (2, 1)
    assert await finish(lossy, claimed) == "ok"


async def test_a_workers_word_is_done_once(lossy: RedisStore, between: CutProxy, real: RedisPlace) -> None:
    """The answer `lost` does no harm: the worker has nothing left to do."""
    for n in "one", "two":
        await real.store.create(creation(n=n))
    one, two = await claim(real.store)
    await between.misbehave("loses_reply")
    assert await lossy.beat(one, lease=LEASE) == "ok"
    await between.misbehave("loses_reply")
    assert await finish(lossy, one, uncertain=True) in ("ok", "lost")
    await between.misbehave("loses_reply")
    assert await later(lossy, two, delay=0, uncertain=True) in ("ok", "lost")

    sent = (await real.store.read(SHOP, one.n)).record
    assert sent
    assert (sent.message_state, sent.uncertain, sent.tries) == (MessageState.SENT, 1, 1)
    [again] = await claim(real.store)
    assert again.challenge
    assert (again.n, again.challenge.uncertain, again.challenge.tries) == (two.n, 1, 2)


async def test_a_raw_message_is_queued_once(lossy: RedisStore, between: CutProxy, real: RedisPlace) -> None:
    asked: dict[str, Any] = {"sends": TWO, "once": "key", "once_life": 60_000}
    await between.misbehave("loses_reply")
    posted = await lossy.enqueue(posting("m1", **asked))

    assert between.accepted == 2
    assert (posted.outcome, posted.n) == ("queued", "m1")
    assert (await real.store.enqueue(posting("m2", **asked))).n == "m1"
    assert len(await claim(real.store, "sms", "message")) == 1
    assert await enqueue(real.store, "m3", sends=TWO) == "queued"
    assert await enqueue(real.store, "m4", sends=TWO) == "budget"


async def test_a_report_is_taken_once(lossy: RedisStore, between: CutProxy, real: RedisPlace) -> None:
    record = (await real.store.create(creation(flags=int(Flag.CALLBACK)))).record
    assert record
    [claimed] = await claim(real.store)
    await finish(real.store, claimed)
    await between.misbehave("loses_reply")

    assert await lossy.report(SHOP, claimed.member, gen=record.gen[:4], sends=1, ok=False) == "ok"
    assert len(await events(real.store)) == 1


async def test_a_text_is_new_once(lossy: RedisStore, between: CutProxy, real: RedisPlace) -> None:
    await between.misbehave("loses_reply")

    assert await lossy.keep_text(SHOP, "t1", b"sealed", life=60_000, most=9)
    assert between.accepted == 2
    assert not await lossy.keep_text(SHOP, "t1", b"sealed", life=60_000, most=9)
    assert len(await real.store.texts(SHOP)) == 1


async def test_the_first_stays_the_first(lossy: RedisStore, between: CutProxy, real: RedisPlace) -> None:
    await between.misbehave("loses_reply")
    assert await lossy.first(SHOP, "frame", b"mine", life=60_000) == b"mine"
    assert await real.store.first(SHOP, "frame", b"theirs", life=60_000) == b"mine"

    await between.misbehave("loses_reply")
    assert await lossy.hold("line", b"mine", life=60_000)
    assert not await real.store.hold("line", b"theirs", life=60_000)


async def test_a_blocking_holds(lossy: RedisStore, between: CutProxy, real: RedisPlace) -> None:
    """Whether it was new is not known any more; that it is blocked is."""
    await between.misbehave("loses_reply")
    await lossy.block(SHOP, HERE, b"sealed")

    assert await real.store.blocked(SHOP, HERE) == b"sealed"


async def test_a_guard_counts_too_much_rather_than_too_little(
    lossy: RedisStore, between: CutProxy, real: RedisPlace
) -> None:
    guards = [("d:here", (Rate(3, 600),))]
    await between.misbehave("loses_reply")
    assert await lossy.reserve(guards) == (0, -1)

    assert await real.store.reserve(guards) == (0, -1)
    assert (await real.store.reserve(guards))[1] == 0
