"""Final events: each of a generation's ends is told once, under one id."""

from __future__ import annotations

import pytest

from otpsvc.challenge import EVENT, EventMeta, Flag, State, unpack_event
from otpsvc.message import MessageState
from otpsvc.store import Claimed, Store
from otpsvc.tenant import Rate
from tests.stores.places import Place, RedisPlace
from tests.stores.steps import (
    OTHER,
    SHOP,
    THERE,
    WRONG,
    N,
    claim,
    creation,
    events,
    finish,
    guess,
    later,
    op,
    resend,
)

CALLBACK = int(Flag.CALLBACK)


def meta(claimed: Claimed) -> EventMeta:
    assert claimed.message
    return unpack_event(claimed.message.meta)


async def told(store: Store) -> list[str]:
    """The kinds of the events that are due, sorted; they are delivered."""
    due = await events(store)
    for claimed in due:
        assert await finish(store, claimed) == "ok"
    return sorted(meta(claimed).kind for claimed in due)


async def failed(store: Store) -> None:
    [claimed] = await claim(store)
    assert await finish(store, claimed, MessageState.FAILED, reason="no such number") == "ok"


async def test_a_verification_is_told_with_all_that_a_tenant_wants_to_know(store: Store) -> None:
    created = await store.create(creation(flags=CALLBACK, purpose=1))
    assert await events(store) == []
    [claimed] = await claim(store)
    await finish(store, claimed, uncertain=True)
    await store.check(guess(WRONG))
    answer = await store.check(guess())

    [event] = await events(store)
    assert event.message
    assert created.record
    assert (event.message.kind, event.message.body, event.message.route) == (EVENT, b"sealed", "callback")
    assert event.message.deadline - event.message.created == 3 * 86_400_000
    assert meta(event) == EventMeta(
        kind="v",
        purpose="authentication",
        attempts=2,
        message_state=MessageState.SENT,
        uncertain=1,
        sends=1,
        gen=created.record.gen,
        at=answer.now,
        challenge=N,
        route="mail",
        reason="",
    )


async def test_every_end_is_told_once(place: Place) -> None:
    store = place.store
    for n in "verified", "locked", "expired", "cancelled":
        await store.create(creation(n=n, flags=CALLBACK, max_attempts=1))
    right, wrong = guess(n="verified"), guess(WRONG, n="locked")
    for _ in range(2):
        await store.check(right)
        await store.check(wrong)
        await store.cancel(SHOP, "cancelled", op())
    assert await told(store) == ["l", "v"]
    assert await told(store) == []

    place.advance(300)
    assert await told(store) == ["x"]
    place.advance(86_400)
    assert await told(store) == []


async def test_without_a_callback_nothing_is_told(place: Place) -> None:
    store = place.store
    for n in "one", "two":
        await store.create(creation(n=n, max_attempts=1))
    await store.check(guess(n="one"))
    await store.check(guess(WRONG, n="two"))
    await store.create(creation())
    await failed(store)
    place.advance(300)

    assert await told(store) == await told(store) == []


async def test_an_event_keeps_its_id_over_its_tries(place: Place) -> None:
    store = place.store
    await store.create(creation(flags=CALLBACK))
    await store.check(guess())
    [first] = await events(store)
    await later(store, first, delay=5000)
    place.advance(5)
    [second] = await events(store)

    assert first.member == second.member
    assert second.message
    assert second.message.tries == 2
    assert await finish(store, second) == "ok"
    assert await store.message(SHOP, second.n) is None
    assert await events(store) == []


async def test_events_of_two_generations_have_two_ids(store: Store) -> None:
    for _ in range(2):
        await store.create(creation(flags=CALLBACK))
        await store.check(guess())

    one, two = await events(store)
    assert one.n != two.n


async def test_an_event_that_nobody_took_is_kept_as_failed(store: Store) -> None:
    await store.create(creation(flags=CALLBACK))
    await store.check(guess())
    [event] = await events(store)
    await finish(store, event, MessageState.FAILED, reason="HTTP 410")

    record = await store.message(SHOP, event.n)
    assert record
    assert (record.message_state, record.reason, record.body) == (MessageState.FAILED, "HTTP 410", b"")


# --- failed ----------------------------------------------------------------


async def test_a_failed_message_is_told_and_fails_its_challenge(store: Store) -> None:
    await store.create(creation(flags=CALLBACK, body=b"sealed code"))
    await failed(store)

    record = (await store.read(SHOP, N)).record
    assert record
    assert (record.state, record.message_state) == (State.FAILED, MessageState.FAILED)
    assert (record.reason, record.body) == ("no such number", b"")
    [event] = await events(store)
    assert (meta(event).kind, meta(event).reason) == ("f", "no such number")


@pytest.mark.parametrize("how", ["create", "resend"])
async def test_a_new_send_revives_it(store: Store, how: str) -> None:
    record = (await store.create(creation(flags=CALLBACK))).record
    await failed(store)
    assert record
    await (store.create(creation(flags=CALLBACK)) if how == "create" else store.resend(resend(record.gen)))

    revived = (await store.read(SHOP, N)).record
    assert revived
    assert (revived.state, revived.gen, revived.reason) == (State.OPEN, record.gen, "")
    assert (await store.check(guess())).outcome == "verified"
    assert await told(store) == ["f", "v"]


async def test_a_generation_is_told_as_failed_once_a_day(place: Place) -> None:
    """Its event's id would be the same, and nobody could tell the second from a repeat."""
    store = place.store
    record = (await store.create(creation(flags=CALLBACK, ttl=86_000_000))).record
    assert record
    await failed(store)
    assert await told(store) == ["f"]
    place.advance(2 * 3600)
    await store.resend(resend(record.gen))
    await failed(store)

    assert await told(store) == []


async def test_a_revived_one_that_expires_is_told_as_expired(place: Place) -> None:
    store = place.store
    record = (await store.create(creation(flags=CALLBACK))).record
    assert record
    await failed(store)
    await store.resend(resend(record.gen))
    place.advance(300)

    assert await told(store) == ["f", "x"]


async def test_a_failed_one_does_not_expire_as_well(place: Place) -> None:
    store = place.store
    await store.create(creation(flags=CALLBACK))
    await failed(store)
    place.advance(300)

    assert await told(store) == ["f"]
    assert await told(store) == []


async def test_a_failure_after_the_end_changes_nothing(store: Store) -> None:
    await store.create(creation(flags=CALLBACK))
    [claimed] = await claim(store)
    await store.check(guess())
    await finish(store, claimed, MessageState.FAILED)

    record = (await store.read(SHOP, N)).record
    assert record
    assert (record.state, record.message_state) == (State.VERIFIED, MessageState.FAILED)
    assert await told(store) == ["v"]


# --- expired ---------------------------------------------------------------


async def test_a_new_generation_owes_one_event_for_both(place: Place) -> None:
    store = place.store
    await store.create(creation(flags=CALLBACK))
    place.advance(200)
    last = (await store.create(creation(flags=CALLBACK, dest=THERE))).record
    place.advance(200)
    assert await told(store) == []
    place.advance(100)

    [event] = await events(store)
    assert last
    assert (meta(event).kind, meta(event).gen) == ("x", last.gen)


async def test_an_expiry_is_told_when_all_workers_were_down(place: Place) -> None:
    store = place.store
    await store.create(creation(flags=CALLBACK))
    place.advance(300 + 86_000)

    assert await told(store) == ["x"]


async def test_a_create_under_an_expired_id_tells_first(place: Place) -> None:
    store = place.store
    first = (await store.create(creation(flags=CALLBACK))).record
    place.advance(301)
    second = (await store.create(creation(flags=CALLBACK, digest=OTHER))).record

    assert first
    assert second
    assert (second.attempts, second.sends, second.gen == first.gen) == (0, 1, False)
    [event] = await events(store)
    assert (meta(event).kind, meta(event).gen) == ("x", first.gen)


async def test_a_refused_create_under_an_expired_id_tells_once(place: Place) -> None:
    store, none_left = place.store, Rate(1, 86_400)
    await store.create(creation(flags=CALLBACK, sends=none_left))
    place.advance(301)
    for _ in range(2):
        assert (await store.create(creation(flags=CALLBACK, sends=none_left))).outcome == "budget"
        place.advance(0.5)
    assert await told(store) == ["x"]
    place.advance(2 * 3600)

    assert (await store.create(creation(flags=CALLBACK, sends=none_left))).outcome == "budget"
    assert await told(store) == []


async def test_an_expiry_that_was_told_is_not_told_again_when_the_id_is_used(place: Place) -> None:
    store = place.store
    await store.create(creation(flags=CALLBACK))
    place.advance(300)
    assert await told(store) == ["x"]
    place.advance(2 * 3600)
    await store.create(creation(flags=CALLBACK))

    assert await told(store) == []


async def test_a_delivered_event_leaves_one_byte_for_an_hour(real: RedisPlace) -> None:
    await real.store.create(creation(flags=CALLBACK))
    await real.store.check(guess())
    [event] = await events(real.store)
    await finish(real.store, event)

    assert real.ask.get("msg:{shop}:" + event.n) == b"x"
    assert 3590 < real.ttl("msg:*") <= 3600
