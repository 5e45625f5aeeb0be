"""What a pool owes its callers: their turn, an end of every wait, no word of what it sends."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from otpsvc.errors import ChannelError, Unavailable
from otpsvc.gsm.emulator import Network
from otpsvc.gsm.types import State
from tests.gsm.fleet import QUICK, Fleet, job
from tests.waiting import PATIENCE, until

CODE, TO, PIN = "817263", "+628139876543", "4711"


@pytest.fixture
def net() -> Network:
    return Network(latency=0.005)


async def test_an_operator_waits_for_the_end_of_the_text_and_frees_no_others(net: Network) -> None:
    net.latency = 0.3
    sent: list[int] = []
    async with Fleet(net) as fleet:
        text = asyncio.create_task(fleet.pool.send(job()))
        await until(lambda: fleet.emulated[0].handed)
        # This is no code: all that it takes is its turn.
        asks = asyncio.create_task(fleet.pool.ussd("m0", "nonsense"))
        asks.add_done_callback(lambda _: sent.append(len(net.sent)))

        await text
        with pytest.raises(ValueError, match="code"):
            await asks
        assert sent == [1]


async def test_a_pool_that_closes_ends_the_wait_for_a_modem(net: Network) -> None:
    async with Fleet(net, patience=500) as fleet:
        await fleet.emulated[0].unplug()
        await until(lambda: State.ABSENT in fleet.states("m0"))
        waits = asyncio.create_task(fleet.pool.send(job()))
        await until(lambda: fleet.pool.waiting)

    # Not after its patience, and not at its deadline.
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(Unavailable, match="stopping"):
            await waits


async def test_a_pool_that_closes_looks_for_no_report_any_more(net: Network) -> None:
    before = asyncio.all_tasks()
    async with Fleet(net, quirks={"report": "unknown"}) as fleet:
        known = asyncio.all_tasks()
        await fleet.pool.send(job())
        await until(lambda: asyncio.all_tasks() - known)
        unknown = fleet.pool.reports.unknown

    assert unknown == 0
    assert asyncio.all_tasks() <= before


async def test_nothing_planted_is_in_logs_events_or_errors(
    net: Network, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[object] = []
    quirks = {"pin": PIN, "report": "double"}
    async with Fleet(
        net, 2, of=[{"pin": PIN}] * 2, quirks=quirks, timeouts=QUICK, report_wait=0.2, patience=3
    ) as fleet:
        modems = [fleet.pool.modem(name) for name in ("m0", "m1")]
        for modem in modems:
            modem.on_trace(said.append)
        for fault in ("ok", "CMS 42", "reboot", "silent", "CMS 304", "unplug at command"):
            for each in fleet.emulated:
                each.fail_next(fault)
            try:
                said.append(await fleet.pool.send(job(f"Your code is {CODE}", to=TO)))
            except ChannelError as error:
                said += [error, repr(error), error.__cause__]
            for each, modem in zip(fleet.emulated, modems, strict=True):
                each.script.clear()
                await each.plug()
                await until(lambda modem=modem: modem.state in {State.READY, State.DEGRADED})  # type: ignore[misc]
                modem.resume()
            await fleet.ready()
        with pytest.raises(ChannelError) as late:
            await fleet.pool.send(job(CODE, to=TO, deadline=time.monotonic() - 1))
        said += [late.value, *fleet.told, *await fleet.pool.snapshots()]

    words = "\n".join([*map(repr, said), *map(str, said), caplog.text])
    assert "CMGS" in words
    body = next(part.submit for part in net.parts).encoded()[0]
    for planted in (CODE, PIN, body[-20:], "Your code", TO.lstrip("+")):
        assert planted not in words
