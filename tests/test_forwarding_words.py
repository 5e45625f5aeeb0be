"""How many texts came in since a feeder began, and the code that is found in one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.forwarding_rig import PATTERN, CodeConfig, Rig, TroubledPlace, next_told, nothing_new
from tests.stores.places import MemoryPlace
from tests.stores.steps import SHOP


class Counted(Rig):
    """On a store that answers only when it is told to."""

    place: TroubledPlace

    def __init__(self) -> None:
        super().__init__(TroubledPlace())


@pytest.fixture
def rig() -> Counted:
    return Counted()


def near(seconds: float) -> Any:
    """A text is at most some milliseconds newer than its time says."""
    return pytest.approx(seconds, abs=0.01)


async def test_texts_are_counted_from_the_start_on(rig: Counted) -> None:
    await rig.keep("t0")
    news = rig.forwarding(now=lambda: rig.place.time)
    assert await news.count() == (0, -1)
    await rig.keep("t1", "t2")
    rig.place.advance(70)
    await rig.keep("t3", tenant="bank")

    assert await news.count() == (2, near(70))
    rig.place.advance(10)
    assert await news.count() == (2, near(80))
    await rig.keep("t3")
    rig.place.advance(1)
    assert await news.count() == (3, near(1))
    assert await rig.forwarding().count() == (0, -1)


async def test_who_tells_also_counts(rig: Counted) -> None:
    news = await rig.seen()
    assert await nothing_new(news.next_text(), lambda: news.looks)
    await rig.keep("t1")
    await next_told(news)

    count, seconds = await news.count()
    assert count == 1
    assert seconds >= 0


async def test_a_count_does_without_the_store(rig: Counted) -> None:
    place = rig.place
    news = rig.forwarding(now=lambda: place.time + 5)
    place.trouble.times = {"arrivals": 1}
    assert await news.count() == (0, -1)
    assert await news.count() == (0, -1)
    await rig.keep("t1")
    assert await news.count() == (1, 5)
    place.trouble.times = {"arrivals": 1}

    assert await news.count() == (1, 5)


async def test_a_store_that_forgot_its_count(rig: Counted) -> None:
    await rig.keep("t1", "t2", "t3")
    news = rig.forwarding()
    await news.count()
    rig.place.trouble._spaces.clear()
    await rig.keep("t4")

    assert (await news.count())[0] == 1


# --- a code in it ----------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "pattern", "code"),
    [
        ("Your code is 472913.", PATTERN, "472913"),
        ("Order 12 of shop 3, code: 0042 or 998877", PATTERN, "0042"),
        ("no code", PATTERN, ""),
        ("code AB-12", r"[A-Z]{2}-\d+", "AB-12"),
        ("pin 1234", r"code (\d+)|pin \d+", "pin 1234"),
        ("a" * 1990 + " 472913", PATTERN, "472913"),
        ("a" * 2100 + " 472913", PATTERN, ""),
        ("", PATTERN, ""),
        ("On 23-11-2026 your OTP is 5566", "", "5566"),
        ("a" * 2100 + " 472913", "", ""),
    ],
)
async def test_a_code_is_found(text: str, pattern: str, code: str) -> None:
    rig = Rig(MemoryPlace())
    rig.config = CodeConfig(type="mqtt", tenant=SHOP, code_pattern=pattern)
    news = await rig.seen()
    await rig.keep("t1", text=text)

    assert (await next_told(news)).code == code


async def test_a_code_is_looked_for_where_it_is_wanted() -> None:
    rig = Rig(MemoryPlace())
    rig.config = CodeConfig(type="mqtt", tenant=SHOP, extract_code=False)
    news = await rig.seen()
    await rig.keep("t1")

    assert (await next_told(news)).code == ""
