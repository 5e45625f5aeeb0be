"""Block lists: nothing is sent to a destination that its tenant blocked, or that all tenants' list has."""

from __future__ import annotations

from typing import Any

import pytest

from otpsvc.challenge import Flag, State, unpack_event
from otpsvc.message import MessageState
from otpsvc.store import ALL, BARRED, Once, Store
from otpsvc.tenant import Rate
from tests.stores.places import Place
from tests.stores.steps import (
    BANK,
    HERE,
    LEASE,
    SHOP,
    THERE,
    WRONG,
    N,
    claim,
    claim_batch,
    creation,
    enqueue,
    events,
    finish,
    guess,
    later,
    posting,
    raw_state,
    resend,
    state_of,
    without_address,
)

ONE = Rate(1, 600)
SEALED = b"sealed number"


# --- the lists -------------------------------------------------------------


@pytest.mark.parametrize("scope", [SHOP, ALL])
async def test_an_entry_is_kept_until_it_is_taken_out(place: Place, scope: str) -> None:
    store = place.store
    assert await store.blocked(scope, HERE) is None
    assert await store.block(scope, HERE, SEALED)
    assert not await store.block(scope, HERE, b"sealed later"), "the first one stays"
    place.advance(400 * 86_400)

    assert await store.blocked(scope, HERE) == SEALED
    assert await store.unblock(scope, HERE)
    assert not await store.unblock(scope, HERE)
    assert await store.blocked(scope, HERE) is None
    assert await store.block(scope, HERE, b"sealed later")


async def test_a_list_is_told_whole(store: Store) -> None:
    dests = [bytes([at]) * 16 for at in range(200)]
    for dest in dests:
        await store.block(SHOP, dest, b"of " + dest)

    assert sorted(await store.blocks(SHOP)) == [(dest, b"of " + dest) for dest in dests]
    assert await store.blocks(BANK) == []
    assert await store.blocks(ALL) == []


async def test_every_scope_has_its_own_list(store: Store) -> None:
    """A tenant may be called `global`."""
    for scope in SHOP, "global", ALL:
        assert await store.block(scope, HERE, scope.encode())

    for scope in SHOP, "global", ALL:
        assert await store.blocks(scope) == [(HERE, scope.encode())]
    assert await store.unblock("global", HERE)
    assert await store.blocked(ALL, HERE) == b"*"


async def test_what_all_tenants_list_has_is_told_for_many(store: Store) -> None:
    await store.block(ALL, HERE, SEALED)
    await store.block(SHOP, THERE, SEALED)

    assert await store.barred([HERE, THERE, HERE]) == [True, False, True]
    assert await store.barred([]) == []


# --- creates and resends ---------------------------------------------------


async def test_nothing_is_created_for_a_blocked_destination(store: Store) -> None:
    await store.block(SHOP, HERE, SEALED)
    answer = await store.create(creation(flags=int(Flag.CALLBACK)))

    assert (answer.outcome, answer.record, answer.wait) == ("blocked", None, 0)
    assert (await store.read(SHOP, N)).outcome == "unknown"
    assert await claim(store) == []
    assert (await store.create(creation(dest=THERE))).outcome == "created"
    assert (await store.create(creation(tenant=BANK))).outcome == "created"


async def test_the_list_of_all_is_not_asked_by_a_create(store: Store) -> None:
    """`reserve` asks it, before."""
    await store.block(ALL, HERE, SEALED)

    assert (await store.create(creation())).outcome == "created"


async def test_a_blocked_create_counts_nothing(store: Store) -> None:
    await store.block(SHOP, HERE, SEALED)
    for _ in range(3):
        assert (await store.create(creation(sends=ONE))).outcome == "blocked"

    assert (await store.create(creation(dest=THERE, sends=ONE))).outcome == "created"


async def test_a_blocked_create_gives_its_key_back(store: Store) -> None:
    await store.block(SHOP, HERE, SEALED)
    once, asked = Once("key", b"f" * 16), creation()
    await store.once(SHOP, once.name, once.fingerprint, asked.op)
    assert (await store.create(creation(op=asked.op, once=once))).outcome == "blocked"

    await store.unblock(SHOP, HERE)
    assert (await store.once(SHOP, once.name, once.fingerprint, b"another ")).outcome == "new"


async def test_a_live_one_is_not_sent_again(place: Place) -> None:
    store = place.store
    asked = creation(max_attempts=3, waits=(30,))
    record = (await store.create(asked)).record
    assert record
    [claimed] = await claim(store)
    await finish(store, claimed)
    await store.check(guess(WRONG))
    await store.block(SHOP, HERE, SEALED)
    before = place.contents()

    for answer in (
        await store.create(creation(max_attempts=3, sends=ONE)),
        await store.resend(resend(record.gen, sends=ONE)),
    ):
        assert (answer.outcome, answer.wait) == ("blocked", 0)
        assert answer.record
        assert (answer.record.sends, answer.record.attempts) == (1, 1)
    assert place.contents() == before
    assert (await store.create(asked)).outcome == "created", "the same call, whose answer was lost"
    assert (await store.check(guess())).outcome == "verified", "the code that it has is still good"
    assert (await store.resend(resend(record.gen))).outcome == "closed"


async def test_a_create_without_an_address_is_not_asked(store: Store) -> None:
    await store.block(SHOP, HERE, SEALED)
    await store.block(SHOP, bytes(16), SEALED)
    record = (await store.create(without_address(gen=b"g" * 16))).record
    assert record
    pinned: dict[str, Any] = {"gen": record.gen, "pin": record.gen}
    await store.unblock(SHOP, bytes(16))

    assert (await store.create(creation(**pinned))).outcome == "blocked"
    assert (await store.create(creation(dest=THERE, **pinned))).outcome == "created"


# --- what waits in the outbox ----------------------------------------------


async def test_a_queued_code_ends_as_failed(place: Place) -> None:
    store = place.store
    record = (await store.create(creation(flags=int(Flag.CALLBACK), body=b"sealed code", waits=(60,)))).record
    assert record
    await store.create(creation(n="other", dest=THERE))
    await store.block(SHOP, HERE, SEALED)
    batch = await claim_batch(store)

    assert ([claimed.n for claimed in batch.taken], batch.ended) == (["other"], 1)
    assert await state_of(store) == (MessageState.FAILED, 0, 0, "blocked")
    ended = (await store.read(SHOP, N)).record
    assert ended
    assert (ended.state, ended.body, ended.wait_until) == (State.FAILED, b"", ended.due_at)
    [event] = await events(store)
    assert event.message
    told = unpack_event(event.message.meta)
    assert (told.kind, told.reason, told.gen) == ("f", "blocked", record.gen)

    assert (await store.resend(resend(record.gen))).outcome == "blocked"
    await store.unblock(SHOP, HERE)
    assert (await store.resend(resend(record.gen))).outcome == "created", "a failed send starts no wait"


async def test_a_code_that_another_worker_left_is_in_doubt(place: Place) -> None:
    store = place.store
    await store.create(creation())
    await claim(store)
    await store.block(SHOP, HERE, SEALED)
    place.advance(31)
    assert (await claim_batch(store)).ended == 1

    assert await state_of(store) == (MessageState.FAILED, 1, 1, "blocked")


async def test_a_raw_message_ends_as_failed(store: Store) -> None:
    await enqueue(store, "m1")
    await enqueue(store, "m2", dest=THERE)
    await store.block(SHOP, HERE, SEALED)
    batch = await claim_batch(store, "sms", "message")

    assert ([claimed.n for claimed in batch.taken], batch.ended) == (["m2"], 1)
    assert await raw_state(store) == (MessageState.FAILED, "blocked")
    record = await store.message(SHOP, "m1")
    assert record
    assert record.body == b""
    assert (await claim_batch(store, "sms", "message")).ended == 0


async def test_a_raw_message_that_comes_back_later_ends_too(place: Place) -> None:
    store = place.store
    await enqueue(store)
    [claimed] = await claim(store, "sms", "message")
    await store.block(SHOP, HERE, SEALED)
    assert await later(store, claimed, delay=1000) == "ok"
    place.advance(1)

    assert (await claim_batch(store, "sms", "message")).ended == 1
    assert await raw_state(store) == (MessageState.FAILED, "blocked")


async def test_a_raw_message_whose_time_is_over_says_that(place: Place) -> None:
    store = place.store
    await enqueue(store, ttl=60_000)
    await store.block(SHOP, HERE, SEALED)
    place.advance(61)

    assert (await claim_batch(store, "sms", "message")).ended == 1
    assert await raw_state(store) == (MessageState.EXPIRED, "deadline")


async def test_events_are_told_whatever_is_blocked(store: Store) -> None:
    await store.create(creation(flags=int(Flag.CALLBACK)))
    await store.check(guess())
    await store.block(SHOP, HERE, SEALED)
    # An event's meta begins otherwise: these are the bytes that a destination would have there.
    [event] = await events(store)
    assert event.message
    await store.block(SHOP, event.message.meta[1:17], SEALED)
    assert await later(store, event, delay=0) == "ok"

    assert len(await events(store)) == 1


async def test_what_this_worker_sends_already_is_sent(store: Store) -> None:
    await store.create(creation())
    [claimed] = await claim(store)
    await store.block(SHOP, HERE, SEALED)

    assert await store.beat(claimed, lease=LEASE) == "ok"
    assert await finish(store, claimed) == "ok"


async def test_nothing_raw_is_queued_for_a_blocked_destination(place: Place) -> None:
    store = place.store
    await store.block(SHOP, HERE, SEALED)
    before = place.contents()
    posted = await store.enqueue(posting(sends=ONE, once="key", once_life=60_000))

    assert (posted.outcome, posted.n, posted.record, posted.wait) == ("blocked", "", None, 0)
    assert place.contents() == before
    assert await enqueue(store, "m2", dest=THERE, sends=ONE, once="key", once_life=60_000) == "queued"
    assert await enqueue(store, "m3", once="other", once_life=60_000) == "blocked"
    assert await enqueue(store, "m4", tenant=BANK) == "queued"


# --- all tenants -----------------------------------------------------------


async def test_a_barred_destination_gets_no_place(place: Place) -> None:
    store, guards = place.store, [("d:here", (ONE,)), ("c:alice", (ONE,))]
    await store.block(ALL, HERE, SEALED)
    before = place.contents()
    assert await store.reserve(guards, HERE) == (0, BARRED)
    assert await store.reserve([], HERE) == (0, BARRED)
    assert place.contents() == before

    assert await store.reserve(guards, THERE) == (0, -1)
    assert (await store.reserve(guards, THERE))[1] == 0
    assert await store.reserve(guards, HERE) == (0, BARRED), "the list is asked first"
    await store.unblock(ALL, HERE)
    assert (await store.reserve(guards[1:], HERE))[1] == 0


async def test_without_guards_only_the_list_is_asked(store: Store) -> None:
    await store.block(SHOP, HERE, SEALED)

    assert await store.reserve([], HERE) == (0, -1)
    assert await store.reserve([]) == (0, -1)
    assert await store.reserve([("d:here", (ONE,))]) == (0, -1)
