"""Texts that came in: kept for their time, the newest of each scope, listed from the newest on."""

from __future__ import annotations

import pytest

from otpsvc.store import ALL, Store
from tests.stores.places import Place, RedisPlace
from tests.stores.steps import BANK, SHOP

LIFE, MOST = 60_000, 100


async def keep(store: Store, id: str, *, scope: str = SHOP, life: int = LIFE, most: int = MOST) -> bool:
    return await store.keep_text(scope, id, b"sealed " + id.encode(), life=life, most=most)


async def ids(store: Store, *, scope: str = SHOP, before: float = 0, limit: int = 100) -> list[str]:
    return [kept.id for kept in await store.texts(scope, before=before, limit=limit)]


@pytest.mark.parametrize("scope", [SHOP, ALL])
async def test_a_text_is_kept_once(store: Store, scope: str) -> None:
    assert await keep(store, "t1", scope=scope)
    assert not await store.keep_text(scope, "t1", b"read again", life=LIFE, most=MOST)

    [kept] = await store.texts(scope)
    assert (kept.id, kept.sealed) == ("t1", b"sealed t1")
    assert kept.at == pytest.approx((await store.read(SHOP, "any")).now, abs=30_000)


async def test_every_scope_has_its_own(store: Store) -> None:
    for scope in SHOP, BANK, "global", ALL:
        assert await keep(store, "t1", scope=scope)
    await keep(store, "t2", scope=ALL)

    assert await ids(store, scope=BANK) == await ids(store, scope="global") == ["t1"]
    assert await ids(store, scope=ALL) == ["t2", "t1"]
    assert await store.texts("nobody") == []


async def test_the_newest_come_first_and_the_list_can_be_read_on(place: Place) -> None:
    store = place.store
    for at in range(10):
        await keep(store, f"t{at}")
        place.advance(at % 2)
    newest = await store.texts(SHOP, limit=4)
    assert [kept.id for kept in newest] == ["t9", "t8", "t7", "t6"]
    rest = await store.texts(SHOP, before=newest[-1].at)

    assert [kept.id for kept in rest] == ["t5", "t4", "t3", "t2", "t1", "t0"]
    assert len({kept.at for kept in newest + rest}) == 10
    assert await ids(store, before=rest[-1].at) == []
    assert await ids(store, limit=0) == []
    assert await ids(store, before=rest[-1].at + 0.5) == ["t0"]


async def test_the_newest_are_kept(store: Store) -> None:
    for at in range(10):
        assert await keep(store, f"t{at}", most=3)

    assert await ids(store) == ["t9", "t8", "t7"]
    assert await keep(store, "t0", most=3), "it was forgotten"
    assert await ids(store) == ["t0", "t9", "t8"]


async def test_the_same_again_makes_no_room(store: Store) -> None:
    for id in "t1", "t2", "t3", "t3", "t3":
        await keep(store, id, most=2)

    assert await ids(store) == ["t3", "t2"]


async def test_a_text_has_its_time(place: Place) -> None:
    store = place.store
    await keep(store, "t1")
    place.advance(40)
    await keep(store, "t2")
    assert await ids(store) == ["t2", "t1"]
    place.advance(21)
    assert await ids(store) == ["t2"]
    assert await keep(store, "t1"), "it was forgotten"

    assert await ids(store) == ["t1", "t2"]
    place.advance(61)
    assert await ids(store) == []


async def test_a_shorter_time_drops_what_is_older(place: Place) -> None:
    store = place.store
    await keep(store, "t1")
    place.advance(30)
    await keep(store, "t2", life=20_000)

    assert await ids(store) == ["t2"]


async def test_dead_ones_do_not_shorten_a_list(place: Place) -> None:
    store = place.store
    for at in range(3):
        await keep(store, f"old{at}", life=5000)
    for at in range(3):
        await keep(store, f"new{at}", life=LIFE)
        await keep(store, f"short{at}", life=5000)
    place.advance(4)
    await keep(store, "last", life=LIFE)
    place.advance(2)

    assert await ids(store, limit=3) == ["last", "new2", "new1"]


async def test_a_clock_set_back_loses_no_text(place: Place) -> None:
    """What came before comes after all that was kept until then."""
    store = place.store
    for at in range(3):
        await keep(store, f"t{at}", most=3)
    if isinstance(place, RedisPlace):
        # Only what is kept can be moved: into the future, as it would look.
        for id, kept_at in place.scores("inbox:{shop}"):
            place.ask.zadd("inbox:{shop}", {id: kept_at + 3_600_000})
    else:
        place.set_back(3600)
    await keep(store, "t3", most=3)

    assert await ids(store) == ["t3", "t2", "t1"]
    assert (await store.texts(SHOP))[0].at == pytest.approx((await store.read(SHOP, "any")).now, abs=30_000)


async def test_nothing_stays_behind(real: RedisPlace) -> None:
    for at in range(5):
        await keep(real.store, f"t{at}", most=2)
    assert len(real.all_keys("text:*")) == 2
    real.advance(61)

    assert real.ask.keys("text:*") == real.ask.keys("inbox:*") == []


async def test_a_text_that_ends_sooner_takes_no_other_along(place: Place) -> None:
    await keep(place.store, "t1", life=90_000)
    await keep(place.store, "t2", life=50_000)
    place.advance(51)

    assert await ids(place.store) == ["t1"]


async def test_a_look_forgets_the_dead(real: RedisPlace) -> None:
    for id in "t1", "t2":
        await keep(real.store, id, life=5000)
    await keep(real.store, "t3")
    real.advance(6)

    assert await ids(real.store) == ["t3"]
    assert [id for id, _ in real.scores("inbox:{shop}")] == [b"t3"]
