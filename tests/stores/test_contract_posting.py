"""Raw messages: what is asked before one is queued, in one step, and how many parts it became."""

from __future__ import annotations

import asyncio

import pytest

from otpsvc.challenge import unpack_raw
from otpsvc.message import MessageState
from otpsvc.store import Once, Store
from otpsvc.tenant import Rate
from tests.stores.places import Place
from tests.stores.steps import (
    BANK,
    HERE,
    PRINT,
    SHOP,
    claim,
    claim_batch,
    creation,
    enqueue,
    finish,
    posting,
    raw_state,
    resend,
)

TWO = Rate(2, 600)


async def test_the_answer_has_the_record(store: Store) -> None:
    posted = await store.enqueue(posting())

    assert (posted.outcome, posted.n, posted.wait) == ("queued", "m1", 0)
    assert posted.record == await store.message(SHOP, "m1")
    assert posted.record
    assert posted.now == posted.record.created


async def test_the_same_call_again_gets_the_first_answer(store: Store) -> None:
    """Its answer was lost; what came later does not change that it was queued."""
    await store.enqueue(posting(sends=TWO))
    [claimed] = await claim(store, "sms", "message")
    await finish(store, claimed)
    await store.block(SHOP, HERE, b"sealed")
    posted = await store.enqueue(posting(sends=TWO))

    assert (posted.outcome, posted.n) == ("queued", "m1")
    assert posted.record
    assert posted.record.message_state == MessageState.SENT
    assert await claim(store, "sms", "message") == []
    await store.unblock(SHOP, HERE)
    assert await enqueue(store, "m2", sends=TWO) == "queued", "it was counted once"


# --- the same command again ------------------------------------------------


async def test_what_is_asked_twice_is_sent_once(store: Store) -> None:
    first = await store.enqueue(posting("m1", once="key", once_life=60_000))
    second = await store.enqueue(posting("m2", once="key", once_life=60_000, body=b"another"))

    assert (second.outcome, second.n) == ("known", "m1")
    assert second.record == first.record
    assert await store.message(SHOP, "m2") is None
    assert [claimed.n for claimed in await claim(store, "sms", "message")] == ["m1"]


async def test_a_known_one_counts_nothing(store: Store) -> None:
    for n in "m1", "m2", "m3":
        await store.enqueue(posting(n, once="key", once_life=60_000, sends=TWO))

    assert await enqueue(store, "m4", sends=TWO) == "queued"


async def test_a_known_one_tells_how_it_is_now(store: Store) -> None:
    await store.enqueue(posting("m1", once="key", once_life=60_000))
    [claimed] = await claim(store, "sms", "message")
    await finish(store, claimed, parts=3)
    record = (await store.enqueue(posting("m2", once="key", once_life=60_000))).record

    assert record
    assert record.message_state == MessageState.SENT
    assert unpack_raw(record.meta).parts == 3


async def test_other_names_and_other_tenants_are_apart(store: Store) -> None:
    asked = {"once_life": 60_000}
    for n, more in ("m1", {"once": "a"}), ("m2", {"once": "b"}), ("m3", {"once": "a", "tenant": BANK}):
        assert await enqueue(store, n, **asked, **more) == "queued"


async def test_a_create_with_the_same_key_is_another_request(store: Store) -> None:
    once = Once("key", PRINT)
    assert (await store.create(creation(once=once))).outcome == "created"
    assert await enqueue(store, "m1", once="key", once_life=60_000) == "queued"

    assert (await store.create(creation(once=once))).outcome == "done"
    assert await enqueue(store, "m2", once="key", once_life=60_000) == "known"


async def test_a_name_is_known_for_its_life(place: Place) -> None:
    store, asked = place.store, {"once": "key", "once_life": 60_000}
    await enqueue(store, "m1", **asked)
    place.advance(40)
    assert await enqueue(store, "m2", **asked) == "known"
    place.advance(21)

    assert await enqueue(store, "m3", **asked) == "queued"
    assert await enqueue(store, "m4", **asked) == "known"


async def test_a_name_whose_message_is_gone_is_new(place: Place) -> None:
    store, asked = place.store, {"once": "key", "once_life": 10 * 86_400_000}
    await enqueue(store, "m1", ttl=60_000, **asked)
    place.advance(86_400 + 61)

    assert await enqueue(store, "m2", **asked) == "queued"
    assert (await store.enqueue(posting("m3", **asked))).n == "m2"


async def test_of_many_at_once_one_is_queued(place: Place) -> None:
    nodes = [place.node(), place.node()]
    answers = await asyncio.gather(
        *(nodes[at % 2].enqueue(posting(f"m{at}", once="key", once_life=60_000)) for at in range(20))
    )

    assert sorted(answer.outcome for answer in answers) == ["known"] * 19 + ["queued"]
    assert len({answer.n for answer in answers}) == 1


# --- the budget ------------------------------------------------------------


async def test_codes_and_raw_messages_share_a_budget(place: Place) -> None:
    store = place.store
    record = (await store.create(creation(sends=TWO, ttl=900_000))).record
    assert record
    assert await enqueue(store, "m1", sends=TWO) == "queued"
    place.advance(100)
    refused = await store.enqueue(posting("m2", sends=TWO))

    assert (refused.outcome, refused.n, refused.record) == ("budget", "", None)
    assert refused.wait == pytest.approx(500_000, abs=20_000)
    assert await store.message(SHOP, "m2") is None
    assert (await store.resend(resend(record.gen, sends=TWO))).outcome == "budget"
    place.advance(501)
    assert await enqueue(store, "m2", sends=TWO) == "queued"
    assert (await store.resend(resend(record.gen, sends=TWO))).outcome == "created"
    assert await enqueue(store, "m3", sends=TWO) == "budget"


async def test_a_refused_one_keeps_no_name(place: Place) -> None:
    store, one = place.store, Rate(1, 600)
    asked = {"once": "key", "once_life": 86_400_000, "sends": one}
    await enqueue(store, "m1", sends=one)
    assert await enqueue(store, "m2", **asked) == "budget"
    place.advance(601)

    assert await enqueue(store, "m3", **asked) == "queued"


async def test_a_refused_one_is_not_counted(place: Place) -> None:
    store, one = place.store, Rate(1, 600)
    await enqueue(store, "m1", sends=one)
    for n in "m2", "m3", "m4":
        assert await enqueue(store, n, sends=one) == "budget"

    assert await enqueue(store, "m5", sends=TWO) == "queued"


# --- parts -----------------------------------------------------------------


@pytest.mark.parametrize(("parts", "kept"), [(0, 0), (1, 1), (255, 255), (999, 255)])
async def test_how_many_parts_it_became_is_kept(store: Store, parts: int, kept: int) -> None:
    await enqueue(store)
    [claimed] = await claim(store, "sms", "message")
    assert claimed.message
    assert unpack_raw(claimed.message.meta) == (0, HERE, PRINT)
    assert await finish(store, claimed, parts=parts) == "ok"

    record = await store.message(SHOP, "m1")
    assert record
    assert unpack_raw(record.meta) == (kept, HERE, PRINT)


async def test_a_failed_one_says_so(store: Store) -> None:
    await enqueue(store)
    [claimed] = await claim(store, "sms", "message")
    await finish(store, claimed, MessageState.FAILED, reason="no such number")

    assert await raw_state(store) == (MessageState.FAILED, "no such number")
    assert (await claim_batch(store, "sms", "message")).next_due == -1
