"""Where the messages of a feeder's commands are: every state is told, also after the end of a process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from structlog.testing import capture_logs

from otpsvc.challenge import MessageRecord
from otpsvc.errors import StoreUnavailable
from otpsvc.feeder import Note
from otpsvc.keyring import Keyring
from otpsvc.message import MessageState
from otpsvc.watching import MOST
from tests.flows.rig import new_key
from tests.forwarding_rig import (
    ID,
    INDEX,
    Rig,
    TroubledPlace,
    a_rig,
    next_note_told,
    nothing_new,
    soon,
)
from tests.stores.places import RedisPlace
from tests.stores.steps import LEASE, SHOP


@pytest.fixture(params=["memory", "valkey"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with a_rig(request.param) as made:
        yield made


async def kept(rig: Rig, name: str = "mqtt") -> list[str]:
    return sorted(n for n, _ in await rig.store.watched(SHOP, name))


async def test_every_state_is_told_until_the_end(rig: Rig) -> None:
    news = rig.forwarding()
    await rig.watched(news, "m1")
    claimed = await rig.store.claim(SHOP, "sms", "message", limit=1, lease=60_000)
    note = await soon(news.next_note())
    assert (note.id, note.message, note.status, note.error) == (f"{ID} m1", "m1", "sending", "")
    assert ID not in repr(note)
    await news.told_note(note)
    [held] = claimed.taken
    await rig.store.finish(held, state=MessageState.SENT, way=0, reason="", uncertain=False)

    assert await next_note_told(news) == ("m1", "sent", "")
    await rig.report("m1")
    assert await kept(rig) == ["m1"]
    assert await next_note_told(news) == ("m1", "delivered", "")
    assert await kept(rig) == []
    assert await nothing_new(news.next_note())


async def test_a_message_that_fails(rig: Rig) -> None:
    news = rig.forwarding()
    await rig.watched(news, "m1", "m2", "m3")
    await rig.send("m1", state=MessageState.FAILED, reason="550 at RCPT")
    told = {await next_note_told(news) for _ in range(3)}
    assert told == {("m1", "failed", "550_at_rcpt"), ("m2", "sending", ""), ("m3", "sending", "")}
    rig.place.advance(LEASE / 1000)
    await rig.send("m2", "m3")
    assert {await next_note_told(news) for _ in range(2)} == {("m2", "sent", ""), ("m3", "sent", "")}
    await rig.report("m2", ok=False)

    assert await next_note_told(news) == ("m2", "failed", "not_delivered")
    assert await kept(rig) == ["m3"]


async def test_a_message_that_is_too_late(rig: Rig) -> None:
    news = rig.forwarding()
    await rig.watched(news, "m1")
    rig.place.advance(61)
    await rig.send()

    assert await next_note_told(news) == ("m1", "expired", "deadline")
    assert await kept(rig) == []


async def test_what_was_not_told_comes_again(rig: Rig) -> None:
    news = rig.forwarding()
    await rig.watched(news, "m1")
    await rig.send("m1")
    first = await soon(news.next_note())
    assert await soon(news.next_note()) == first
    assert await soon(rig.forwarding().next_note()) == first
    await news.told_note(first)

    assert await nothing_new(news.next_note())
    assert await nothing_new(rig.forwarding().next_note())


async def test_what_has_an_end_already_is_not_watched(rig: Rig) -> None:
    news = rig.forwarding()
    await news.watch([])
    await news.watch(
        [
            Note(id="one", status="refused", error="blocked"),
            Note(id="two", message="m2", status="failed"),
            Note(id="three", message="m3", status="delivered"),
        ]
    )

    assert await kept(rig) == []


async def test_a_watch_goes_on_in_the_next_process(rig: Rig) -> None:
    """It ends before it told, before it noted that, and after."""
    await rig.watched(rig.forwarding(), "m1", "m2")
    await rig.send("m1", "m2")
    news = rig.forwarding()
    assert await next_note_told(news) in [("m1", "sent", ""), ("m2", "sent", "")]
    await soon(news.next_note())
    for n in "m1", "m2":
        await rig.report(n)
    news = rig.forwarding()
    told = sorted([await next_note_told(news) for _ in range(2)])

    assert told == [("m1", "delivered", ""), ("m2", "delivered", "")]
    assert await kept(rig) == []


async def test_two_nodes_in_turn(rig: Rig) -> None:
    """The first one comes back with what it knew, and tells nothing that the other told meanwhile."""
    one, other = rig.forwarding(), rig.forwarding()
    await rig.watched(one, "m1", "m2")
    assert await nothing_new(one.next_note())
    await rig.send("m1")
    assert sorted([await next_note_told(other) for _ in range(2)]) == [
        ("m1", "sent", ""),
        ("m2", "sending", ""),
    ]
    await rig.watched(other, "m3")
    rig.place.advance(LEASE / 1000)
    await rig.send("m2", "m3")
    await rig.report("m2")

    told = sorted([await next_note_told(one) for _ in range(2)])
    assert told == [("m2", "delivered", ""), ("m3", "sent", "")]
    await rig.report("m1")
    assert await next_note_told(one) == ("m1", "delivered", "")


async def test_who_waits_is_woken_by_a_new_watch(rig: Rig) -> None:
    news = rig.forwarding()
    waiting = asyncio.ensure_future(news.next_note())
    await asyncio.sleep(0.05)
    await rig.watched(news, "m1")
    await rig.send("m1")

    assert (await soon(waiting)).status == "sent"


async def test_feeders_watch_apart(rig: Rig) -> None:
    one, other = rig.forwarding(), rig.forwarding("second")
    await rig.watched(one, "m1")
    await rig.watched(other, "m2")
    await rig.send("m1", "m2")

    assert await next_note_told(one) == ("m1", "sent", "")
    assert await next_note_told(other) == ("m2", "sent", "")


async def test_a_message_that_is_gone_is_forgotten(rig: Rig) -> None:
    news = rig.forwarding()
    await rig.watched(news, "m1", "m2")
    await news.watch([Note(id="", message="never", status="queued")])
    await rig.send("m2")

    told = {await next_note_told(news) for _ in range(2)}
    assert told == {("m1", "sending", ""), ("m2", "sent", "")}
    while "never" in await kept(rig):
        await nothing_new(news.next_note())
    assert await kept(rig) == ["m1", "m2"]


async def test_the_same_message_once_more(rig: Rig) -> None:
    """A repeated command is answered from what is known; it is told from there on."""
    news = rig.forwarding()
    await rig.watched(news, "m1")
    await rig.send("m1")
    assert (await soon(news.next_note())).status == "sent"
    await news.watch([Note(id="again", message="m1", status="sent")])

    assert await nothing_new(news.next_note())
    await rig.report("m1")
    note = await soon(news.next_note())
    assert (note.id, note.status) == ("again", "delivered")


async def test_a_look_that_is_outdated_tells_nothing() -> None:
    """While it was under way the message was sent, and that was told with the answer to a repeat."""
    place = TroubledPlace()
    rig = Rig(place)
    news = rig.forwarding()
    await rig.watched(news, "m1")
    [held] = (await rig.store.claim(SHOP, "sms", "message", limit=1, lease=60_000)).taken
    real, read, go = place.trouble.messages, asyncio.Event(), asyncio.Event()

    async def slowly(tenant: str, ns: Sequence[str]) -> list[MessageRecord | None]:
        found = await real(tenant, ns)
        read.set()
        await go.wait()
        return found

    place.trouble.messages = slowly  # type: ignore[method-assign]
    waiting = asyncio.ensure_future(news.next_note())
    await soon(read.wait())
    await rig.store.finish(held, state=MessageState.SENT, way=0, reason="", uncertain=False)
    await news.watch([Note(id="again", message="m1", status="sent")])
    go.set()

    assert await nothing_new(waiting)
    await rig.report("m1")
    assert await next_note_told(news) == ("m1", "delivered", "")


async def test_of_too_many_the_oldest_are_left_out(rig: Rig) -> None:
    news = rig.forwarding()
    await rig.watched(news, "old")
    rig.place.advance(1)
    many = [Note(id="", message=f"m{at}", status="queued") for at in range(MOST)]
    with capture_logs() as said:
        await news.watch(many)
        await news.watch([Note(id="", message="last", status="queued")])

    assert len(said) == 1
    assert len(await kept(rig)) == len(news._watching._watches) == MOST
    assert "old" not in news._watching._watches
    assert "last" in news._watching._watches


async def test_the_store_learns_no_id(rig: Rig) -> None:
    news = rig.forwarding()
    await rig.watched(news, "m1")
    await rig.send("m1")
    await next_note_told(news)
    contents = str(rig.place.contents())
    if isinstance(rig.place, RedisPlace):
        assert all(rig.place.ttl(f"feeder:{{shop}}:{kind}:mqtt") > 0 for kind in ("watch", "since"))

    assert "m1" in contents
    assert ID not in contents


async def test_a_watch_of_another_key_stays_where_it_is(rig: Rig) -> None:
    await rig.watched(rig.forwarding(), "m1")
    await rig.send("m1")
    stranger = rig.forwarding(keyring=Keyring(INDEX, [new_key()]))
    assert await nothing_new(stranger.next_note())

    assert await next_note_told(rig.forwarding()) == ("m1", "sent", "")


async def test_a_store_that_is_away_is_waited_for() -> None:
    place = TroubledPlace()
    rig = Rig(place)
    news = rig.forwarding()
    await rig.watched(news, "m1")
    await rig.send("m1")
    place.trouble.times = {"watched": 1, "messages": 1}
    note = await soon(news.next_note())
    place.trouble.times = {"rewatch": 1}
    with pytest.raises(StoreUnavailable):
        await news.told_note(note)

    assert await next_note_told(news) == ("m1", "sent", "")
    assert place.trouble.asked["watched"] == 2
