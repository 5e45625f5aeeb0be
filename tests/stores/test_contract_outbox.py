"""The outbox: what is due is handed to one worker at a time, and each message comes to one end."""

from __future__ import annotations

import asyncio

from otpsvc.challenge import RAW, State, pack_raw
from otpsvc.message import LANES, MessageState
from otpsvc.store import Claimed, Store
from tests.stores.places import Place
from tests.stores.steps import (
    BANK,
    HERE,
    LEASE,
    PRINT,
    SHOP,
    N,
    claim,
    claim_batch,
    creation,
    enqueue,
    finish,
    lasts,
    later,
    op,
    state_of,
)
from tests.waiting import PATIENCE, until


async def test_a_message_is_claimed_once_and_finished(store: Store) -> None:
    record = (await store.create(creation(body=b"sealed code"))).record
    [claimed] = await claim(store)
    assert await claim(store) == []
    assert (claimed.tenant, claimed.route, claimed.lane, claimed.n) == (SHOP, "mail", "otp", N)
    assert claimed.challenge
    assert record
    assert (claimed.gen, claimed.challenge.body) == (record.gen, b"sealed code")
    assert lasts(store, claimed.left * 1000, 300)
    assert await state_of(store) == (MessageState.SENDING, 1, 0, "")

    assert await finish(store, claimed, reason="by the second channel") == "ok"
    assert await state_of(store) == (MessageState.SENT, 1, 0, "by the second channel")
    after = (await store.read(SHOP, N)).record
    assert after
    assert (after.body, after.state) == (b"", State.OPEN)
    assert await finish(store, claimed) == "lost"
    assert await claim(store) == []


async def test_of_many_workers_each_gets_other_messages(place: Place) -> None:
    nodes = [place.node(), place.node()]
    await asyncio.gather(*(place.store.create(creation(n=f"c{at}")) for at in range(40)))
    batches = await asyncio.gather(*(claim(nodes[at % 2], limit=3) for at in range(20)))

    taken = [claimed.n for batch in batches for claimed in batch]
    assert sorted(taken) == sorted(f"c{at}" for at in range(40))
    assert max(map(len, batches)) == 3


async def test_the_oldest_is_taken_first_and_the_next_due_is_told(place: Place) -> None:
    store = place.store
    for n in ("c3", "c1", "c2"):
        await store.create(creation(n=n))
        place.advance(1)
    batch = await claim_batch(store, limit=2)
    assert [claimed.n for claimed in batch.taken] == ["c3", "c1"]
    assert batch.next_due <= batch.now
    assert [claimed.n for claimed in await claim(store)] == ["c2"]

    rest = await claim_batch(store)
    assert (rest.taken, rest.ended) == ([], 0)
    assert lasts(store, rest.next_due - rest.now, LEASE // 1000)
    assert (await claim_batch(store, "nobody")).next_due == -1


async def test_routes_lanes_and_tenants_are_apart(store: Store) -> None:
    for lane in LANES:
        assert await enqueue(store, lane, route="sms", lane=lane) == "queued"
    await store.create(creation(route="sms"))
    await store.create(creation(tenant=BANK, route="sms"))

    assert [claimed.n for claimed in await claim(store, "sms", "message")] == ["message"]
    assert [claimed.n for claimed in await claim(store, "sms", "event")] == ["event"]
    assert sorted(claimed.n for claimed in await claim(store, "sms", "otp")) == sorted([N, "otp"])
    assert await claim(store, "mail") == []
    batch = await store.claim(BANK, "sms", "otp", limit=9, lease=LEASE)
    assert [claimed.tenant for claimed in batch.taken] == [BANK]


# --- leases and fences -----------------------------------------------------


async def test_a_dead_workers_message_is_taken_over_in_doubt(place: Place) -> None:
    store = place.store
    await store.create(creation())
    [first] = await claim(store)
    place.advance(10)
    assert await claim(store) == []
    place.advance(20)
    [second] = await claim(store)

    assert second.challenge
    assert (second.challenge.tries, second.challenge.uncertain) == (2, 1)
    for said in (await finish(store, first), await later(store, first), await store.beat(first, lease=LEASE)):
        assert said == "lost"
    assert await finish(store, second) == "ok"
    assert await state_of(store) == (MessageState.SENT, 2, 1, "")


async def test_a_sign_of_life_keeps_the_lease(place: Place) -> None:
    store = place.store
    await store.create(creation())
    [claimed] = await claim(store)
    for _ in range(3):
        place.advance(10)
        assert await store.beat(claimed, lease=LEASE) == "ok"
    assert await claim(store) == []
    assert await finish(store, claimed) == "ok"

    assert await state_of(store) == (MessageState.SENT, 1, 0, "")


async def test_a_raw_message_is_fenced_alike(place: Place) -> None:
    store = place.store
    await enqueue(store)
    [first] = await claim(store, "sms", "message")
    place.advance(30)
    [second] = await claim(store, "sms", "message")

    assert second.message
    assert (second.message.tries, second.message.uncertain) == (2, 1)
    assert {await finish(store, first), await later(store, first)} == {"lost"}
    assert await store.beat(first, lease=LEASE) == "lost"
    assert await later(store, second) == "ok"


async def test_no_two_holders_of_one_message_share_a_fence(place: Place) -> None:
    store, fences = place.store, []
    for _ in range(3):
        await store.create(creation())
        [claimed] = await claim(store)
        fences.append(claimed.fence)
        place.advance(30)
        [claimed] = await claim(store)
        fences.append(claimed.fence)

    assert len(set(fences)) == 6


# --- later -----------------------------------------------------------------


async def test_later_it_is_taken_again_without_doubt(place: Place) -> None:
    store = place.store
    await store.create(creation())
    [first] = await claim(store)
    assert await later(store, first, delay=30_000) == "ok"
    assert await state_of(store) == (MessageState.QUEUED, 1, 0, "busy")
    assert await later(store, first) == "lost"
    place.advance(10)
    assert await claim(store) == []
    place.advance(20)

    [second] = await claim(store)
    assert second.challenge
    assert (second.challenge.tries, second.challenge.uncertain, second.challenge.way) == (2, 0, 0)


async def test_another_channel_starts_its_tries_anew_and_a_doubt_stays(place: Place) -> None:
    store = place.store
    await store.create(creation())
    [first] = await claim(store)
    await later(store, first, delay=0, uncertain=True)
    [second] = await claim(store)
    assert second.challenge
    assert (second.challenge.tries, second.challenge.uncertain) == (2, 1)
    assert await later(store, second, delay=0, way=1) == "ok"

    [third] = await claim(store)
    assert third.challenge
    assert (third.challenge.tries, third.challenge.uncertain, third.challenge.way) == (1, 1, 1)


async def test_a_doubt_at_the_end_is_kept(store: Store) -> None:
    await store.create(creation())
    [claimed] = await claim(store)
    await store.finish(claimed, state=MessageState.SENT, way=2, reason="timed out", uncertain=True)

    assert await state_of(store) == (MessageState.SENT, 1, 1, "timed out")
    record = (await store.read(SHOP, N)).record
    assert record
    assert record.way == 2


async def test_a_long_reason_is_cut(store: Store) -> None:
    await store.create(creation())
    [claimed] = await claim(store)
    await finish(store, claimed, MessageState.FAILED, reason="ü" * 100)

    assert (await state_of(store))[3] == "ü" * 60


# --- raw messages ----------------------------------------------------------


async def test_a_raw_message_has_its_own_record(place: Place) -> None:
    store = place.store
    assert await store.message(SHOP, "m1") is None
    assert await enqueue(store) == "queued"
    assert await enqueue(store, body=b"another text") == "queued"
    record = await store.message(SHOP, "m1")
    assert record
    assert (record.version, record.kind, record.message_state) == (1, RAW, MessageState.QUEUED)
    assert (record.route, record.lane, record.meta, record.body) == (
        "sms",
        "message",
        pack_raw(HERE, PRINT),
        b"sealed text",
    )
    assert (record.deadline - record.created, record.due, record.fence) == (60_000, record.created, 0)
    assert await store.message(BANK, "m1") is None

    [claimed] = await claim(store, "sms", "message")
    assert (claimed.n, claimed.gen, claimed.challenge) == ("m1", b"", None)
    assert lasts(store, claimed.left * 1000, 60)
    assert await finish(store, claimed) == "ok"
    record = await store.message(SHOP, "m1")
    assert record
    assert (record.message_state, record.body, record.tries) == (MessageState.SENT, b"", 1)


async def test_a_raw_message_is_known_for_a_day_after_its_deadline(place: Place) -> None:
    store = place.store
    await enqueue(store, ttl=60_000)
    place.advance(61)
    assert (await claim_batch(store, "sms", "message")).ended == 1
    place.advance(86_400 - 62)
    record = await store.message(SHOP, "m1")
    assert record
    assert (record.message_state, record.reason) == (MessageState.EXPIRED, "deadline")

    place.advance(62)
    assert await enqueue(store) == "queued"


async def test_raw_messages_of_other_routes_are_left_alone(store: Store) -> None:
    await enqueue(store, "m1", route="sms")
    await enqueue(store, "m2", route="mail")

    taken: list[Claimed] = await claim(store, "mail", "message")
    assert [claimed.n for claimed in taken] == ["m2"]


async def test_whoever_listens_is_woken(place: Place) -> None:
    store, heard = place.store, asyncio.Queue[tuple[str, str, str]]()
    other = place.node()
    other.listen(lambda tenant, route, lane: heard.put_nowait((tenant, route, lane)))

    async def is_heard() -> bool:
        await enqueue(store, op().hex())
        return not heard.empty()

    # What is published before the listener is there is lost; that is allowed.
    await until(is_heard)

    assert await heard.get() == (SHOP, "sms", "message")
    while not heard.empty():
        heard.get_nowait()
    await store.create(creation())
    async with asyncio.timeout(PATIENCE):
        while await heard.get() != (SHOP, "mail", "otp"):
            pass
