"""What a worker looks at next, and how much it may begin: codes first, bulk leaves room, rates hold."""

from __future__ import annotations

import asyncio
import time

import pytest

from otpsvc.message import LANES, Lane
from otpsvc.pending import EVENTS, EVENTS_PER_TENANT, MOST_PER_CLAIM, MOST_PER_POLL, Pending
from tests.waiting import PATIENCE

SHOP, BANK = "shop", "bank"


async def pending(route: str = "mail", *, slots: int = 8, rate: float = 0.0) -> Pending:
    return Pending(route, slots, rate)


def filled(queue: Pending, lane: Lane, tenant: str = SHOP) -> int:
    """How many messages of a lane may begin, one after the other."""
    begun = 0
    while queue.room(tenant, lane) > 0:
        queue.begin(tenant, lane)
        begun += 1
    return begun


async def test_marks_come_out_once_codes_first() -> None:
    queue = await pending()
    for lane in reversed(LANES):
        queue.add(SHOP, lane)
        queue.add(BANK, lane)
        queue.add(SHOP, lane)

    assert queue.pop_due() == [(lane, tenant) for lane in LANES for tenant in (SHOP, BANK)]
    assert queue.pop_due() == []


# --- room --------------------------------------------------------------------


async def test_codes_may_fill_every_slot_and_others_leave_room() -> None:
    assert filled(await pending(), "otp") == 8
    assert filled(await pending(), "message") == 4

    events = await pending()
    assert filled(events, "event") == EVENTS_PER_TENANT == 4
    assert filled(events, "event", BANK) == 2, "three quarters of 8, over all tenants"


async def test_bulk_never_takes_the_room_of_codes() -> None:
    queue = await pending()
    assert filled(queue, "message") == 4
    assert filled(queue, "otp") == 4
    assert queue.room(SHOP, "otp") == queue.room(SHOP, "message") == 0


async def test_full_of_codes_nothing_else_begins() -> None:
    queue = await pending()
    filled(queue, "otp")

    assert queue.room(SHOP, "message") <= 0
    assert queue.room(SHOP, "event") <= 0
    assert not queue.takes()


@pytest.mark.parametrize("lane", LANES)
async def test_a_single_slot_serves_every_lane(lane: Lane) -> None:
    assert filled(await pending(slots=1), lane) == 1


async def test_what_ends_makes_room_again() -> None:
    queue = await pending(slots=2)
    filled(queue, "otp")
    queue.end(SHOP, "otp")

    assert (queue.room(SHOP, "otp"), queue.takes()) == (1, True)
    events = await pending()
    filled(events, "event")
    events.end(SHOP, "event")
    assert events.room(SHOP, "event") == 1


async def test_one_claim_takes_a_small_number() -> None:
    assert (await pending(slots=1000)).room(SHOP, "otp") == MOST_PER_CLAIM


async def test_what_was_held_is_looked_at_when_something_ends() -> None:
    queue = await pending(slots=1)
    queue.begin(SHOP, "otp")
    queue.hold(BANK, "message")
    assert queue.pop_due() == []
    queue.end(SHOP, "otp")

    assert queue.pop_due() == [("message", BANK)]
    queue.begin(SHOP, "otp")
    queue.end(SHOP, "otp")
    assert queue.pop_due() == []


# --- rate --------------------------------------------------------------------


async def test_a_rate_lets_one_begin_at_a_time() -> None:
    queue = await pending(rate=0.01)
    assert (queue.room(SHOP, "otp"), queue.takes()) == (1, True)
    queue.begin(SHOP, "otp")

    assert (queue.room(SHOP, "otp"), queue.takes()) == (0, False)


async def test_a_rate_holds_over_many() -> None:
    queue, began = await pending(rate=200.0), time.monotonic()
    for _ in range(11):
        queue.add(SHOP, "otp")
        await queue.until_due(1.0)
        assert queue.room(SHOP, "otp") == 1
        queue.begin(SHOP, "otp")
        queue.end(SHOP, "otp")
        queue.pop_due()

    assert time.monotonic() - began >= 10 / 200


async def test_idle_time_is_not_saved_up() -> None:
    queue = await pending(rate=0.01)
    queue.begin(SHOP, "otp")
    queue.end(SHOP, "otp")

    assert queue.room(SHOP, "otp") == 0


# --- waiting -----------------------------------------------------------------


async def test_a_mark_ends_the_wait() -> None:
    queue = await pending()
    waiting = asyncio.ensure_future(queue.until_due(3600.0))
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.add(SHOP, "otp")
    async with asyncio.timeout(PATIENCE):
        await waiting

    # It stays until it is taken out.
    async with asyncio.timeout(PATIENCE):
        await queue.until_due(3600.0)


async def test_without_a_mark_the_wait_ends_with_the_poll() -> None:
    queue = await pending()
    async with asyncio.timeout(PATIENCE):
        await queue.until_due(0.01)

    assert queue.pop_due() == []


async def test_what_is_due_soon_is_marked_then() -> None:
    queue = await pending()
    queue.add_later(SHOP, "event", 0.005)
    queue.add_later(BANK, "event", -3.0)
    due: list[object] = []
    async with asyncio.timeout(PATIENCE):
        # At once and later, or both together where this machine was busy.
        while len(due) < 2:
            await queue.until_due(3600.0)
            due += queue.pop_due()

    assert due == [("event", BANK), ("event", SHOP)]


async def test_what_is_due_much_later_is_left_to_the_poll() -> None:
    queue = await pending()
    timers = len(asyncio.get_running_loop()._scheduled)  # type: ignore[attr-defined]
    queue.add_later(SHOP, "event", 3600.0)

    assert len(asyncio.get_running_loop()._scheduled) == timers  # type: ignore[attr-defined]


# --- the poll ----------------------------------------------------------------


async def test_a_poll_looks_at_every_lane_that_a_route_has() -> None:
    queue, events = await pending(), await pending(EVENTS)
    queue.add_some([SHOP, BANK])
    events.add_some([SHOP])

    assert queue.pop_due() == [("otp", BANK), ("otp", SHOP), ("message", BANK), ("message", SHOP)]
    assert events.pop_due() == [("event", SHOP)]


async def test_many_tenants_take_turns_over_the_polls() -> None:
    queue, seen = await pending(EVENTS), set[str]()
    names = [f"t{at:03}" for at in range(3 * MOST_PER_POLL - 1)]
    for _ in range(3):
        queue.add_some(names)
        marks = [tenant for _, tenant in queue.pop_due()]
        assert len(marks) == MOST_PER_POLL
        seen.update(marks)

    assert seen == set(names)


async def test_tenants_may_come_and_go_between_polls() -> None:
    queue = await pending(EVENTS)
    queue.add_some(["a", "b", "c"])
    queue.pop_due()
    queue.add_some([])
    assert queue.pop_due() == []
    queue.add_some(["a"])

    assert queue.pop_due() == [("event", "a")]
