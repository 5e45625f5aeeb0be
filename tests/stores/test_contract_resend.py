"""Resends: the same code again, or with a slow hash another one; never of what is closed."""

from __future__ import annotations

import pytest

from otpsvc.challenge import Flag
from otpsvc.store import Offer, Store
from tests.stores.places import Place
from tests.stores.steps import (
    KID,
    OTHER,
    OTHER_KID,
    RIGHT,
    SALT,
    SHOP,
    WRONG,
    N,
    claim,
    creation,
    finish,
    guess,
    op,
    resend,
    slow,
)


async def test_a_resend_sends_the_same_code_again(store: Store) -> None:
    first = (await store.create(creation())).record
    [claimed] = await claim(store)
    await finish(store, claimed)
    assert first
    answer = await store.resend(resend(first.gen))

    assert answer.outcome == "created"
    assert answer.record
    assert (answer.record.gen, answer.record.sends) == (first.gen, 2)
    assert [claimed.gen for claimed in await claim(store)] == [first.gen]
    assert (await store.check(guess())).outcome == "verified"


async def test_a_resend_does_not_prolong(place: Place) -> None:
    first = (await place.store.create(creation())).record
    place.advance(100)
    assert first
    answer = await place.store.resend(resend(first.gen))

    assert answer.record
    assert answer.record.deadline_after == 300_000


async def test_a_resend_of_a_slow_hash_replaces_the_code(store: Store) -> None:
    first = (await store.create(slow())).record
    assert first
    answer = await store.resend(resend(first.gen, kid=OTHER_KID, digest=OTHER, salt=b"salt2", body=b"b2"))

    record = answer.record
    assert record
    # The generation stays, and with it the pages that speak of it.
    assert (record.gen, record.blob) == (first.gen, first.blob)
    assert (record.kid, record.salt, record.body) == (OTHER_KID, b"salt2", b"b2")
    assert [claimed.gen for claimed in await claim(store)] == [first.gen]
    old, new = (Offer("a", KID, RIGHT), Offer("a", OTHER_KID, RIGHT)), (Offer("a", OTHER_KID, OTHER),)
    assert (await store.check(guess(offers=old))).outcome == "wrong"
    assert (await store.check(guess(offers=new))).outcome == "verified"


async def test_a_resend_prepared_for_another_generation_must_be_prepared_again(store: Store) -> None:
    await store.create(creation())
    answer = await store.resend(resend(b"older generation"))
    assert answer.outcome == "offer"
    assert answer.record
    assert answer.record.sends == 1

    record = (await store.create(slow(n="other"))).record
    assert record
    assert record.salt == SALT
    assert (await store.resend(resend(record.gen, n="other"))).outcome == "offer"


async def test_a_supplied_code_is_not_resent(store: Store) -> None:
    record = (await store.create(creation(flags=int(Flag.SUPPLIED)))).record

    assert record
    assert (await store.resend(resend(record.gen))).outcome == "supplied"


async def closed_by(store: Store, how: str) -> bytes:
    record = (await store.create(creation(max_attempts=2))).record
    assert record
    if how == "verified":
        await store.check(guess(RIGHT))
    elif how == "cancelled":
        await store.cancel(SHOP, N, op())
    elif how == "consumed":
        await store.check(guess(RIGHT))
        await store.status(SHOP, N, op(), needs="000", receipt=None, consume=True)
    elif how == "locked":
        await store.check(guess(WRONG))
        await store.check(guess(WRONG))
    return record.gen


@pytest.mark.parametrize(
    ("how", "outcome"),
    [("verified", "closed"), ("cancelled", "closed"), ("locked", "locked"), ("consumed", "unknown")],
)
async def test_what_is_closed_is_not_resent(store: Store, how: str, outcome: str) -> None:
    gen = await closed_by(store, how)

    answer = await store.resend(resend(gen))
    assert answer.outcome == outcome
    assert await claim(store) == []


async def test_what_is_not_there_is_unknown(place: Place) -> None:
    store = place.store
    assert (await store.resend(resend(b"g" * 16))).outcome == "unknown"
    record = (await store.create(creation(ttl=10_000))).record
    place.advance(10)

    assert record
    assert (await store.resend(resend(record.gen))).outcome == "unknown"
