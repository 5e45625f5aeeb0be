"""Texts that came in are told to a feeder's broker: all of them, in order, over every end of a process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from otpsvc.errors import StoreUnavailable
from otpsvc.feeder import News
from otpsvc.keyring import Keyring
from tests.flows.rig import new_key
from tests.forwarding_rig import (
    INDEX,
    SENDER,
    TEXT,
    Rig,
    TroubledPlace,
    a_rig,
    next_told,
    nothing_new,
    run_skipping,
    soon,
)
from tests.stores.places import Place, RedisPlace, answering
from tests.stores.steps import SHOP
from tests.waiting import until


@pytest.fixture(params=["memory", "valkey"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with a_rig(request.param) as made:
        yield made


def set_back(place: Place, seconds: float) -> None:
    if isinstance(place, RedisPlace):
        place.misdate_texts(seconds, SHOP)
    else:
        place.set_back(seconds)


async def told(news: News, count: int) -> list[str]:
    """The last words of the next texts."""
    return [(await next_told(news)).text.split()[-1] for _ in range(count)]


async def test_a_text_is_told_as_it_came(rig: Rig) -> None:
    news: News = await rig.seen()
    await rig.keep("t1", at=1_700_000_000.0)
    await rig.keep("t2", complete=False)
    [second, first] = await rig.store.texts(SHOP)

    text = await soon(news.next_text())
    assert (text.id, text.modem, text.sender, text.text) == (first.id, "sms.m1", SENDER, f"{TEXT} t1")
    assert (text.at, text.complete, text.code) == (1_700_000_000.0, True, "")
    assert "planted" not in repr(text)
    assert SENDER not in repr(text)
    await news.told_text(text)
    text = await soon(news.next_text())
    assert (text.id, text.complete, text.at) == (second.id, False, second.at / 1000)


async def test_nobody_is_flooded_with_old_texts(rig: Rig) -> None:
    await rig.keep("t1", "t2")
    news = rig.forwarding()
    assert await nothing_new(news.next_text(), lambda: news.looks)
    await rig.keep("t3")

    assert await told(news, 1) == ["t3"]
    assert await nothing_new(news.next_text())


async def test_what_came_while_nobody_was_there_is_told_later(rig: Rig) -> None:
    news = await rig.seen()
    await rig.keep("t1", "t2", "t3")
    assert await told(news, 1) == ["t1"]
    await rig.keep("t4")

    assert await told(rig.forwarding(), 3) == ["t2", "t3", "t4"]
    assert await nothing_new(rig.forwarding().next_text())


async def test_a_crash_between_any_two_steps_loses_and_skips_nothing(rig: Rig) -> None:
    """It ends after it read, after it published, and after it noted that it did."""
    await rig.seen()
    ids = [f"t{at}" for at in range(9)]
    await rig.keep(*ids)
    published = []
    for at in range(20):
        news = rig.forwarding()
        text = await soon(news.next_text())
        if at % 3 > 0:
            published.append(text.text.split()[-1])
        if at % 3 > 1:
            await news.told_text(text)
    published += await told(rig.forwarding(), 3)

    assert list(dict.fromkeys(published)) == ids
    assert published == sorted(published)
    assert len(published) > len(ids)


async def test_what_was_not_told_comes_again(rig: Rig) -> None:
    news = await rig.seen()
    await rig.keep("t1", "t2")

    assert (await soon(news.next_text())).id == (await soon(news.next_text())).id
    assert await told(news, 2) == ["t1", "t2"]


async def test_a_thousand_texts(rig: Rig) -> None:
    news = await rig.seen()
    ids = [f"t{at}" for at in range(1000)]
    await rig.keep(*ids)

    assert await told(news, 1000) == ids
    assert await nothing_new(news.next_text())


@pytest.mark.parametrize("back", [1, 3600])
async def test_a_clock_set_back_while_texts_are_told(rig: Rig, back: int) -> None:
    news = await rig.seen()
    await rig.keep("t1", "t2", "t3")
    assert await told(news, 1) == ["t1"]
    held = await soon(news.next_text())
    set_back(rig.place, back)
    await rig.keep("t4")
    await news.told_text(held)
    await rig.keep("t5")

    assert await told(rig.forwarding(), 3) == ["t3", "t4", "t5"]


async def test_two_nodes_in_turn(rig: Rig) -> None:
    one, other = await rig.seen(), rig.forwarding()
    await rig.keep("t1", "t2", "t3", "t4", "t5")

    assert await told(one, 2) == ["t1", "t2"]
    await soon(one.next_text())
    assert await told(other, 2) == ["t3", "t4"]
    assert await told(one, 1) == ["t5"]


async def test_feeders_do_not_share_a_place(rig: Rig) -> None:
    one, other = await rig.seen(), await rig.seen("second")
    await rig.keep("t1")
    await rig.keep("t2", tenant="bank")
    await rig.keep("t3", tenant="")

    assert await told(one, 1) == await told(other, 1) == ["t1"]
    assert await nothing_new(one.next_text())


async def test_one_that_cannot_be_opened_is_passed_over(rig: Rig) -> None:
    news = await rig.seen()
    mine, rig.keyring = rig.keyring, Keyring(INDEX, [new_key()])
    await rig.keep("theirs")
    rig.keyring = mine
    await rig.store.keep_text(SHOP, "junk", b"x" * 40, life=60_000, most=100)
    await rig.keep("t1")

    with capture_logs() as said:
        assert await told(news, 1) == ["t1"]
    assert [(line["event"], line["feeder"]) for line in said] == [
        ("a text that came in cannot be opened", "mqtt")
    ] * 2
    assert "planted" not in str(said)
    assert SENDER not in str(said)
    assert await nothing_new(rig.forwarding().next_text())


async def test_who_waits_is_woken(rig: Rig) -> None:
    """Its own poll would come in an hour."""
    news = rig.forwarding(poll=3600)
    waiting = asyncio.ensure_future(news.next_text())
    await until(lambda: news.looks)
    await rig.keep("t1")
    news.wake()

    assert (await soon(waiting)).text.endswith("t1")


async def test_who_waits_hears_of_other_processes(rig: Rig) -> None:
    news = await rig.seen()
    waiting = asyncio.ensure_future(news.next_text())
    await until(lambda: news.looks)
    assert not waiting.done()
    await rig.keep("t1")

    assert (await soon(waiting)).text.endswith("t1")


async def test_the_server_starts_anew_while_somebody_waits(rig: Rig) -> None:
    news = await rig.seen()
    waiting = asyncio.ensure_future(news.next_text())
    await until(lambda: news.looks)
    rig.place.restart()
    await answering(rig.store)
    await rig.keep("t1")

    assert (await soon(waiting)).text.endswith("t1")
    await news.told_text(waiting.result())
    assert await nothing_new(news.next_text())


async def test_a_store_that_is_away_is_waited_for() -> None:
    place = TroubledPlace()
    rig = Rig(place)
    news = rig.forwarding()
    place.trouble.times = {"arrivals": 2, "unread": 2}
    assert await nothing_new(news.next_text(), lambda: news.looks)
    await rig.keep("t1")
    place.trouble.times = {"unread": 3}
    text = await soon(news.next_text())
    place.trouble.times = {"advance": 1}
    with pytest.raises(StoreUnavailable):
        await news.told_text(text)

    assert await told(news, 1) == ["t1"]


async def test_passing_over_waits_for_the_store_too() -> None:
    place = TroubledPlace()
    rig = Rig(place)
    news = await rig.seen()
    await rig.store.keep_text(SHOP, "junk", b"x" * 40, life=60_000, most=100)
    await rig.keep("t1")
    place.trouble.times = {"advance": 2}

    assert await told(news, 1) == ["t1"]


def test_a_wait_costs_one_look_a_second() -> None:
    place = TroubledPlace()
    rig = Rig(place)

    async def an_hour() -> None:
        news = rig.forwarding(poll=1.0)
        news.wake()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(news.next_text(), 3600)
        # Nobody waits any more.
        await asyncio.sleep(3600)

    run_skipping(an_hour())
    assert 3590 <= place.trouble.asked["unread"] <= 3601
    assert place.trouble.asked["arrivals"] == 1
