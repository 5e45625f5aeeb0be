"""The supervision of feeders: sessions one after the other, each feeder by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from otpsvc.errors import BrokerGone, BrokerRefused, StoreUnavailable
from otpsvc.feeder import Taken
from otpsvc.lease import Timing
from otpsvc.stores.memory import MemoryStore
from tests.app.feeding_rig import Clock, Place, config, register
from tests.waiting import until

SECRET = "planted-secret"


@pytest.fixture(autouse=True)
def _types(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    clock = Clock()
    made = Place(MemoryStore(lambda: clock.now), clock, {"one": config(), "two": config()})
    async with made.feeding:
        yield made


async def waits(place: Place, ends: list[Exception], *, up: float = 0.0) -> list[float]:
    """How long is waited after each end of a session that was up for so many seconds."""
    found = []
    for end in ends:
        await until(lambda: place.kept().live)
        place.clock.forward(up)
        await place.ends(end)
        found.append(place.clock.asked[-1])
        place.clock.forward(found[-1])
    return found


# Waits


async def test_waits_double_up_to_half_a_minute(place: Place) -> None:
    found = await waits(place, [BrokerGone("cut")] * 9)

    assert found == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


async def test_a_session_that_was_up_for_ten_seconds_makes_waits_short_again(place: Place) -> None:
    await waits(place, [BrokerGone("cut")] * 4)

    assert await waits(place, [BrokerGone("cut")] * 2, up=9.9) == [8, 16]
    assert await waits(place, [BrokerGone("cut")] * 2, up=10.0) == [0.5, 0.5]
    assert await waits(place, [BrokerGone("cut")] * 2) == [1, 2]


async def test_time_that_it_was_not_connected_for_counts_nothing(place: Place) -> None:
    place.kept().ups = False
    await place.goes()
    place.clock.forward(0.5)

    assert await waits(place, [BrokerGone("cut")] * 3, up=60.0) == [1, 2, 4]


async def test_a_refusal_is_tried_again_much_later(place: Place) -> None:
    place.kept().ups = False

    assert await waits(place, [BrokerRefused("no such login")] * 5) == [30, 60, 120, 240, 300]


async def test_a_reload_tries_at_once_what_waits(place: Place) -> None:
    await place.ends(BrokerRefused("no such login"))
    async with place.feeding.change({"one": config(), "two": config()}):
        pass
    await until(lambda: place.kept().sessions == 2)

    assert place.kept("two").sessions == 1


async def test_waits_are_jittered() -> None:
    clock = Clock()
    place = Place(MemoryStore(lambda: clock.now), clock, {"one": config()}, jitter=lambda: 0.5)
    async with place.feeding:
        assert await waits(place, [BrokerGone("cut"), BrokerGone("cut")]) == [0.25, 0.5]
    assert all(0.5 <= Timing().jitter() <= 1.0 for _ in range(100))


async def test_years_of_failures_are_one_more() -> None:
    clock = Clock()
    place = Place(MemoryStore(lambda: clock.now), clock, {"one": config("never up")})
    async with place.feeding:
        assert (await waits(place, [BrokerGone("cut")] * 60))[-1] == 30


# What ends a session


@pytest.mark.parametrize(
    ("end", "phase", "reason", "label"),
    [
        (BrokerGone("cut"), "connecting", "cut", "gone"),
        (BrokerRefused("no such queue"), "refused", "no such queue", "refused"),
        (None, "connecting", "the broker ended the connection", "gone"),
        (StoreUnavailable(), "connecting", "Unable to reach store.", "gone"),
        (KeyError(SECRET), "connecting", "the feeder failed: KeyError", "failed"),
        (ExceptionGroup("g", [KeyError(SECRET), BrokerGone("cut")]), "connecting", "cut", "gone"),
        (ExceptionGroup("g", [BrokerGone("x"), BrokerRefused("no")]), "refused", "no", "refused"),
    ],
)
async def test_each_end_is_told_and_counted(
    place: Place, end: Exception | None, phase: str, reason: str, label: str
) -> None:
    await place.ends(end)

    assert place.phase() == (phase, reason)
    text = place.metrics.text().decode()
    assert f'otpsvc_feeder_sessions_total{{end="{label}",feeder="one"}} 1.0' in text
    assert 'otpsvc_feeder_connected{feeder="one"} 0.0' in text
    assert 'otpsvc_feeder_connected{feeder="two"} 1.0' in text


async def test_a_session_that_cancels_itself_does_not_end_the_feeder(place: Place) -> None:
    await place.ends(asyncio.CancelledError())  # type: ignore[arg-type]
    place.clock.forward(0.5)

    await until(lambda: place.kept().sessions == 2)


async def test_an_opening_that_fails_is_tried_again() -> None:
    clock = Clock()
    place = Place(MemoryStore(lambda: clock.now), clock, {"one": config()})
    async with place.feeding:
        place.kept().fails_to_open = [OSError("x"), KeyError("y")]
        for _ in range(2):
            await until(clock.asleep)
            clock.forward(30)
            await until(lambda: not clock.asleep() or place.kept().live)
        await until(lambda: place.kept().live)

    assert place.kept().said[:4] == ["open", "open", "open", "session"]


async def test_a_broken_feeder_disturbs_no_other(place: Place) -> None:
    for _ in range(5):
        await place.ends(ZeroDivisionError())
        place.clock.forward(30)
        assert (await place.kept("two").take()) == Taken()

    assert place.kept("two").sessions == 1
    assert place.phase("two") == ("connected", "")
    assert len(place.intakes["two"].frames) == 5


# What is told


async def test_state_has_what_holds_up_frames_that_were_run(place: Place) -> None:
    await until(lambda: place.phase() == ("connected", ""))
    place.kept().lent.tally.beside = lambda: (3, "it takes nothing")

    assert (place.phase(), place.state().waiting) == (("connected", "it takes nothing"), 3)
    await place.goes("cut")
    assert place.phase() == ("connecting", "cut")


async def test_state_has_what_was_taken_and_what_is_in_hand(place: Place) -> None:
    feeder, intake = place.kept(), place.intakes["one"]
    intake.script.append(Taken(commands=3, refusals={1: "blocked"}))
    await until(lambda: place.phase() == ("connected", ""))
    await feeder.take()
    intake.block()
    waiting = asyncio.create_task(feeder.take())
    await until(lambda: intake.in_hand)
    feeder.lent.tally.lag(7)
    feeder.lent.tally.dead_lettered("blocked")
    feeder.lent.tally.dead_lettered(SECRET)
    feeder.lent.tally.lost(2)
    feeder.lent.tally.lost(0)
    place.counted["one"]("done")
    place.counted["one"](SECRET)

    told = place.state()
    assert (told.type, told.tenant, told.state) == ("scripted", "shop", "connected")
    assert (told.consumed, told.refused, told.waiting) == (3, 1, 1)
    assert (told.lag, told.dead_lettered, told.lost) == (7, 2, 2)
    text = place.metrics.text().decode()
    for line in (
        'otpsvc_feeder_lag{feeder="one"} 7.0',
        'otpsvc_feeder_dead_letters_total{feeder="one",reason="blocked"} 1.0',
        'otpsvc_feeder_dead_letters_total{feeder="one",reason="other"} 1.0',
        'otpsvc_feeder_lost_total{feeder="one"} 2.0',
        'otpsvc_feeder_commands_total{feeder="one",outcome="done"} 1.0',
        'otpsvc_feeder_commands_total{feeder="one",outcome="other"} 1.0',
    ):
        assert line in text
    assert SECRET not in text

    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert (place.state().consumed, place.state().waiting) == (3, 0)
    await place.goes()
    assert place.state().lag is None


async def test_a_change_is_told_at_once_and_since_when_it_is_so(place: Place) -> None:
    # What is told of anyway comes too late for this test.
    place.feeding._teller._gap = 3600.0
    await until(lambda: place.board.told and place.board.told[-1][0].state == "connected")
    await place.goes("cut")
    await until(lambda: place.board.told[-1][0].reason == "cut")
    since = place.state().since
    place.clock.forward(0.5)
    await place.goes("cut otherwise")

    # It was connected in between.
    assert place.state().since > since


async def test_another_reason_is_no_other_state(place: Place) -> None:
    place.kept().ups = False
    await place.goes("cut")
    since = place.state().since
    place.clock.forward(0.5)
    await place.goes("cut otherwise")

    assert place.phase() == ("connecting", "cut otherwise")
    assert place.state().since == since


async def test_nobody_is_up_without_a_session(place: Place) -> None:
    await place.goes()
    place.kept().lent.tally.up()

    assert place.phase() == ("connecting", "cut")


async def test_a_text_that_came_in_wakes_the_feeders_of_its_tenant(place: Place) -> None:
    place.feeding.wake("shop")
    place.feeding.wake("other")

    assert place.woken == ["one", "two"]


# Places


async def test_each_knows_what_all_of_its_type_have(place: Place) -> None:
    taken = place.kept().lent.taken

    assert [taken(name) for name in ("one.in", "two.in", "three.in")] == [True, True, False]
    async with place.feeding.change({"one": config(), "three": config(), "four": config(type="alone")}):
        pass
    assert [taken(name) for name in ("two.in", "three.in", "four.in")] == [False, True, False]
