"""News that come after a send: it was delivered, or it was not."""

from __future__ import annotations

import pytest

from otpsvc.challenge import Flag, Record, State, unpack_event
from otpsvc.message import MessageState
from otpsvc.store import Claimed, Store
from tests.stores.places import Place, RedisPlace, answering
from tests.stores.steps import (
    BANK,
    SHOP,
    N,
    claim,
    creation,
    enqueue,
    events,
    finish,
    guess,
    later,
    op,
    raw_state,
    resend,
    state_of,
    status,
)

SENT, DELIVERED, FAILED = MessageState.SENT, MessageState.DELIVERED, MessageState.FAILED
LOST = "not delivered"


async def sent(store: Store, flags: int = 0, **asked: object) -> Claimed:
    await store.create(creation(flags=flags, **asked))
    [claimed] = await claim(store)
    assert await finish(store, claimed) == "ok"
    return claimed


async def report(store: Store, claimed: Claimed, *, sends: int = 1, ok: bool = True) -> str:
    return await store.report(SHOP, claimed.member, gen=claimed.gen[:4], sends=sends, ok=ok)


async def raw_report(store: Store, n: str = "m1", *, ok: bool = True) -> str:
    return await store.report(SHOP, "m" + n, gen=b"", sends=0, ok=ok)


async def record_of(store: Store) -> Record:
    record = (await store.read(SHOP, N)).record
    assert record
    return record


# --- codes -----------------------------------------------------------------


async def test_a_code_was_delivered(place: Place) -> None:
    store = place.store
    claimed = await sent(store, int(Flag.CALLBACK))
    before = await record_of(store)
    assert await report(store, claimed) == "ok"

    after = await record_of(store)
    assert after.message_state == DELIVERED
    assert after == before._replace(mstate=after.mstate)
    assert await events(store) == []
    assert (await store.check(guess())).outcome == "verified"


async def test_a_code_was_not_delivered(store: Store) -> None:
    claimed = await sent(store, int(Flag.CALLBACK), waits=(60,))
    assert await report(store, claimed, ok=False) == "ok"

    assert await state_of(store) == (FAILED, 1, 0, LOST)
    record = await record_of(store)
    assert (record.state, record.wait_until) == (State.FAILED, record.due_at)
    [event] = await events(store)
    assert event.message
    told = unpack_event(event.message.meta)
    assert (told.kind, told.reason, told.message_state, told.sends) == ("f", LOST, FAILED, 1)
    assert (await store.resend(resend(claimed.gen))).outcome == "created", "a failed send starts no wait"


async def test_a_code_that_came_nevertheless_is_good(store: Store) -> None:
    claimed = await sent(store)
    await report(store, claimed, ok=False)

    assert (await store.check(guess())).outcome == "verified"


@pytest.mark.parametrize("ok", [True, False])
async def test_the_same_news_twice_change_nothing(place: Place, ok: bool) -> None:
    store = place.store
    claimed = await sent(store, int(Flag.CALLBACK))
    await report(store, claimed, ok=ok)
    before = place.contents()

    assert await report(store, claimed, ok=ok) == "ok"
    assert place.contents() == before


async def test_what_was_delivered_stays_delivered(store: Store) -> None:
    claimed = await sent(store, int(Flag.CALLBACK))
    await report(store, claimed)
    assert await report(store, claimed, ok=False) == "ok"

    assert await state_of(store) == (DELIVERED, 1, 0, "")
    assert await events(store) == []


async def test_what_failed_stays_failed(store: Store) -> None:
    claimed = await sent(store)
    await report(store, claimed, ok=False)

    assert await report(store, claimed) == "lost"
    assert (await state_of(store))[0] == FAILED


@pytest.mark.parametrize("ok", [True, False])
async def test_news_that_come_before_the_last_word_are_early(store: Store, ok: bool) -> None:
    await store.create(creation())
    [claimed] = await claim(store)
    assert await report(store, claimed, ok=ok) == "early"
    assert (await state_of(store))[0] == MessageState.SENDING

    await finish(store, claimed)
    assert await report(store, claimed, ok=ok) == "ok"


@pytest.mark.parametrize("ok", [True, False])
async def test_news_of_another_send_are_lost(store: Store, ok: bool) -> None:
    claimed = await sent(store)
    assert await report(store, claimed, sends=2, ok=ok) == "lost"
    assert await report(store, claimed, sends=0, ok=ok) == "lost"
    assert await store.report(SHOP, claimed.member, gen=b"else", sends=1, ok=ok) == "lost"
    assert await store.report(BANK, claimed.member, gen=claimed.gen[:4], sends=1, ok=ok) == "lost"
    assert await store.report(SHOP, "cother", gen=claimed.gen[:4], sends=1, ok=ok) == "lost"
    assert await state_of(store) == (SENT, 1, 0, "")

    await store.resend(resend(claimed.gen))
    [again] = await claim(store)
    await finish(store, again)
    assert await report(store, claimed, sends=1, ok=ok) == "lost"
    assert await report(store, again, sends=2, ok=ok) == "ok"


async def test_news_of_one_that_waits_or_failed_are_lost(store: Store) -> None:
    await store.create(creation())
    [claimed] = await claim(store)
    await later(store, claimed, delay=0)
    for ok in (True, False):
        assert await report(store, claimed, ok=ok) == "lost"
    [claimed] = await claim(store)
    await finish(store, claimed, FAILED, reason="no such number")
    for ok in (True, False):
        assert await report(store, claimed, ok=ok) == "lost"

    assert await state_of(store) == (FAILED, 2, 0, "no such number")


async def test_a_verified_one_stays_verified(place: Place) -> None:
    store = place.store
    claimed = await sent(store, int(Flag.CALLBACK))
    await store.check(guess())
    verified = await record_of(store)
    place.advance(10)
    assert await report(store, claimed, ok=False) == "ok"

    after = await record_of(store)
    assert (after.state, after.message_state, after.reason) == (State.VERIFIED, FAILED, LOST)
    assert after.wait_after == pytest.approx(verified.wait_after, abs=0), "when it was verified"
    assert [unpack_event(e.message.meta).kind for e in await events(store) if e.message] == ["v"]
    assert await status(store) == "verified"


async def test_a_send_that_fails_after_the_code_was_verified_does_not_hide_when(place: Place) -> None:
    """A worker was in doubt and tried again; the first try had arrived."""
    store = place.store
    await store.create(creation())
    [claimed] = await claim(store)
    await store.check(guess())
    verified = await record_of(store)
    place.advance(2)
    await finish(store, claimed, FAILED, reason="no such number")

    assert (await record_of(store)).wait_after == verified.wait_after


async def test_a_cancelled_one_stays_cancelled(store: Store) -> None:
    claimed = await sent(store, int(Flag.CALLBACK))
    await store.cancel(SHOP, N, op())
    assert await report(store, claimed, ok=False) == "ok"

    assert (await record_of(store)).state == State.CANCELLED
    assert await events(store) == []


async def test_news_after_the_deadline_tell_nobody(place: Place) -> None:
    store = place.store
    claimed = await sent(store, int(Flag.CALLBACK), ttl=60_000)
    place.advance(61)
    assert await report(store, claimed, ok=False) == "ok"

    [event] = await events(store)
    assert event.message
    assert unpack_event(event.message.meta).kind == "x"


async def test_news_of_a_forgotten_one_are_lost(place: Place) -> None:
    claimed = await sent(place.store, ttl=60_000)
    place.advance(63)

    assert await report(place.store, claimed) == "lost"


async def test_news_over_a_fenced_restart_tell_nobody(fenced: Place) -> None:
    claimed = await sent(fenced.store, int(Flag.CALLBACK))
    fenced.restart()
    assert (await (await answering(fenced.store)).read(SHOP, N)).outcome == "void"

    assert await report(fenced.store, claimed, ok=False) == "ok"
    assert (await record_of(fenced.store)).state == State.OPEN
    assert await events(fenced.store) == []


# --- raw messages ----------------------------------------------------------


@pytest.mark.parametrize(("ok", "state"), [(True, (DELIVERED, "")), (False, (FAILED, LOST))])
async def test_a_raw_message_has_its_news(place: Place, ok: bool, state: object) -> None:
    store = place.store
    await enqueue(store)
    assert await raw_report(store, ok=ok) == "lost"
    [claimed] = await claim(store, "sms", "message")
    assert await raw_report(store, ok=ok) == "early"
    await finish(store, claimed, parts=2)
    before = await store.message(SHOP, "m1")
    assert before
    assert await raw_report(store, ok=ok) == "ok"

    assert await raw_state(store) == state
    after = await store.message(SHOP, "m1")
    assert after
    assert after == before._replace(mstate=after.mstate, reason=after.reason)
    kept = place.contents()
    assert await raw_report(store, ok=ok) == "ok"
    assert place.contents() == kept


async def test_a_delivered_raw_message_stays_delivered_and_a_failed_one_failed(store: Store) -> None:
    for n in "m1", "m2":
        await enqueue(store, n)
    for claimed in await claim(store, "sms", "message"):
        await finish(store, claimed)
    assert await raw_report(store, "m1") == await raw_report(store, "m2", ok=False) == "ok"

    assert await raw_report(store, "m1", ok=False) == "ok"
    assert await raw_report(store, "m2") == "lost"
    assert await raw_state(store, "m1") == (DELIVERED, "")
    assert await raw_state(store, "m2") == (FAILED, LOST)


async def test_events_have_no_news(store: Store) -> None:
    await store.create(creation(flags=int(Flag.CALLBACK)))
    await store.check(guess())
    [event] = await events(store)

    assert await raw_report(store, event.n) == "lost"
    assert await raw_report(store, "unknown") == "lost"


async def test_news_do_not_keep_a_record_longer(real: RedisPlace) -> None:
    claimed = await sent(real.store, ttl=60_000)
    await enqueue(real.store, ttl=60_000)
    [raw] = await claim(real.store, "sms", "message")
    await finish(real.store, raw)
    real.advance(30)
    await report(real.store, claimed)
    await raw_report(real.store)

    assert real.ttl("otp:*") <= 32
    assert real.ttl("msg:*") <= 86_400 + 30
