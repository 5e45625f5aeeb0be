"""A store that was set back, or came back with less than it had acknowledged, voids what was open."""

from __future__ import annotations

import asyncio

import pytest

from otpsvc.challenge import Flag, State, unpack_event
from otpsvc.message import MessageState
from otpsvc.store import Store
from otpsvc.tenant import Rate
from tests.stores.places import Place, RedisPlace, answering
from tests.stores.steps import (
    BANK,
    LEASE,
    SHOP,
    N,
    claim,
    claim_batch,
    creation,
    enqueue,
    events,
    finish,
    guess,
    later,
    op,
    resend,
    status,
)

CALLBACK = int(Flag.CALLBACK)


async def is_void(store: Store, gen: bytes) -> bool:
    """Nothing opens it any more; its state says why."""
    assert (await store.check(guess())).outcome == "unknown"
    assert (await store.resend(resend(gen))).outcome == "unknown"
    assert (await store.cancel(SHOP, N, op())).outcome == "void"
    assert await status(store) == "void"
    answer = await store.read(SHOP, N)
    return answer.outcome == "void" and answer.record is not None


# --- restarts --------------------------------------------------------------


async def test_a_store_that_keeps_everything_goes_on_after_a_restart(place: Place) -> None:
    created = (await place.store.create(creation(flags=CALLBACK))).record
    place.restart()
    store = await answering(place.store)

    [claimed] = await claim(store)
    assert created
    assert claimed.gen == created.gen
    assert (await store.check(guess())).outcome == "verified"
    assert await finish(store, claimed) == "ok"
    assert [unpack_event(e.message.meta).kind for e in await events(store) if e.message] == ["v"]


async def test_a_fenced_restart_voids_what_was_open(fenced: Place) -> None:
    created = (await fenced.store.create(creation(flags=CALLBACK, body=b"sealed code"))).record
    fenced.restart()
    store = await answering(fenced.store)

    assert created
    assert await is_void(store, created.gen)
    batch = await claim_batch(store)
    assert (batch.taken, batch.ended) == ([], 1)
    record = (await store.read(SHOP, N)).record
    assert record
    assert (record.state, record.message_state) == (State.VOID, MessageState.FAILED)
    assert (record.reason, record.body) == ("store_restarted", b"")
    [event] = await events(store)
    assert event.message
    assert unpack_event(event.message.meta).kind == "r"
    assert unpack_event(event.message.meta).reason == "store_restarted"
    assert (await claim_batch(store)).ended == 0


async def test_a_fenced_restart_voids_what_was_verified_too(fenced: Place) -> None:
    """It may be an older state that came back: whether its receipt was spent is not known."""
    await fenced.store.create(creation())
    await fenced.store.check(guess())
    fenced.restart()

    assert await status(await answering(fenced.store)) == "void"


async def test_a_holder_from_before_a_fenced_restart_is_told(fenced: Place) -> None:
    await fenced.store.create(creation())
    await fenced.store.create(creation(n="two"))
    one, two = await claim(fenced.store)
    fenced.restart()
    store = await answering(fenced.store)

    assert await store.beat(one, lease=LEASE) == "ended"
    assert await later(store, two) == "ended"
    for n in (N, "two"):
        record = (await store.read(SHOP, n)).record
        assert record
        assert (record.message_state, record.reason) == (MessageState.EXPIRED, "store_restarted")


async def test_what_was_sent_over_a_fenced_restart_is_told_as_sent(fenced: Place) -> None:
    await fenced.store.create(creation())
    [claimed] = await claim(fenced.store)
    fenced.restart()
    store = await answering(fenced.store)

    assert await finish(store, claimed) == "ok"
    assert await claim(store) == []


async def test_an_expiry_from_before_a_fenced_restart_is_told_as_failed(fenced: Place) -> None:
    await fenced.store.create(creation(flags=CALLBACK, route="mail"))
    [claimed] = await claim(fenced.store)
    await finish(fenced.store, claimed)
    fenced.restart()
    store = await answering(fenced.store)
    fenced.advance(300)

    [event] = await events(store)
    assert event.message
    assert unpack_event(event.message.meta).kind == "r"


async def test_after_a_fenced_restart_the_id_can_be_used_again(fenced: Place) -> None:
    first = (await fenced.store.create(creation(flags=CALLBACK))).record
    fenced.restart()
    store = await answering(fenced.store)
    second = (await store.create(creation(flags=CALLBACK))).record

    assert first
    assert second
    assert (second.epoch, second.sends, second.gen == first.gen) == (first.epoch + 1, 1, False)
    [event] = await events(store)
    assert event.message
    assert (unpack_event(event.message.meta).kind, unpack_event(event.message.meta).gen) == ("r", first.gen)
    assert [claimed.gen for claimed in await claim(store)] == [second.gen]
    assert (await store.check(guess())).outcome == "verified"


async def test_a_refused_create_over_a_void_one_tells_once(fenced: Place) -> None:
    none_left = Rate(1, 86_400)
    await fenced.store.create(creation(flags=CALLBACK, sends=none_left, ttl=86_000_000))
    fenced.restart()
    store = await answering(fenced.store)
    assert (await store.create(creation(sends=none_left))).outcome == "budget"
    [event] = await events(store)
    await finish(store, event)
    fenced.advance(2 * 3600)

    assert (await store.create(creation(sends=none_left))).outcome == "budget"
    assert await events(store) == []


async def test_guards_raw_messages_and_budgets_outlive_a_fenced_restart(fenced: Place) -> None:
    """A raw message that came back may be sent twice, never not at all."""
    await enqueue(fenced.store)
    await fenced.store.create(creation(n="one", sends=Rate(1, 600)))
    await fenced.store.reserve([("d:here", (Rate(1, 600),))])
    fenced.restart()
    store = await answering(fenced.store)

    assert [claimed.n for claimed in await claim(store, "sms", "message")] == ["m1"]
    assert (await store.create(creation(n="two", sends=Rate(1, 600)))).outcome == "budget"
    assert (await store.reserve([("d:here", (Rate(1, 600),))]))[1] == 0


async def test_every_fenced_restart_counts(fenced: Place) -> None:
    gens = []
    for _ in range(2):
        record = (await (await answering(fenced.store)).create(creation())).record
        assert record
        gens.append(record.epoch)
        fenced.restart()
    store = await answering(fenced.store)

    assert gens == [1, 2]
    assert (await store.read(SHOP, N)).outcome == "void"


# --- the clock -------------------------------------------------------------


async def test_a_clock_set_back_voids_what_was_open(place: Place) -> None:
    store = place.store
    record = (await store.create(creation(flags=CALLBACK))).record
    place.set_back(30)

    assert record
    assert await is_void(store, record.gen)
    # Its queue is kept by the time of before.
    place.advance(30)
    assert await claim(store) == []
    assert [unpack_event(e.message.meta).kind for e in await events(store) if e.message] == ["r"]
    assert (await store.create(creation())).outcome == "created"
    assert (await store.check(guess())).outcome == "verified"


async def test_a_clock_set_back_a_little_does_not(place: Place) -> None:
    store = place.store
    first = await store.create(creation())
    place.set_back(1)

    second = await store.read(SHOP, N)
    assert second.outcome == "read"
    assert second.now >= first.now, "time does not run backwards in answers"
    assert (await store.check(guess())).outcome == "verified"


async def test_a_step_back_is_noted_once(place: Place) -> None:
    store = place.store
    await store.create(creation())
    place.set_back(60)
    await store.read(SHOP, N)
    record = (await store.create(creation())).record
    assert record
    assert record.epoch == 2
    for _ in range(3):
        assert (await store.read(SHOP, N)).outcome == "read"


async def test_many_who_note_one_step_back_open_one_epoch(place: Place) -> None:
    """Their questions left together, before any of them could hear of it."""
    store = place.store
    await store.create(creation())
    place.set_back(60)
    answers = await asyncio.gather(*(store.create(creation(n=f"c{at}")) for at in range(10)))

    assert {answer.record.epoch for answer in answers if answer.record} == {2}
    for at in range(10):
        assert (await store.read(SHOP, f"c{at}")).outcome == "read"


async def test_a_step_back_is_noted_for_every_tenant(place: Place) -> None:
    """Also for one who asks after another's question has set things right."""
    store = place.store
    await store.create(creation())
    await store.create(creation(tenant=BANK))
    place.set_back(60)

    assert (await store.read(SHOP, N)).outcome == "void"
    assert (await store.read(BANK, N)).outcome == "void"


async def test_time_that_jumps_forward_voids_nothing(place: Place) -> None:
    store = place.store
    await store.create(creation())
    place.advance(280)

    assert (await store.check(guess())).outcome == "verified"


@pytest.mark.parametrize("ahead", [30.0, 3600.0])
async def test_a_node_without_an_estimate_goes_by_the_highest_time_that_the_store_saw(
    real: RedisPlace, ahead: float
) -> None:
    await real.store.create(creation())
    real.set_highest(real.highest() + ahead * 1000)

    assert (await real.node().read(SHOP, N)).outcome == "void"


async def test_a_slower_store_is_not_taken_for_one_that_was_set_back(real: RedisPlace) -> None:
    """Our clock gains 0.04 % on the store's: over hours that is far more than 2 s."""
    await real.store.create(creation(ttl=86_000_000))
    for _ in range(20):
        real.gain(3600, 3600 * 0.0004)
        assert (await real.store.read(SHOP, N)).outcome == "read"
