"""The kept line of channels to a broker: shared by all sends, and not opened in a hurry."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

import pytest

from otpsvc.channels.broker_kept import Kept
from otpsvc.errors import Unavailable
from tests.waiting import until


class Line:
    """An open line that does as told."""

    def __init__(self) -> None:
        self.is_open = True
        self.closed = 0
        self.quiet = asyncio.Event()

    async def idle(self) -> None:
        await self.quiet.wait()

    async def close(self) -> None:
        self.is_open = False
        self.closed += 1


class Broker:
    """Opens lines, or fails in the way that `fails` says; `now` is the time of its clients."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.lines: list[Line] = []
        self.dialled = 0
        self.fails: Callable[[], Unavailable] | None = None
        self.opens = asyncio.Event()
        self.opens.set()

    async def dial(self) -> Line:
        self.dialled += 1
        await self.opens.wait()
        if self.fails:
            raise self.fails()
        self.lines.append(Line())
        return self.lines[-1]

    def kept(self, *, open_wait: float = 30.0) -> Kept[Line]:
        return Kept(self.dial, open_wait=open_wait, clock=lambda: self.now)


async def waits(kept: Kept[Line]) -> float:
    """Seconds that it asks to wait."""
    with pytest.raises(Unavailable) as error:
        await kept.line()
    return error.value.retry_after or 0.0


async def test_all_share_one_line() -> None:
    broker = Broker()
    kept = broker.kept()

    assert not kept.is_open
    lines = await asyncio.gather(*(kept.line() for _ in range(10)))
    assert set(lines) == {await kept.line()}
    assert kept.is_open
    assert broker.dialled == 1
    await kept.close()


async def test_who_waits_may_be_cut_off_and_the_others_get_the_line() -> None:
    broker = Broker()
    broker.opens.clear()
    kept = broker.kept()
    first, second = (asyncio.ensure_future(kept.line()) for _ in range(2))
    await until(lambda: broker.dialled)
    first.cancel()
    with pytest.raises(asyncio.CancelledError) as cut:
        await first
    broker.opens.set()

    assert isinstance(cut.value.__cause__, Unavailable)
    assert await second is broker.lines[0]
    await kept.close()


async def test_waits_grow_and_are_bounded() -> None:
    broker = Broker()
    broker.fails = lambda: Unavailable("cannot connect")
    kept = broker.kept()
    asked = []
    for _ in range(12):
        await waits(kept)
        asked.append(await waits(kept))
        broker.now += asked[-1]

    assert broker.dialled == 12
    assert 0.25 <= asked[0] <= 0.5
    assert all(wait <= 10.0 for wait in asked)
    assert all(wait >= 5.0 for wait in asked[6:])


async def test_a_broker_that_came_back_is_used_after_the_wait() -> None:
    broker = Broker()
    broker.fails = lambda: Unavailable("cannot connect")
    kept = broker.kept()
    await waits(kept)
    broker.fails = None
    broker.now += 0.5

    assert await kept.line() is broker.lines[0]
    await kept.close()


async def test_a_longer_wait_that_was_asked_for_is_kept() -> None:
    broker = Broker()
    broker.fails = lambda: Unavailable("login refused", retry_after=30.0)
    kept = broker.kept()

    await waits(kept)
    broker.now += 29.0
    assert await waits(kept) == pytest.approx(1.0)
    assert broker.dialled == 1


async def test_a_line_that_does_not_open_in_time_is_given_up() -> None:
    broker = Broker()
    broker.opens.clear()

    with pytest.raises(Unavailable, match="time-out at connect"):
        await broker.kept(open_wait=0.01).line()


async def test_lines_that_are_lost_at_once_are_opened_at_intervals() -> None:
    broker = Broker()
    kept = broker.kept()
    for _ in range(2):
        (await kept.line()).is_open = False

    assert 0 < await waits(kept) <= 1.0
    assert broker.dialled == 2
    await kept.close()
    assert [line.closed for line in broker.lines] == [1, 1]


@pytest.mark.parametrize("proof", ["time", "message"])
async def test_a_line_that_worked_is_opened_again_at_once(proof: str) -> None:
    broker = Broker()
    kept = broker.kept()
    for _ in range(5):
        line = await kept.line()
        if proof == "time":
            broker.now += 10.0
        else:
            kept.works()
        line.is_open = False

    assert broker.dialled == 5
    await kept.close()


async def test_a_line_that_is_left_ends_when_it_is_idle() -> None:
    broker = Broker()
    kept = broker.kept()
    old = await kept.line()
    kept.leave(old)

    assert await kept.line() is not old
    await asyncio.sleep(0)
    assert old.closed == 0
    old.quiet.set()
    await until(lambda: old.closed)
    kept.leave(old)
    assert kept.is_open
    await kept.close()


async def test_a_failure_that_nobody_waits_for_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    # What earlier tests left is told of now.
    gc.collect()
    caplog.clear()
    broker = Broker()
    broker.fails = lambda: Unavailable("cannot connect")
    broker.opens.clear()
    kept = broker.kept()
    waiting = asyncio.ensure_future(kept.line())
    await until(lambda: broker.dialled)
    waiting.cancel()
    await asyncio.wait([waiting])
    del waiting
    broker.opens.set()
    await until(lambda: kept._opening is None)
    # What nobody looked at is told when it is thrown away.
    gc.collect()

    assert not caplog.records
    assert await waits(kept)


async def test_closing_closes_all_and_it_may_be_used_again() -> None:
    broker = Broker()
    kept = broker.kept()
    kept.leave(await kept.line())
    await kept.line()
    await kept.close()
    await kept.close()

    assert [line.closed for line in broker.lines] == [1, 1]
    assert await kept.line() is broker.lines[2]
    await kept.close()


async def test_closing_ends_an_opening() -> None:
    broker = Broker()
    broker.opens.clear()
    kept = broker.kept()
    waiting = asyncio.ensure_future(kept.line())
    await until(lambda: broker.dialled)
    await kept.close()

    with pytest.raises(Unavailable, match="closed"):
        await waiting
