"""How feeders end, and what is logged of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from otpsvc.errors import BrokerGone, BrokerRefused
from otpsvc.stores.memory import MemoryStore
from tests.app.feeding_rig import Clock, Place, Scripted, config, register
from tests.waiting import PATIENCE, stays, until

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


# Log lines


async def test_log_lines_are_few_and_hold_no_words(place: Place) -> None:
    place.kept().ups = False
    with capture_logs() as said:
        for _ in range(20):
            await place.goes("cannot connect")
            place.clock.forward(1.0)
            place.clock.forward(29.0)
        await place.ends(BrokerRefused("no such login"))
        place.clock.forward(30.0)
        place.kept().ups = True
        await place.ends(KeyError(SECRET))

    mine = [line for line in said if line.get("feeder") == "one"]
    assert [(line["event"], line.get("reason", "")) for line in mine[-3:]] == [
        ("feeder refused", "no such login"),
        ("feeder connected", ""),
        ("feeder lost its broker", "the feeder failed: KeyError"),
    ]
    # Ten minutes of the same.
    assert 5 <= len(mine[:-3]) <= 12
    assert {(line["event"], line["reason"]) for line in mine[:-3]} == {
        ("feeder lost its broker", "cannot connect")
    }
    assert mine[0]["seconds"] == 0.5
    assert [bool(line.get("exc_info")) for line in mine[-3:]] == [False, False, True]
    assert SECRET not in str([{**line, "exc_info": ""} for line in mine])


async def test_a_line_that_flaps_is_logged_once_a_minute(place: Place) -> None:
    with capture_logs() as said:
        for _ in range(12):
            await place.goes("cut")
            place.clock.forward(30)
        await until(lambda: place.kept().live)

    mine = [line["event"] for line in said if line.get("feeder") == "one"]
    assert mine.count("feeder lost its broker") <= 7
    assert mine.count("feeder connected") <= 7


# The end


async def test_what_is_in_hand_ends_before_the_session_is_cut_off(place: Place) -> None:
    feeder, intake = place.kept(), place.intakes["one"]
    intake.block()
    taking = asyncio.create_task(feeder.take())
    await until(lambda: intake.in_hand)

    async def drain() -> None:
        intake.release()
        await taking
        feeder.said.append("drained")

    feeder.drains = drain
    await place.feeding.stop()

    assert feeder.said == ["open", "session", "drain", "drained", "ended", "close"]
    assert place.state().state == "stopped"
    assert len(intake.ended) == 1


@pytest.mark.parametrize("drains", ["hangs", "fails"])
async def test_a_drain_that_hangs_or_fails_holds_up_no_end(
    place: Place, drains: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otpsvc.keeper.DRAIN", 0.05)

    async def drain() -> None:
        if drains == "fails":
            raise KeyError(SECRET)
        await asyncio.Event().wait()

    place.kept().drains = drain
    with capture_logs() as said:
        await asyncio.wait_for(place.feeding.stop(), PATIENCE)

    assert place.kept().said[-2:] == ["ended", "close"]
    assert place.kept("two").said[-2:] == ["ended", "close"]
    # So short a time to drain may be over for the other one too, on a slow machine.
    assert [line["step"] for line in said if "step" in line and line["feeder"] == "one"] == ["drain"]


async def test_a_second_signal_waits_for_nothing_that_is_in_hand(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otpsvc.keeper.DRAIN", 3600.0)
    place.kept().drains = asyncio.Event().wait
    await until(lambda: place.kept().live)
    stopping = asyncio.create_task(place.feeding.stop())
    await until(lambda: "drain" in place.kept().said)
    place.feeding.hurry()
    await asyncio.wait_for(stopping, PATIENCE)

    assert place.kept().said[-2:] == ["ended", "close"]


async def test_no_session_begins_while_one_drains(place: Place) -> None:
    feeder = place.kept()
    await until(lambda: feeder.live)

    async def drain() -> None:
        feeder.ends.put_nowait(BrokerGone("cut"))
        await until(lambda: not feeder.live)
        place.clock.forward(60)
        await asyncio.sleep(0.05)

    feeder.drains = drain
    await place.feeding.stop()

    assert feeder.sessions == 1


async def test_a_feeder_between_two_sessions_ends_at_once(place: Place) -> None:
    await place.goes()
    await asyncio.wait_for(place.feeding.stop(), PATIENCE)

    # It may have in hand what it took before.
    assert place.kept().said == ["open", "session", "ended", "drain", "close"]


async def test_a_feeder_that_never_opened_has_nothing_to_drain(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scripted, "never_opens", True)
    async with place.feeding.change({"three": config()}):
        pass
    await until(lambda: place.phase("three")[1])
    await place.feeding.stop()

    assert place.kept("three").said == ["open", "close"]


async def test_feeders_leave_the_board_when_they_end(place: Place) -> None:
    await until(lambda: place.board.told)
    await place.feeding.__aexit__(None, None, None)

    assert place.board.left == 1
    left = len(place.board.told)
    await stays(lambda: len(place.board.told) == left)
