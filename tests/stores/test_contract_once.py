"""Idempotency-Keys, guards across tenants, check values of keys: what stands around a create."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from otpsvc.challenge import Flag
from otpsvc.store import Creation, Once, Store
from otpsvc.tenant import Rate
from tests.stores.places import Place
from tests.stores.steps import BANK, SHOP, SLACK, THERE, N, claim, creation, guess, lasts, op, slow

KEY = Once("key-of-alice", b"fingerprint....1")
CHANGED = Once(KEY.name, b"fingerprint....2")


async def opened(store: Store, once: Once, by: bytes, tenant: str = SHOP) -> str:
    return (await store.once(tenant, once.name, once.fingerprint, by)).outcome


async def test_a_key_is_opened_used_and_answered_from_then_on(place: Place) -> None:
    store, first = place.store, op()
    assert await opened(store, KEY, first) == "new"
    created = await store.create(creation(op=first, once=KEY))
    await store.check(guess())
    place.advance(200)

    for done in (
        await store.once(SHOP, KEY.name, KEY.fingerprint, op()),
        await store.create(creation(once=KEY, dest=THERE)),
    ):
        assert (done.outcome, done.now, done.record) == ("done", created.now, created.record)
    assert await claim(store) == []


async def test_a_key_with_another_request_is_refused(store: Store) -> None:
    first = op()
    assert await opened(store, KEY, first) == "new"
    assert await opened(store, CHANGED, op()) == "mismatch"
    assert (await store.create(creation(once=CHANGED))).outcome == "mismatch"
    await store.create(creation(op=first, once=KEY))

    assert await opened(store, CHANGED, op()) == "mismatch"
    answer = await store.create(creation(once=CHANGED))
    assert (answer.outcome, answer.record) == ("mismatch", None)


async def test_while_the_first_request_runs_others_are_told_so(place: Place) -> None:
    store, first = place.store, op()
    assert await opened(store, KEY, first) == "new"
    assert await opened(store, KEY, first) == "mine"
    assert await opened(store, KEY, op()) == "running"
    assert (await store.create(creation(once=KEY))).outcome == "running"
    assert (await store.read(SHOP, N)).outcome == "unknown"

    # It died; its key is free again.
    place.advance(10)
    assert await opened(store, KEY, op()) == "new"


async def test_of_many_at_once_one_runs(place: Place) -> None:
    nodes = [place.node(), place.node()]
    outcomes = await asyncio.gather(*(opened(nodes[at % 2], KEY, op()) for at in range(50)))

    assert sorted(outcomes) == ["new"] + ["running"] * 49


async def test_a_key_that_was_given_up_is_free(store: Store) -> None:
    await opened(store, KEY, op())
    await store.release_once(SHOP, KEY.name)

    assert await opened(store, CHANGED, op()) == "new"


async def test_a_refused_create_gives_its_key_up(store: Store) -> None:
    await store.create(creation(waits=(30,)))
    first = op()
    await opened(store, KEY, first)
    assert (await store.create(creation(op=first, once=KEY, waits=(30,)))).outcome == "wait"

    assert await opened(store, KEY, op()) == "new"


async def test_a_create_without_opening_its_key_first_keeps_it_too(store: Store) -> None:
    """The lease of a slow request may have ended before its create."""
    await store.create(creation(once=KEY))

    assert (await store.create(creation(once=KEY, n="other"))).outcome == "done"


async def test_keys_are_apart_by_tenant_and_name(store: Store) -> None:
    await opened(store, KEY, op())

    assert await opened(store, KEY, op(), BANK) == "new"
    assert await opened(store, Once("another key", KEY.fingerprint), op()) == "new"


async def test_a_key_is_remembered_for_a_day(place: Place) -> None:
    await place.store.create(creation(once=KEY))
    place.advance(86_400 - SLACK)
    assert await opened(place.store, KEY, op()) == "done"

    place.advance(SLACK)
    assert await opened(place.store, KEY, op()) == "new"


KEPT = [slow(once=KEY), creation(once=KEY, flags=int(Flag.SUPPLIED), body=b"sealed code")]


@pytest.mark.parametrize("asked", KEPT)
async def test_the_kept_answer_holds_no_code_not_even_sealed(store: Store, asked: Creation) -> None:
    created = await store.create(replace(asked, op=op()))
    done = await store.once(SHOP, KEY.name, KEY.fingerprint, op())

    assert created.record
    assert created.record.body == b"sealed code"
    assert done.record == created.record._replace(body=b"")


# --- guards ----------------------------------------------------------------

HERE_GUARD, CLIENT_GUARD = "d:here", "c:alice"


async def test_a_window_takes_so_many_and_slides(place: Place) -> None:
    store, guards = place.store, [(HERE_GUARD, (Rate(3, 600),))]
    for _ in range(3):
        assert await store.reserve(guards) == (0, -1)
        place.advance(100)
    wait, which = await store.reserve(guards)
    assert (lasts(store, wait, 300), which) == (True, 0)

    place.advance(300)
    assert await store.reserve(guards) == (0, -1)
    wait, _ = await store.reserve(guards)
    assert lasts(store, wait, 100), "the second of the first three is the next to leave"


async def test_every_window_counts_and_the_longest_wait_is_told(place: Place) -> None:
    store, guards = place.store, [(HERE_GUARD, (Rate(2, 60), Rate(3, 600), Rate(9, 86_400)))]
    await store.reserve(guards)
    place.advance(100)
    await store.reserve(guards)
    await store.reserve(guards)

    wait, which = await store.reserve(guards)
    assert (lasts(store, wait, 500), which) == (True, 0)
    place.advance(60)
    wait, _ = await store.reserve(guards)
    assert lasts(store, wait, 440)


async def test_all_guards_or_none(store: Store) -> None:
    narrow, wide = (CLIENT_GUARD, (Rate(1, 60),)), (HERE_GUARD, (Rate(2, 60),))
    assert await store.reserve([wide, narrow]) == (0, -1)
    for _ in range(3):
        wait, which = await store.reserve([wide, narrow])
        assert (wait > 0, which) == (True, 1)

    assert await store.reserve([wide]) == (0, -1), "the refused ones took no place"
    assert (await store.reserve([narrow, wide]))[0] > 0


async def test_of_many_at_once_as_many_as_there_are_places(place: Place) -> None:
    nodes = [place.node(), place.node()]
    guards = [(HERE_GUARD, (Rate(7, 60),))]
    answers = await asyncio.gather(*(nodes[at % 2].reserve(guards) for at in range(60)))

    assert sum(wait == 0 for wait, _ in answers) == 7


async def test_a_place_given_back_is_free(store: Store) -> None:
    guards = [(HERE_GUARD, (Rate(2, 60),)), (CLIENT_GUARD, (Rate(5, 60),))]
    await store.reserve(guards)
    await store.reserve(guards)
    await store.unreserve([HERE_GUARD, CLIENT_GUARD])

    assert await store.reserve(guards) == (0, -1)
    assert (await store.reserve(guards))[1] == 0
    for _ in range(5):
        await store.unreserve([HERE_GUARD, "d:never taken"])
    assert await store.reserve(guards) == (0, -1)


async def test_a_guard_keeps_its_end_when_a_place_is_given_back(place: Place) -> None:
    guards = [(HERE_GUARD, (Rate(2, 60),))]
    await place.store.reserve(guards)
    place.advance(20)
    await place.store.reserve(guards)
    await place.store.unreserve([HERE_GUARD])

    assert place.endless() == []
    assert await place.store.reserve(guards) == (0, -1)
    wait, _ = await place.store.reserve(guards)
    assert lasts(place.store, wait, 40)


async def test_a_guard_ends_with_its_widest_window(place: Place) -> None:
    guards = [(HERE_GUARD, (Rate(1, 60), Rate(2, 600)))]
    await place.store.reserve(guards)
    place.advance(600)

    assert await place.store.reserve(guards) == (0, -1)


# --- keys ------------------------------------------------------------------


async def test_the_first_check_value_of_a_key_is_kept(place: Place) -> None:
    store, other = place.store, place.node()

    assert await store.check_values([("k1", b"one"), ("index", b"two")]) == []
    assert await other.check_values([("index", b"two"), ("k1", b"one"), ("k2", b"new")]) == []
    assert await other.check_values([("index", b"another"), ("k1", b"one"), ("k2", b"?")]) == ["index", "k2"]
    assert await store.check_values([("index", b"two")]) == []


async def test_it_answers(store: Store) -> None:
    assert await store.ping() == "ok"
