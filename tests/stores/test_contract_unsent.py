"""What was closed, changed or late is not handed to anybody, and whoever holds it is told."""

from __future__ import annotations

import pytest

from otpsvc.challenge import Flag, unpack_event
from otpsvc.message import MessageState
from otpsvc.store import Store
from tests.stores.places import Place
from tests.stores.steps import (
    LEASE,
    OTHER,
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
    op,
    resend,
    state_of,
    status,
    without_address,
)


async def change(place: Place, how: str) -> None:
    """Something that makes the queued message of `N` one that nobody may send."""
    store = place.store
    match how:
        case "verified":
            await store.check(guess())
        case "locked":
            await store.check(guess(WRONG))
        case "cancelled":
            await store.cancel(SHOP, N, op())
        case "expired":
            place.advance(300)
        case "another destination":
            await store.create(creation(dest=THERE, digest=OTHER, route="sms", max_attempts=1))
        case "no destination":
            await store.create(without_address(max_attempts=1))


CLOSED = ["verified", "locked", "cancelled"]
CHANGED = ["another destination", "no destination"]


@pytest.mark.parametrize("how", [*CLOSED, *CHANGED, "expired"])
async def test_what_was_closed_changed_or_late_is_never_claimed(place: Place, how: str) -> None:
    store = place.store
    await store.create(creation(max_attempts=1))
    await change(place, how)

    batch = await claim_batch(store)
    assert (batch.taken, batch.next_due, batch.ended) == ([], -1, int(how == "expired"))


@pytest.mark.parametrize("how", CLOSED)
async def test_the_holder_of_a_closed_one_is_told(place: Place, how: str) -> None:
    store = place.store
    await store.create(creation(max_attempts=1))
    [one] = await claim(store)
    await change(place, how)
    assert await store.beat(one, lease=LEASE) == "ended"

    assert (await state_of(store))[0] == MessageState.EXPIRED
    place.advance(LEASE / 1000)
    assert await claim(store) == []


@pytest.mark.parametrize("how", CLOSED)
async def test_a_closed_one_is_not_tried_again(place: Place, how: str) -> None:
    store = place.store
    await store.create(creation(max_attempts=1))
    [one] = await claim(store)
    await change(place, how)
    assert await later(store, one, delay=0, uncertain=True) == "ended"

    assert await state_of(store) == (MessageState.EXPIRED, 1, 1, "closed")
    assert await claim(store) == []


@pytest.mark.parametrize("how", CHANGED)
async def test_the_holder_of_an_older_generation_has_lost_it(place: Place, how: str) -> None:
    store = place.store
    await store.create(creation(max_attempts=1))
    [one] = await claim(store)
    await change(place, how)

    assert await store.beat(one, lease=LEASE) == "lost"
    assert await later(store, one) == "lost"
    assert await finish(store, one) == "lost"
    assert (await state_of(store))[0] in (MessageState.QUEUED, MessageState.NONE)


async def test_the_holder_of_the_same_generation_has_lost_it_to_a_newer_send(store: Store) -> None:
    await store.create(creation())
    [one] = await claim(store)
    await store.create(creation())

    assert await finish(store, one) == "lost"
    assert (await state_of(store))[0] == MessageState.QUEUED


@pytest.mark.parametrize("step", ["beat", "later"])
async def test_after_the_deadline_nothing_is_sent(place: Place, step: str) -> None:
    store = place.store
    await enqueue(store, ttl=60_000)
    [one] = await claim(store, "sms", "message")
    place.advance(60)
    said = await (store.beat(one, lease=LEASE) if step == "beat" else later(store, one))

    assert said == "ended"
    record = await store.message(SHOP, "m1")
    assert record
    assert (record.message_state, record.reason, record.body) == (MessageState.EXPIRED, "deadline", b"")


async def test_a_late_challenge_says_so(place: Place) -> None:
    await place.store.create(creation(body=b"sealed code"))
    place.advance(301)
    assert (await claim_batch(place.store)).ended == 1

    assert (await state_of(place.store))[0] == MessageState.EXPIRED
    record = (await place.store.read(SHOP, N)).record
    assert record
    assert (record.reason, record.body) == ("deadline", b"")


async def test_what_is_dead_makes_room_for_what_is_alive(place: Place) -> None:
    store = place.store
    for at in range(3):
        await store.create(creation(n=f"old{at}", ttl=10_000))
    place.advance(10)
    await store.create(creation(n="new"))

    batch = await claim_batch(store, limit=3)
    assert ([claimed.n for claimed in batch.taken], batch.ended) == (["new"], 3)


# --- holders of what is no more ----------------------------------------------


@pytest.mark.parametrize("lease", [0, LEASE])
@pytest.mark.parametrize("how", ["create", "resend"])
async def test_a_newer_send_takes_the_message_from_its_holder(store: Store, how: str, lease: int) -> None:
    """Also when the newer one's caller holds it at once."""
    record = (await store.create(creation())).record
    [one] = await claim(store)
    assert record
    again = store.create(creation(lease=lease)) if how == "create" else None
    await (again or store.resend(resend(record.gen, lease=lease)))

    assert await finish(store, one, MessageState.FAILED) == "lost"
    newer = (await store.read(SHOP, N)).record
    assert newer
    assert newer.message_state == (MessageState.SENDING if lease else MessageState.QUEUED)


@pytest.mark.parametrize("how", ["expired", "consumed"])
async def test_the_holder_of_an_older_record_has_no_say_in_a_newer_one(place: Place, how: str) -> None:
    """The newer one counts its holders from one again."""
    store = place.store
    await store.create(creation(ttl=60_000))
    [older] = await claim(store)
    if how == "consumed":
        await store.check(guess())
        await status(store, consume=True)
    else:
        place.advance(60)
    await store.create(creation())
    [newer] = await claim(store)

    assert older.fence == newer.fence
    assert await finish(store, older, MessageState.FAILED) == "lost"
    assert await later(store, older) == "lost"
    assert await finish(store, newer) == "ok"


async def test_a_failure_after_the_deadline_is_told_as_an_expiry_alone(place: Place) -> None:
    store = place.store
    await store.create(creation(flags=int(Flag.CALLBACK)))
    [claimed] = await claim(store)
    place.advance(300)
    assert await finish(store, claimed, MessageState.FAILED) == "ok"

    assert [unpack_event(event.message.meta).kind for event in await events(store) if event.message] == ["x"]


@pytest.mark.parametrize("how", [*CLOSED, *CHANGED, "sent", "consumed"])
async def test_nothing_stays_in_the_queue_of_what_has_ended(place: Place, how: str) -> None:
    store = place.store
    await store.create(creation(max_attempts=1))
    [claimed] = await claim(store)
    if how == "sent":
        await finish(store, claimed)
    elif how == "consumed":
        await store.check(guess())
        await status(store, consume=True)
    else:
        await change(place, how)

    assert (await claim_batch(store)).next_due == -1


@pytest.mark.parametrize("how", CLOSED)
async def test_what_ended_on_its_way_still_hears_what_the_far_end_said(place: Place, how: str) -> None:
    """The code was typed before the far end had answered: it was sent, not given up."""
    store = place.store
    await store.create(creation(max_attempts=1))
    [one] = await claim(store)
    await change(place, how)
    assert await store.beat(one, lease=LEASE) == "ended"

    assert await later(store, one) == "ended"
    assert await finish(store, one) == "ok"
    assert (await state_of(store))[0] == MessageState.SENT
    assert await finish(store, one) == "lost"


async def test_a_dead_workers_message_that_is_too_late_to_take_over_is_in_doubt(place: Place) -> None:
    store = place.store
    await store.create(creation(ttl=30_000))
    await enqueue(store, ttl=30_000)
    await claim(store)
    await claim(store, "sms", "message")
    place.advance(30)
    assert (await claim_batch(store)).ended == (await claim_batch(store, "sms", "message")).ended == 1

    assert await state_of(store) == (MessageState.EXPIRED, 1, 1, "deadline")
    message = await store.message(SHOP, "m1")
    assert message
    assert (message.message_state, message.uncertain) == (MessageState.EXPIRED, 1)
