"""Deadlines, cancellation, and a ledger that does not answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest

from otpsvc.errors import StoreUnavailable, Unavailable
from otpsvc.gsm.ledger import MemoryLedger, Taken
from otpsvc.gsm.settings import ModemSettings
from otpsvc.gsm.types import Quota
from tests.gsm.scripted import Rig, cms, job
from tests.waiting import until

LONG = "A long text. " * 30


class Clock:
    """Real time, and what a test puts on top: it need not hurry to be there before a deadline."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


async def test_nothing_is_handed_over_after_the_deadline() -> None:
    rig = Rig("a")
    slow = asyncio.Event()
    rig.radios["a"].script = [slow]
    clock = rig.desk.monotonic = Clock()
    sends = rig.start(job(LONG))
    await until(rig.radios["a"].began.is_set)

    clock.ahead = 3600
    slow.set()

    with pytest.raises(Unavailable, match="deadline"):
        await sends
    assert len(rig.radios["a"].parts) == 1
    await until(lambda: not rig.tasks)
    assert await rig.used("a") == 1


async def test_a_gap_that_ends_after_the_deadline_is_not_waited_for() -> None:
    rig = Rig(ModemSettings(name="a", path="", gap=30_000))
    slow = asyncio.Event()
    rig.radios["a"].script = [slow]
    clock = rig.desk.monotonic = Clock()
    sends = rig.start(job(LONG))
    await until(rig.radios["a"].began.is_set)

    # The deadline is over then, the gap is not.
    clock.ahead = 3600
    slow.set()

    with pytest.raises(Unavailable, match="deadline"):
        await sends
    assert len(rig.radios["a"].parts) == 1


async def test_cancelled_before_it_was_handed_over_the_parts_are_given_back() -> None:
    rig = Rig(ModemSettings(name="a", path="", gap=3000))
    await rig.send(job())
    sends = rig.start(job(LONG))
    await until(lambda: rig.turns.length)

    sends.cancel()
    await asyncio.gather(sends, return_exceptions=True)

    await until(lambda: not rig.tasks)
    assert await rig.used("a") == 1


async def test_cancelled_between_two_parts_the_rest_is_given_back() -> None:
    rig = Rig(ModemSettings(name="a", path="", gap=3000))
    sends = rig.start(job(LONG))
    await until(lambda: rig.radios["a"].parts)

    sends.cancel()
    await asyncio.gather(sends, return_exceptions=True)

    await until(lambda: not rig.tasks)
    assert await rig.used("a") == 1
    assert rig.radios["a"].held == 0


class SlowLedger(MemoryLedger):
    """Answers when it may; the counting itself is done at once."""

    def __init__(self) -> None:
        super().__init__()
        self.may = asyncio.Event()
        self.asked = asyncio.Event()

    async def take(self, sim: str, parts: int, quotas: Sequence[Quota], timezone: str) -> Taken:
        taken = await super().take(sim, parts, quotas, timezone)
        self.asked.set()
        await self.may.wait()
        return taken


async def test_cancelled_while_the_ledger_counts_the_parts_are_given_back() -> None:
    ledger = SlowLedger()
    rig = Rig("a", ledger=ledger)
    sends = rig.start(job(LONG))
    await ledger.asked.wait()

    sends.cancel()
    await asyncio.gather(sends, return_exceptions=True)
    assert await rig.used("a") == 3
    ledger.may.set()

    await until(lambda: not rig.tasks)
    assert await rig.used("a") == 0
    assert (await rig.send(job())).modem == "a"


async def test_the_deadline_counts_after_the_ledger_answered() -> None:
    ledger = SlowLedger()
    rig = Rig("a", ledger=ledger)
    clock = rig.desk.monotonic = Clock()
    sends = rig.start(job())
    await ledger.asked.wait()

    clock.ahead = 3600
    ledger.may.set()

    with pytest.raises(Unavailable, match="deadline"):
        await sends
    assert not rig.radios["a"].parts


class BrokenLedger(MemoryLedger):
    """`broken` names the steps that fail."""

    broken: frozenset[str] = frozenset()

    async def take(self, sim: str, parts: int, quotas: Sequence[Quota], timezone: str) -> Taken:
        if "take" in self.broken:
            raise StoreUnavailable
        return await super().take(sim, parts, quotas, timezone)

    async def give_back(self, sim: str, parts: int, timezone: str) -> None:
        if "give_back" in self.broken:
            raise StoreUnavailable
        await super().give_back(sim, parts, timezone)

    async def expect(self, sim: str, references: Sequence[int], number: str, job: str, life: float) -> None:
        if "expect" in self.broken:
            raise StoreUnavailable
        await super().expect(sim, references, number, job, life)


async def test_without_the_store_nothing_is_sent() -> None:
    ledger = BrokenLedger()
    ledger.broken = frozenset({"take"})
    rig = Rig("a", ledger=ledger)

    with pytest.raises(Unavailable, match="store"):
        await rig.send(job())

    assert not rig.radios["a"].parts
    ledger.broken = frozenset()
    assert (await rig.send(job())).modem == "a"


async def test_a_store_that_goes_away_after_the_sending_changes_nothing_of_it() -> None:
    ledger = BrokenLedger()
    ledger.broken = frozenset({"expect", "give_back"})
    rig = Rig("a", "b", ledger=ledger)
    rig.radios["a"].script = [cms(42)]

    assert (await rig.send(job())).modem == "b"
    # What could not be given back stays counted.
    assert await rig.used("a") == 1


async def test_a_send_that_is_cut_off_leaves_a_modem_that_hangs_to_nobody() -> None:
    rig = Rig("a", "b")
    hangs = asyncio.Event()
    rig.radios["a"].script = [hangs]
    cut = rig.start(job())
    await until(rig.radios["a"].began.is_set)

    cut.cancel()
    await asyncio.gather(cut, return_exceptions=True)
    sent = [(await rig.send(job())).modem for _ in range(4)]

    assert sent == ["b"] * 4
    hangs.set()
    await until(lambda: not rig.tasks)
    assert {(await rig.send(job())).modem for _ in range(2)} == {"a", "b"}


async def test_a_text_that_is_cut_off_begins_no_other_part() -> None:
    rig = Rig("a")
    slow = asyncio.Event()
    rig.radios["a"].script = [slow]
    cut = rig.start(job(LONG))
    await until(rig.radios["a"].began.is_set)

    cut.cancel()
    await asyncio.gather(cut, return_exceptions=True)
    slow.set()
    await until(lambda: not rig.tasks)

    assert len(rig.radios["a"].parts) == 1
    assert await rig.used("a") == 1


async def test_a_text_that_is_cut_off_and_sent_all_the_same_has_its_report() -> None:
    rig = Rig("a")
    slow = asyncio.Event()
    rig.radios["a"].script = [slow]
    cut = rig.start(job())
    await until(rig.radios["a"].began.is_set)

    cut.cancel()
    await asyncio.gather(cut, return_exceptions=True)
    slow.set()
    await until(lambda: not rig.tasks)

    assert await rig.ledger.match("sim-a", 1, job().to, final=True)
