"""How often messages are looked at: at once where something may happen, hardly ever where nothing does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest

from otpsvc.challenge import MessageRecord
from otpsvc.feeder import Note
from otpsvc.forwarding import Forwarding
from otpsvc.message import MessageState
from otpsvc.watching import WAITS
from tests.forwarding_rig import Rig, Trouble, TroubledPlace, run_skipping

NOW = 1_800_000_000.0
NAMES = [f"m{at}" for at in range(20)]


class Looks(Trouble):
    """Notes when each message was looked at; its time is the loop's."""

    def __init__(self) -> None:
        super().__init__(lambda: NOW + asyncio.get_running_loop().time())
        self.at: dict[str, list[float]] = {}

    async def messages(self, tenant: str, ns: Sequence[str]) -> list[MessageRecord | None]:
        for n in ns:
            self.at.setdefault(n, []).append(asyncio.get_running_loop().time())
        return await super().messages(tenant, ns)


class Pace(Rig):
    def __init__(self) -> None:
        place = TroubledPlace()
        place.store = self.looks = Looks()
        super().__init__(place)

    def made(self) -> Forwarding:
        return self.forwarding(waits=WAITS, poll=1.0)


@pytest.fixture
def pace() -> Pace:
    return Pace()


async def notes(news: Forwarding, seconds: float) -> list[tuple[str, str, float]]:
    """Each note of the next seconds, with its time."""
    told: list[tuple[str, str, float]] = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                note = await news.next_note()
                told.append((note.message, note.status, asyncio.get_running_loop().time()))
                await news.told_note(note)
    except TimeoutError:
        return told


def test_nothing_to_watch_costs_nothing(pace: Pace) -> None:
    async def a_day() -> None:
        assert await notes(pace.made(), 86_400) == []

    run_skipping(a_day())
    assert pace.looks.asked == {"watched": 1}


def test_what_nothing_happens_to_is_looked_at_ever_rarer(pace: Pace) -> None:
    async def two_hours() -> None:
        news = pace.made()
        await pace.watched(news, *NAMES)
        await pace.send(*NAMES)
        told = await notes(news, 7200)
        assert sorted(n for n, state, _ in told) == sorted(NAMES)

    run_skipping(two_hours())
    for at in pace.looks.at.values():
        # After the one that found it sent.
        gaps = [later - earlier for earlier, later in pairwise(at)]
        assert gaps[: len(WAITS)] == pytest.approx(WAITS, abs=1.05)
        assert gaps[:4] == pytest.approx(WAITS[:4], abs=0.06)
        assert all(30 <= gap <= 31 for gap in gaps[10:])
    # All of them with one question.
    assert pace.looks.asked["messages"] < 2 * 7200 / 30


@pytest.mark.parametrize("seconds", [0.1, 1, 3, 10, 60, 300, 7000])
def test_a_change_is_told_soon_and_later_within_half_a_minute(pace: Pace, seconds: float) -> None:
    async def course() -> None:
        news = pace.made()
        await pace.watched(news, "m1")
        await pace.send("m1")
        telling = asyncio.ensure_future(notes(news, seconds + 40))
        await asyncio.sleep(seconds)
        await pace.report("m1")
        told = await telling
        assert [state for _, state, _ in told][-1] == "delivered"
        late = told[-1][2] - seconds
        assert 0 <= late <= min(max(0.35, 1.1 * seconds + 0.1), 31)

    run_skipping(course())


def test_a_watch_ends_with_its_message(pace: Pace) -> None:
    async def three_days() -> None:
        news = pace.made()
        await pace.watched(news, "m1")
        await pace.send("m1")
        await notes(news, 3 * 86_400)
        assert await pace.store.watched("shop", "mqtt") == []
        assert news._watching._watches == {}
        assert news._watching._looks == []

    run_skipping(three_days())
    # A minute in the queue at most, and a day.
    assert 86_400 <= pace.looks.at["m1"][-1] <= 86_400 + 60 + 31


def test_news_that_nobody_takes_are_kept_and_looked_at_no_more(pace: Pace) -> None:
    async def course() -> None:
        news = pace.made()
        await pace.watched(news, *NAMES)
        await pace.send(*NAMES, state=MessageState.FAILED, reason="no")
        await news.next_note()
        asked = pace.looks.asked["messages"]
        for _ in range(50):
            await asyncio.sleep(1)
            await news.next_note()
        assert pace.looks.asked["messages"] == asked
        assert len(await notes(news, 60)) == len(NAMES)

    run_skipping(course())
    assert pace.looks.asked["watched"] == 1


def test_who_was_busy_for_long_asks_what_another_told_meanwhile(pace: Pace) -> None:
    async def course() -> None:
        one, other = pace.made(), pace.made()
        await pace.watched(one, "m1")
        await pace.send("m1")
        assert (await one.next_note()).status == "sent"
        # Its line hangs, and another node takes over.
        assert [state for _, state, _ in await notes(other, 10)] == ["sent"]
        assert await notes(one, 60) == []

    run_skipping(course())


def test_a_message_that_is_watched_again_and_again_is_looked_at_no_oftener(pace: Pace) -> None:
    async def an_hour() -> None:
        news = pace.made()
        await pace.watched(news, "m1")
        await pace.send("m1")
        await notes(news, 1)
        for at in range(20):
            await asyncio.sleep(0.01)
            await news.watch([Note(id=f"again {at}", message="m1", status="sent")])
        pace.looks.at.clear()
        await notes(news, 3600)

    run_skipping(an_hour())
    assert len(pace.looks.at["m1"]) < 3600 / 30 + 2 * len(WAITS)


def test_what_an_earlier_process_watched_is_looked_at_at_once_and_then_rarely(pace: Pace) -> None:
    async def course() -> float:
        await pace.watched(pace.made(), *NAMES)
        await asyncio.sleep(10)
        begun = asyncio.get_running_loop().time()
        await notes(pace.made(), 60)
        return begun

    begun = run_skipping(course())
    for at in pace.looks.at.values():
        assert 0 <= at[0] - begun <= 0.1
        gaps = [later - earlier for earlier, later in pairwise(at)]
        assert gaps[:3] == pytest.approx(WAITS[4:7], abs=1.05)
