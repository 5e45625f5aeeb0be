"""Feeders of several nodes: one takes a frame, one holds the line, and what each watches is kept."""

from __future__ import annotations

import asyncio

import pytest

from otpsvc.message import MessageState
from otpsvc.store import Store
from tests.stores.places import Place, RedisPlace
from tests.stores.steps import BANK, SHOP, claim_batch, enqueue, finish, op

MINE, THEIRS = b"mine", b"theirs"
LIFE, MOST = 60_000, 5
MQTT, OTHER = "mqtt", "other"


async def first(store: Store, token: bytes, *, name: str = "frame", tenant: str = SHOP) -> bool:
    return await store.first(tenant, name, token, life=LIFE) == token


async def hold(store: Store, token: bytes, *, name: str = "mqtt", life: int = 60_000) -> bool:
    return await store.hold(name, token, life=life)


# --- once ------------------------------------------------------------------


async def test_the_first_alone_is_told_so_also_when_it_asks_again(place: Place) -> None:
    one, other = place.store, place.node()

    assert await first(one, MINE)
    assert not await first(other, THEIRS)
    assert await first(one, MINE)
    assert not await first(other, THEIRS)
    assert await first(other, THEIRS, name="another")
    assert await first(other, THEIRS, tenant=BANK)


async def test_a_name_is_free_after_its_life(place: Place) -> None:
    assert await first(place.store, MINE)
    place.advance(40)
    # To ask again makes it no longer.
    assert await first(place.store, MINE)
    place.advance(21)

    assert await first(place.store, THEIRS)
    assert not await first(place.store, MINE)


async def test_who_asks_hears_whose_it_is(place: Place) -> None:
    assert [await place.store.first(SHOP, "frame", token, life=LIFE) for token in (MINE, THEIRS)] == [
        MINE
    ] * 2


async def test_an_older_one_may_not_count(place: Place) -> None:
    """Then the asker is the first in its place, for all others too and for a whole life."""
    one, other = place.store, place.node()

    async def ask(token: bytes, within: int) -> bytes:
        return await one.first(SHOP, "frame", token, life=LIFE, within=within)

    assert await ask(b"a", 10_000) == b"a"
    assert await ask(b"b", 10_000) == b"a"
    place.advance(20)
    assert await ask(b"b", 30_000) == b"a"
    assert await ask(b"b", 10_000) == b"b"
    assert await other.first(SHOP, "frame", b"c", life=LIFE) == b"b"
    assert await ask(b"c", 0) == b"c"
    place.advance(50)
    assert await other.first(SHOP, "frame", b"d", life=LIFE) == b"c"
    place.advance(11)
    assert await other.first(SHOP, "frame", b"d", life=LIFE) == b"d"


async def test_of_many_at_once_one_is_the_first(place: Place) -> None:
    nodes = [place.node() for _ in range(5)]
    tokens = [op() for _ in range(50)]
    said = await asyncio.gather(*(first(nodes[at % 5], token) for at, token in enumerate(tokens)))

    assert sum(said) == 1


async def test_a_name_stands_apart_from_other_keys(real: RedisPlace) -> None:
    store = real.store
    await store.once(SHOP, "frame", b"f" * 16, MINE)
    await enqueue(store, once="frame", once_life=60_000)

    assert await first(store, THEIRS)
    assert len(real.all_keys("once:{shop}:*")) == 3
    assert real.ttl("once:{shop}:feed:frame") == pytest.approx(60, abs=30)


# --- a lease ---------------------------------------------------------------


async def test_one_holds_a_line_until_it_gives_it_up(place: Place) -> None:
    one, other = place.store, place.node()

    assert await hold(one, MINE)
    assert not await hold(other, THEIRS)
    assert await hold(one, MINE)
    assert await hold(other, THEIRS, name="another")
    await other.release("mqtt", THEIRS)
    assert not await hold(other, THEIRS)
    await one.release("mqtt", MINE)
    assert await hold(other, THEIRS)
    await one.release("mqtt", MINE)
    assert not await hold(one, MINE)


async def test_a_lease_is_renewed_and_ends(place: Place) -> None:
    store = place.store
    assert await hold(store, MINE)
    for _ in range(3):
        place.advance(40)
        assert not await hold(store, THEIRS)
        assert await hold(store, MINE)
    place.advance(61)

    assert await hold(store, THEIRS)
    assert not await hold(store, MINE)


# --- what is watched -------------------------------------------------------


async def watch(store: Store, *ns: str, feeder: str = MQTT, most: int = MOST) -> None:
    watches = [(n, b"sealed " + n.encode()) for n in ns]
    await store.watch(SHOP, feeder, watches, life=LIFE, most=most)


async def watched(store: Store, feeder: str = MQTT, tenant: str = SHOP) -> list[str]:
    return sorted(n for n, _ in await store.watched(tenant, feeder))


async def test_watches_are_kept_changed_and_forgotten(place: Place) -> None:
    store = place.store
    assert await store.watched(SHOP, MQTT) == []
    await watch(store, "m1", "m2")
    await watch(store, "m3")
    await store.rewatch(SHOP, MQTT, "m1", b"told")
    await store.rewatch(SHOP, MQTT, "m2", b"")

    assert sorted(await place.node().watched(SHOP, MQTT)) == [("m1", b"told"), ("m3", b"sealed m3")]
    assert await watched(store, OTHER) == await watched(store, tenant=BANK) == []


async def test_nothing_is_left_of_what_is_forgotten(real: RedisPlace) -> None:
    await watch(real.store, "m1", "m2")
    await real.store.rewatch(SHOP, MQTT, "m1", b"")

    assert [n for n, _ in real.scores("feeder:{shop}:since:mqtt")] == [b"m2"]
    await real.store.rewatch(SHOP, MQTT, "m2", b"")
    assert real.ask.keys("feeder:*") == []


async def test_what_is_not_watched_cannot_be_changed(store: Store) -> None:
    await watch(store, "m1")
    await store.rewatch(SHOP, MQTT, "m2", b"told")
    await store.rewatch(SHOP, MQTT, "m3", b"")
    await store.rewatch(SHOP, OTHER, "m1", b"told")

    assert await watched(store) == ["m1"]
    assert await watched(store, OTHER) == []


async def test_of_too_many_the_oldest_go(place: Place) -> None:
    store = place.store
    for at in range(7):
        await watch(store, f"m{at}")
        await watch(store, f"m{at}", feeder=OTHER, most=100)
        place.advance(1)
    # Still as old as it was.
    await watch(store, "m2")
    assert await watched(store) == ["m2", "m3", "m4", "m5", "m6"]
    await watch(store, "m7")

    assert await watched(store) == ["m3", "m4", "m5", "m6", "m7"]
    assert len(await watched(store, OTHER)) == 7


async def test_a_watch_has_its_time(place: Place) -> None:
    store = place.store
    await watch(store, "m1")
    place.advance(40)
    await watch(store, "m2")
    place.advance(30)
    await store.rewatch(SHOP, MQTT, "m2", b"told")
    await watch(store, "m3")
    assert await watched(store) == ["m2", "m3"]
    place.advance(61)

    assert await watched(store) == []


async def test_many_at_once(place: Place) -> None:
    store = place.store
    ns = [f"m{at}" for at in range(2500)]
    await watch(store, *ns, most=10_000)
    place.advance(1)
    await watch(store, "last", most=2000)

    left = await watched(store)
    assert (len(left), "last" in left) == (2000, True)


# --- their states ----------------------------------------------------------


async def test_states_are_read_together(place: Place) -> None:
    store = place.store
    for n in "m1", "m2":
        await enqueue(store, n)
    for claimed in (await claim_batch(store, "sms", "message")).taken:
        if claimed.n == "m2":
            await finish(store, claimed)

    found = await store.messages(SHOP, ["m2", "none", "m1"])
    assert [record and record.message_state for record in found] == [
        MessageState.SENT,
        None,
        MessageState.SENDING,
    ]
    assert found[0] == await store.message(SHOP, "m2")
    assert await store.messages(BANK, ["m1"]) == [None]
    assert await store.messages(SHOP, []) == []


async def test_what_is_left_of_an_event_is_no_message(real: RedisPlace) -> None:
    real.ask.set("msg:{shop}:gone", b"x", px=60_000)

    assert await real.store.messages(SHOP, ["gone"]) == [None]
