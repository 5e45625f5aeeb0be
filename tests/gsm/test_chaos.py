"""A thousand texts over four modems that do everything wrong."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from msgspec import Struct, field

from otpsvc.errors import Unavailable, Uncertain
from otpsvc.gsm.emulator import Network
from otpsvc.gsm.pool import Pool
from otpsvc.gsm.settings import Timeouts
from otpsvc.gsm.types import Job, State
from tests.gsm.fleet import Fleet

COUNT, MODEMS, AT_ONCE = 1000, 4, 32
ERRORS = ("CMS 42", "CMS 500", "CMS 38", "CMS 331", "CMS 515", "CMS 314", "CME 30", "ERROR")
#: One text in a hundred or so.
RARE = ("silent", "silent sent", "late 4", "no-prompt", "no-cmgs", "no-ok", "garbage")
#: Short, so that the test is; but what a busy machine answers late would be doubt that nobody made.
TIMEOUTS = Timeouts(basic=3, setting=15, slow=15, storage=15, prompt=3, result=3, late_result=9, reset=20)


class Ends(Struct):
    """How each text ended for who sent it."""

    sure: set[str] = field(default_factory=set)
    uncertain: set[str] = field(default_factory=set)
    unavailable: Counter[str] = field(default_factory=Counter)


def faults(chance: random.Random) -> Iterator[str]:
    """One for each of a modem's texts."""
    for _ in range(COUNT):
        drawn = chance.random()
        if drawn < 0.1:
            yield chance.choice(ERRORS)
        elif drawn < 0.11:
            yield chance.choice(RARE)
        else:
            yield "ok"


def jobs(chance: random.Random) -> Iterator[Job]:
    deadline = time.monotonic() + 3600  # no subject here: what is late would be sent again for ever
    for number in range(COUNT):
        long = " and so on" * 20 if chance.random() < 0.05 else ""
        yield Job(
            id=str(number), to=f"+62812{number:07d}", text=f"Code {number:06d}{long}", deadline=deadline
        )


async def outbox(pool: Pool, waiting: list[Job], ends: Ends) -> None:
    """Sends until nothing waits; what surely did not leave is sent again, as by the program."""
    while waiting:
        job = waiting.pop()
        try:
            sent = await pool.send(job)
        except Unavailable as error:
            ends.unavailable[error.reason] += 1
            waiting.append(job)
            await asyncio.sleep(0.05)
        except Uncertain:
            ends.uncertain.add(job.text)
        else:
            (ends.uncertain if sent.uncertain else ends.sure).add(job.text)


async def trouble(fleet: Fleet) -> None:
    """Two restarts and two pulled plugs, spread over the texts."""
    first, second, third, fourth = fleet.emulated
    await fleet.net.arrived(COUNT // 5)
    first.reboot()
    await fleet.net.arrived(2 * COUNT // 5)
    await second.unplug()
    await asyncio.sleep(0.5)
    await second.plug()
    await fleet.net.arrived(3 * COUNT // 5)
    third.reboot()
    await fleet.net.arrived(4 * COUNT // 5)
    await fourth.unplug()
    await asyncio.sleep(0.5)
    await fourth.plug()


async def impatience(fleet: Fleet) -> None:
    """An operator who lets no modem rest: what rests proves nothing here."""
    while True:
        await asyncio.sleep(0.05)
        for modem in (fleet.pool.modem(each.name) for each in fleet.modems):
            if modem.state in {State.DEGRADED, State.SUSPENDED}:
                modem.resume()


@pytest.mark.parametrize("seed", [1])
async def test_nothing_is_lost_nothing_wrong_and_doubles_are_known(seed: int) -> None:
    chance = random.Random(seed)
    net, ends, waiting = Network(latency=0.005), Ends(), list(jobs(chance))
    wanted = {job.text: job.to for job in waiting}
    quirks = {"noise": 0.3, "boot_time": 0.1, "report_delay": 0.05}
    async with Fleet(
        net, MODEMS, quirks=quirks, timeouts=TIMEOUTS, report_wait=1, patience=20, ping=5
    ) as fleet:
        for emulated in fleet.emulated:
            emulated.fail_next(*faults(chance))
        troubles, operator = asyncio.create_task(trouble(fleet)), asyncio.create_task(impatience(fleet))
        await asyncio.gather(*(outbox(fleet.pool, waiting, ends) for _ in range(AT_ONCE)))
        await troubles
        operator.cancel()
        doubts, counted = fleet.pool.doubts, sum([await fleet.used(n) for n in range(MODEMS)])

    arrived = Counter((text.text, text.to) for text in net.sent)
    times = {text: arrived[text, to] for text, to in wanted.items()}
    print(f"{doubts} doubts, {len(ends.uncertain)} uncertain, {ends.unavailable}")

    assert set(arrived) <= set(wanted.items()), "a wrong text, or a wrong number"
    assert ends.sure | ends.uncertain == set(wanted)
    assert all(times[text] == 1 for text in ends.sure), "lost, or doubled unseen"
    # What nobody could know may be missing or doubled, and there is little of it.
    assert sum(max(0, count - 1) for count in times.values()) <= doubts
    assert len(ends.uncertain) <= COUNT // 50
    # No part went over the air uncounted.
    assert counted >= len(net.parts)
