"""The pool on emulated modems: operators, other settings, cancellation, the end."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest
from msgspec.structs import replace

from otpsvc.errors import Unavailable, UnknownModem
from otpsvc.gsm.emulator import Network
from otpsvc.gsm.types import Quota, State
from tests.gsm.fleet import Fleet, job
from tests.waiting import until

LONG = "Grüße aus Köln, €5. " * 20
OTHER = "+6289999999999"


@pytest.fixture
def net() -> Network:
    return Network(latency=0.005)


async def test_a_cancelled_send_leaves_the_modem_usable(net: Network) -> None:
    async with Fleet(net) as fleet:
        for step in range(12):
            sends = asyncio.create_task(fleet.pool.send(job(f"cut {step}")))
            await asyncio.sleep(0.001 * step)
            sends.cancel()
            (end,) = await asyncio.gather(sends, return_exceptions=True)
            if isinstance(end, asyncio.CancelledError) and isinstance(end.__cause__, Unavailable):
                assert f"cut {step}" not in fleet.texts

        await fleet.pool.send(job("after"))

        assert fleet.texts[-1] == "after"
        assert max(Counter(fleet.texts).values()) == 1
        assert fleet.pool.waiting == 0

        async def counted() -> bool:
            return await fleet.used(0) == len(fleet.texts)

        # What surely did not leave was given back: the rest was handed over.
        await until(counted)


async def test_a_cancellation_says_whether_the_text_may_be_shown(net: Network) -> None:
    async with Fleet(net, policy="never_resend") as fleet:
        fleet.emulated[0].fail_next("late 1")
        radio = asyncio.create_task(fleet.pool.send(job("in the radio")))
        await net.arrived(1)
        queue = asyncio.create_task(fleet.pool.send(job("in the line")))
        await until(lambda: fleet.pool.waiting)

        for task in (radio, queue):
            task.cancel()
        causes = []
        for task in (radio, queue):
            with pytest.raises(asyncio.CancelledError) as cancelled:
                await task
            # asyncio raises it anew for who awaits the task; the one of `send` is its cause or context.
            causes.append(
                cancelled.value.__cause__ or getattr(cancelled.value.__context__, "__cause__", None)
            )

        assert [isinstance(cause, Unavailable) for cause in causes] == [False, True]
        assert (await fleet.pool.send(job("after"))).modem == "m0"
        assert fleet.texts == ["in the radio", "after"]


async def test_cut_off_by_a_time_limit_the_line_is_known_not_to_have_sent_it(net: Network) -> None:
    async with Fleet(net) as fleet:
        await fleet.emulated[0].unplug()
        # Else the cut may come while it is handed over.
        await until(lambda: State.ABSENT in fleet.states("m0"))
        with pytest.raises(TimeoutError) as late:
            async with asyncio.timeout(0.1):
                await fleet.pool.send(job())

        # As `attempt` reads it.
        assert late.value.__cause__
        assert isinstance(late.value.__cause__.__cause__, Unavailable)


async def test_an_operator_asks_between_two_texts(net: Network) -> None:
    async with Fleet(net) as fleet:
        sends = [asyncio.create_task(fleet.pool.send(job(str(n)))) for n in range(50)]
        await net.arrived(1)
        answer = await fleet.pool.ussd("m0", "*123#")

        assert answer.text == "Balance: 10000"
        assert len(fleet.texts) < 10
        await asyncio.gather(*sends)


async def test_a_modem_is_found_by_name_or_imei(net: Network) -> None:
    async with Fleet(net, 2) as fleet:
        assert fleet.pool.modem("m1") is fleet.pool.modem("356938035640001")
        assert fleet.pool.modem("35693803564000" + "0") is fleet.pool.modem("m0")
        for name in ("", "m2", "3569"):
            with pytest.raises(UnknownModem):
                fleet.pool.modem(name)
    async with Fleet(net) as fleet:
        with pytest.raises(UnknownModem):
            fleet.pool.modem("")


async def test_snapshots_count_what_each_modem_did(net: Network) -> None:
    async with Fleet(net, 2, of=[{"quotas": (Quota(100, "day"),)}], policy="resend_now") as fleet:
        fleet.emulated[0].fail_next("CMS 42", "silent")
        await fleet.pool.send(job())
        await fleet.ready()
        await fleet.pool.send(job(modem="m1"))

        first, second = await fleet.pool.snapshots()

        assert (first.name, first.failed, second.sent) == ("m0", 1, 2)
        assert [used.limit for used in first.used] == [0, 0, 100, 0]
        assert first.facts.iccid == fleet.emulated[0].sim.iccid


async def test_a_paused_modem_gets_nothing_until_it_is_resumed(net: Network) -> None:
    async with Fleet(net, 2) as fleet:
        await fleet.pool.change(fleet.alter(0, paused=True), fleet.settings)
        assert {(await fleet.pool.send(job())).modem for _ in range(4)} == {"m1"}

        await fleet.pool.change(fleet.alter(0, paused=False), fleet.settings)
        await fleet.ready()
        assert {(await fleet.pool.send(job())).modem for _ in range(4)} == {"m0", "m1"}


async def test_a_modem_can_be_added(net: Network) -> None:
    async with Fleet(net) as fleet:
        await fleet.add()
        await fleet.pool.change(fleet.modems, fleet.settings)
        await fleet.ready()

        assert {(await fleet.pool.send(job())).modem for _ in range(4)} == {"m0", "m1"}


async def test_a_removed_modem_ends_its_text_first(net: Network) -> None:
    net.latency = 1
    async with Fleet(net, 2) as fleet:
        long = asyncio.create_task(fleet.pool.send(job(LONG, modem="m0")))
        await until(lambda: fleet.emulated[0].asked_for("+CMGS="))
        waits = asyncio.create_task(fleet.pool.send(job("waits", modem="m0")))
        await until(lambda: fleet.pool.waiting)

        change = asyncio.create_task(fleet.pool.change(fleet.modems[1:], fleet.settings))
        with pytest.raises(Unavailable, match="unknown modem"):
            await waits
        assert not long.done()

        await change
        assert (await long).modem == "m0"
        await until(lambda: not fleet.emulated[0].connected)
        assert (await fleet.pool.send(job())).modem == "m1"
        with pytest.raises(UnknownModem):
            fleet.pool.modem("m0")


async def test_other_rules_keep_the_line(net: Network) -> None:
    async with Fleet(net, 2) as fleet:
        await fleet.pool.change(fleet.alter(0, prefixes=("+62",), groups=("shop",)), fleet.settings)

        assert {(await fleet.pool.send(job(group="shop"))).modem for _ in range(3)} == {"m0"}
        assert {(await fleet.pool.send(job())).modem for _ in range(3)} == {"m1"}
        assert [each.asked_for("+CGMI") for each in fleet.emulated] == [1, 1]


async def test_other_time_limits_start_every_modem_anew(net: Network) -> None:
    async with Fleet(net, 2) as fleet:
        settings = replace(fleet.settings, timeouts=replace(fleet.settings.timeouts, basic=11))
        await fleet.pool.change(fleet.modems, settings)
        await fleet.ready()

        assert [each.asked_for("+CGMI") for each in fleet.emulated] == [2, 2]
        assert [shot.name for shot in await fleet.pool.snapshots()] == ["m0", "m1"]
        await fleet.pool.send(job())


async def test_a_modem_that_starts_anew_keeps_its_place_in_the_list(net: Network) -> None:
    async with Fleet(net, 2) as fleet:
        await fleet.pool.change(fleet.alter(0, baud=9600), fleet.settings)

        assert [shot.name for shot in await fleet.pool.snapshots()] == ["m0", "m1"]


async def test_a_larger_quota_counts_at_once(net: Network) -> None:
    async with Fleet(net, of=[{"quotas": (Quota(1, "month"),)}]) as fleet:
        await fleet.pool.send(job())
        with pytest.raises(Unavailable, match="quota"):
            await fleet.pool.send(job())

        await fleet.pool.change(fleet.alter(0, quotas=(Quota(2, "month"),)), fleet.settings)

        await fleet.pool.send(job())


async def test_a_pause_ends_the_hope_of_those_that_wait(net: Network) -> None:
    async with Fleet(net, 2, of=[{"quotas": (Quota(1, "month"),)}], patience=500) as fleet:
        await fleet.emulated[1].unplug()
        await until(lambda: State.ABSENT in fleet.states("m1"))
        await fleet.pool.send(job())
        waits = asyncio.create_task(fleet.pool.send(job()))
        await until(lambda: fleet.pool.waiting)

        fleet.pool.modem("m1").pause()

        with pytest.raises(Unavailable, match="quota"):
            await waits


async def test_a_sim_that_was_moved_keeps_its_count(net: Network) -> None:
    quotas = {"quotas": (Quota(2, "month"),)}
    async with Fleet(net, 2, of=[quotas, quotas]) as fleet:
        moved, other = fleet.emulated
        for _ in range(2):
            await fleet.pool.send(job(modem="m0"))
        await moved.unplug()
        await other.unplug()
        await until(lambda: State.ABSENT in fleet.states("m0") and State.ABSENT in fleet.states("m1"))
        moved.sim.iccid, other.sim.iccid = other.sim.iccid, moved.sim.iccid
        await moved.plug()
        await other.plug()
        await fleet.ready()

        with pytest.raises(Unavailable, match="quota"):
            await fleet.pool.send(job(modem="m1"))
        assert (await fleet.pool.send(job(sim=moved.sim.iccid))).modem == "m0"


async def test_another_port_starts_the_modem_anew(net: Network) -> None:
    async with Fleet(net) as fleet:
        other = await fleet.add()
        waits = asyncio.create_task(fleet.pool.send(job("first")))
        path = fleet.modems.pop().path

        await fleet.pool.change(fleet.alter(0, path=path), fleet.settings)
        await waits
        await fleet.pool.send(job("second", modem="m0"))

        assert net.sent[-1].modem == other.number


async def test_a_pool_that_closes_waits_for_no_gap(net: Network) -> None:
    async with Fleet(net, of=[{"gap": 3000}]) as fleet:
        sends = asyncio.create_task(fleet.pool.send(job(LONG, deadline=time.monotonic() + 3000)))
        await until(lambda: net.parts)

    with pytest.raises(Unavailable, match="stopping"):
        await sends


async def test_a_closed_pool_leaves_nothing_behind(net: Network) -> None:
    before = asyncio.all_tasks()
    fleet = Fleet(net, 2, report_wait=500)
    async with fleet:
        await fleet.pool.send(job(LONG))
        fleet.emulated[0].fail_next("hang")
        fleet.emulated[1].fail_next("hang")
        ends = [asyncio.create_task(fleet.pool.send(job(str(n)))) for n in range(3)]
        await until(lambda: fleet.pool.waiting == 1)

    # Cut off behind Ctrl-Z, nobody knows: that must not be told as sent.
    kinds = [type(end).__name__ for end in await asyncio.gather(*ends, return_exceptions=True)]
    assert kinds == ["Uncertain", "Uncertain", "Unavailable"]
    await until(lambda: asyncio.all_tasks() <= before)
