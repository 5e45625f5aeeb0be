"""How far each feeder was told of the texts that came in: nothing is skipped, whatever the clock does."""

from __future__ import annotations

import random
from typing import Any

import pytest

from otpsvc.store import ALL, Store
from tests.stores.places import Place, RedisPlace
from tests.stores.steps import BANK, SHOP

LIFE, MOST = 60_000, 100
MQTT, OTHER = "mqtt", "other"


async def keep(store: Store, *ids: str, scope: str = SHOP, life: int = LIFE, most: int = MOST) -> None:
    for id in ids:
        assert await store.keep_text(scope, id, b"sealed " + id.encode(), life=life, most=most)


async def unread(store: Store, feeder: str = MQTT, *, scope: str = SHOP, limit: int = 100) -> list[str]:
    return [kept.id for kept in await store.unread(scope, feeder, limit=limit)]


async def read_on(store: Store, feeder: str = MQTT) -> list[str]:
    """Everything that the feeder was not told yet, one by one."""
    told = []
    while found := await unread(store, feeder, limit=1):
        told += found
        await store.advance(SHOP, feeder, found[0])
    return told


def set_back(place: Place, seconds: float) -> None:
    if isinstance(place, RedisPlace):
        place.misdate_texts(seconds, SHOP)
    else:
        place.set_back(seconds)


async def test_texts_are_told_in_order_once(store: Store) -> None:
    assert await unread(store) == []
    await keep(store, "t1", "t2", "t3")

    assert await unread(store) == ["t1", "t2", "t3"]
    [kept] = await store.unread(SHOP, MQTT)
    assert (kept.id, kept.sealed) == ("t1", b"sealed t1")
    assert kept == (await store.texts(SHOP))[-1]
    await store.advance(SHOP, MQTT, "t1")
    assert await unread(store, limit=1) == ["t2"]
    assert await read_on(store) == ["t2", "t3"]
    assert await unread(store) == []


async def test_a_feeder_seen_first_is_told_of_nothing_old(store: Store) -> None:
    await keep(store, "t1", "t2")

    assert await unread(store) == []
    await keep(store, "t3")
    assert await unread(store) == ["t3"]
    assert await unread(store, OTHER) == []


async def test_every_feeder_and_scope_has_its_own_place(store: Store) -> None:
    for feeder in MQTT, OTHER:
        for scope in SHOP, BANK, ALL:
            await unread(store, feeder, scope=scope)
    await keep(store, "t1", "t2")
    await keep(store, "t1", scope=BANK)
    await store.advance(SHOP, MQTT, "t2")

    assert await unread(store) == []
    assert await unread(store, OTHER) == ["t1", "t2"]
    assert await unread(store, scope=BANK) == ["t1"]
    assert await unread(store, scope=ALL) == []


async def test_a_place_never_goes_back(store: Store) -> None:
    await unread(store)
    await keep(store, "t1", "t2", "t3")
    for id in "t2", "t1", "gone":
        await store.advance(SHOP, MQTT, id)

    assert await unread(store) == ["t3"]


async def test_who_never_asked_was_told_nothing(store: Store) -> None:
    await keep(store, "t1", "t2")
    await store.advance(SHOP, MQTT, "t1")

    assert await unread(store) == []


async def test_texts_that_are_gone_hold_nobody_up(place: Place) -> None:
    store = place.store
    await unread(store)
    await keep(store, "t1", "t2", "t3", most=2)
    assert await unread(store) == ["t2", "t3"]

    await keep(store, "short", life=5000)
    await keep(store, "t4", most=9)
    place.advance(6)
    assert await unread(store, limit=9) == ["t2", "t3", "t4"]
    await store.advance(SHOP, MQTT, "t2")
    assert await unread(store, limit=1) == ["t3"]
    place.advance(60)
    assert await unread(store) == []


async def test_a_place_outlives_all_texts(place: Place) -> None:
    store = place.store
    await unread(store)
    await keep(store, "t1")
    place.advance(200 * 86_400)
    await keep(store, "t2")

    assert await unread(store) == ["t2"]


@pytest.mark.parametrize("back", [1, 3600])
@pytest.mark.parametrize("told", [0, 1, 2, 3])
async def test_a_clock_set_back_skips_and_repeats_nothing(place: Place, back: int, told: int) -> None:
    store, ids = place.store, ["t1", "t2", "t3"]
    await unread(store)
    await keep(store, *ids)
    for id in ids[:told]:
        await store.advance(SHOP, MQTT, id)
    set_back(place, back)
    assert await unread(store) == ids[told:]
    await keep(store, "t4")

    assert await unread(store) == [*ids[told:], "t4"]
    await keep(store, "t5")
    assert await read_on(store) == [*ids[told:], "t4", "t5"]


async def test_told_while_the_clock_is_set_back(place: Place) -> None:
    """The feeder still holds a text by the time that it had; by now it has another."""
    store = place.store
    await unread(store)
    await keep(store, "t1", "t2")
    held = await store.unread(SHOP, MQTT)
    set_back(place, 3600)
    await keep(store, "t3")
    await store.advance(SHOP, MQTT, held[0].id)

    assert await read_on(store) == ["t2", "t3"]
    await keep(store, "t4")
    assert await read_on(store) == ["t4"]


@pytest.mark.parametrize("back", [1, 3600])
async def test_a_clock_set_back_after_all_texts_are_gone(place: Place, back: int) -> None:
    store = place.store
    await unread(store)
    await keep(store, "t1")
    await read_on(store)
    place.advance(61)
    # The place stays where the clock was then.
    set_back(place, 61 + back)
    await keep(store, "t2")

    assert await read_on(store) == ["t2"]


async def test_the_newest_alone_is_kept_while_the_clock_is_set_back(place: Place) -> None:
    store = place.store
    await unread(store)
    await keep(store, "t1", "t2", most=2)
    await store.advance(SHOP, MQTT, "t2")
    set_back(place, 3600)
    await keep(store, "t3", "t4", "t5", most=2)

    assert await read_on(store) == ["t4", "t5"]


@pytest.mark.parametrize("seed", range(6))
async def test_any_course_of_the_clock(place: Place, seed: int) -> None:
    """Each feeder is told everything that came after it was first seen, once and in order."""
    draw, store = random.Random(seed), place.store
    told: dict[str, list[str]] = {MQTT: [], OTHER: []}
    for feeder in told:
        await unread(store, feeder)
    for at in range(30):
        await keep(store, f"t{at}", life=10**9)
        for feeder, ids in told.items():
            for _ in range(draw.randrange(3)):
                for id in await unread(store, feeder, limit=1):
                    await store.advance(SHOP, feeder, id)
                    ids.append(id)
        if draw.random() < 0.3:
            set_back(place, draw.choice([1, 3, 600]))
        elif draw.random() < 0.3:
            place.advance(draw.choice([1, 3, 600]))

    everything = [f"t{at}" for at in range(30)]
    for feeder, ids in told.items():
        assert ids + await read_on(store, feeder) == everything


async def test_texts_are_counted_as_they_come(place: Place) -> None:
    store = place.store
    assert await store.arrivals(SHOP) == 0
    await keep(store, "t1", "t2", "t3", most=2)
    assert not await store.keep_text(SHOP, "t3", b"again", life=LIFE, most=MOST)

    assert await store.arrivals(SHOP) == 3
    assert await store.arrivals(BANK) == 0


def changes(real: RedisPlace) -> int:
    told: Any = real.ask.info("persistence")
    return int(told["rdb_changes_since_last_save"])


async def test_asking_writes_once(real: RedisPlace) -> None:
    await unread(real.store)
    before = changes(real)
    await unread(real.store)

    assert changes(real) == before


async def test_a_place_in_use_lives_on(real: RedisPlace) -> None:
    for _ in range(3):
        await unread(real.store)
        real.advance(300 * 86_400)

    assert real.ttl("feeder:{shop}:places") > 0
