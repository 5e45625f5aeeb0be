from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from otpsvc.errors import StoreUnavailable
from otpsvc.gsm.ledger import Match, MemoryLedger
from otpsvc.gsm.pdu import StatusReport
from otpsvc.gsm.types import Delivered
from tests.gsm.scripted import NUMBER, Rig, job
from tests.waiting import stays, until

LONG = "A long text. " * 30
DELIVERED, PENDING, FAILED = 0x00, 0x30, 0x46


def report(
    reference: int, status: int = DELIVERED, *, to: str = NUMBER, at: float | None = None
) -> StatusReport:
    now = time.time() if at is None else at
    return StatusReport(reference=reference, recipient=to, status=status, submitted=now, discharged=now)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig("a", "b")
    yield rig
    await rig.reports.close()


async def test_a_report_settles_its_job(rig: Rig) -> None:
    sent = await rig.send(job(id="one"))

    await rig.reports.came(sent.sim, report(sent.references[0]))

    assert rig.told == [Delivered("one", ok=True)]


async def test_a_text_is_delivered_when_all_its_parts_are(rig: Rig) -> None:
    sent = await rig.send(job(LONG))

    for reference in sent.references[:-1]:
        await rig.reports.came(sent.sim, report(reference))
    assert not rig.told
    await rig.reports.came(sent.sim, report(sent.references[-1]))

    assert rig.told == [Delivered("job", ok=True)]


async def test_one_failed_part_fails_the_text_once(rig: Rig) -> None:
    sent = await rig.send(job(LONG))

    for reference, status in zip(sent.references, (FAILED, FAILED + 1, DELIVERED), strict=True):
        await rig.reports.came(sent.sim, report(reference, status))

    assert rig.told == [Delivered("job", ok=False, status=FAILED)]


async def test_a_network_that_still_tries_settles_nothing(rig: Rig) -> None:
    sent, now = await rig.send(job()), time.time()

    await rig.reports.came(sent.sim, report(sent.references[0], PENDING, at=now))
    assert not rig.told
    await rig.reports.came(sent.sim, report(sent.references[0], at=now))

    assert rig.told == [Delivered("job", ok=True)]


async def test_a_doubled_report_is_told_once_and_is_not_unknown(rig: Rig) -> None:
    sent = await rig.send(job())
    said = report(sent.references[0])

    await rig.reports.came(sent.sim, said)
    await rig.reports.came(sent.sim, said)

    assert rig.told == [Delivered("job", ok=True)]
    assert rig.reports.unknown == 0


async def test_a_report_that_overtakes_the_answer_is_looked_up_again(rig: Rig) -> None:
    slow = asyncio.Event()
    rig.radios["a"].script = [slow]
    sends = rig.start(job())
    await until(rig.radios["a"].began.is_set)

    await rig.reports.came("sim-a", report(1))
    # Longer than all looks together.
    await stays(lambda: (rig.told, rig.reports.unknown) == ([], 0))
    slow.set()
    await sends

    await until(lambda: rig.told)
    assert rig.told == [Delivered("job", ok=True)]


async def test_a_report_of_the_first_part_waits_for_the_last(rig: Rig) -> None:
    """Noted after the first part, the ledger would say that nothing is left."""
    done, slow = asyncio.Event(), asyncio.Event()
    done.set()
    rig.radios["a"].script = [done, done, slow]
    sends = rig.start(job(LONG))
    await until(lambda: len(rig.radios["a"].parts) == 3)

    for reference in (1, 2):
        await rig.reports.came("sim-a", report(reference))
    slow.set()
    await sends
    await rig.reports.came("sim-a", report(3))

    await until(lambda: rig.told)
    assert rig.told == [Delivered("job", ok=True)]


async def test_a_report_that_belongs_to_nothing_is_counted(rig: Rig) -> None:
    await rig.reports.came("sim-a", report(200))

    await until(lambda: rig.reports.unknown)
    assert not rig.told


async def test_a_network_that_writes_the_number_in_another_way(rig: Rig) -> None:
    sent = await rig.send(job(to="+6281234567890"))

    await rig.reports.came(sent.sim, report(sent.references[0], to="081234567890"))

    assert rig.told == [Delivered("job", ok=True)]


async def test_the_same_reference_for_another_number_is_another_text(rig: Rig) -> None:
    sent = await rig.send(job())

    await rig.reports.came(sent.sim, report(sent.references[0], to="+6289999999999"))

    await until(lambda: rig.reports.unknown)
    assert not rig.told


async def test_the_same_reference_on_another_sim_is_another_text(rig: Rig) -> None:
    await rig.send(job(id="by a"))
    await rig.send(job(id="by b"))

    await rig.reports.came("sim-b", report(1))

    assert rig.told == [Delivered("by b", ok=True)]


class Flaky(MemoryLedger):
    """Fails the first look-up."""

    asked = 0

    async def match(self, *args: Any, **fields: Any) -> Match | None:
        self.asked += 1
        if self.asked == 1:
            raise StoreUnavailable
        return await super().match(*args, **fields)


async def test_a_store_that_is_away_for_a_moment_loses_no_report() -> None:
    rig = Rig("a", ledger=Flaky())
    sent = await rig.send(job())

    await rig.reports.came(sent.sim, report(sent.references[0]))

    await until(lambda: rig.told)
    assert rig.told == [Delivered("job", ok=True)]
