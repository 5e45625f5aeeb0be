"""The pool on emulated modems, over real ports."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter

import pytest
from msgspec.structs import replace

from otpsvc.errors import Refused, Unavailable, Uncertain
from otpsvc.gsm.emulator import Network
from otpsvc.gsm.types import Delivered, Quota, State
from tests.gsm.fleet import QUICK, TIMEOUTS, Fleet, job
from tests.waiting import stays, until

LONG = "Grüße aus Köln, €5. " * 20
OTHER = "+6289999999999"


@pytest.fixture
def net() -> Network:
    return Network(latency=0.005)


async def test_a_text_arrives(net: Network) -> None:
    async with Fleet(net) as fleet:
        sent = await fleet.pool.send(job(deadline=time.monotonic() + 290))

        (arrived,) = net.sent
        assert (arrived.to, arrived.text) == ("+6281234567890", "Your code is 123456")
        assert arrived.validity == 300
        assert (sent.modem, sent.sim, sent.parts) == ("m0", fleet.emulated[0].sim.iccid, 1)


async def test_modems_share_the_work(net: Network) -> None:
    async with Fleet(net, 4) as fleet:
        sent = await asyncio.gather(*(fleet.pool.send(job(str(n))) for n in range(40)))

        assert sorted(fleet.texts) == sorted(str(n) for n in range(40))
        assert set(Counter(each.modem for each in sent)) == {"m0", "m1", "m2", "m3"}


async def test_a_long_text_arrives_whole_between_others_and_noise(net: Network) -> None:
    async with Fleet(net, 2, quirks={"noise": 0.3}) as fleet:
        texts = [f"{n} {LONG}" for n in range(6)]
        await asyncio.gather(*(fleet.pool.send(job(text)) for text in texts))

        assert sorted(fleet.texts) == sorted(texts)
        assert {arrived.parts for arrived in net.sent} == {3}


@pytest.mark.parametrize(
    "fault",
    [
        "CMS 42",
        "CME 30",
        "ERROR",
        "CMS 500 at command",
        "no-prompt",
        "unplug at command",
        "reboot at command",
    ],
)
async def test_a_definite_failure_is_sent_by_another_modem(net: Network, fault: str) -> None:
    async with Fleet(net, 2, timeouts=QUICK if fault == "no-prompt" else TIMEOUTS) as fleet:
        fleet.emulated[0].fail_next(fault)

        sent = await fleet.pool.send(job())

        assert (sent.modem, sent.uncertain) == ("m1", False)
        assert fleet.texts == ["Your code is 123456"]
        assert fleet.pool.doubts == 0
        assert (await fleet.used(0), await fleet.used(1)) == (0, 1)


@pytest.mark.parametrize("fault", ["silent", "hang", "reboot", "unplug"])
async def test_a_text_that_may_have_left_is_sent_once_more(net: Network, fault: str) -> None:
    limits = replace(QUICK, prompt=60) if fault in {"silent", "hang"} else TIMEOUTS
    async with Fleet(net, 2, timeouts=limits, report_wait=0.5) as fleet:
        fleet.emulated[0].fail_next(fault)

        sent = await fleet.pool.send(job())

        assert (sent.modem, sent.uncertain, fleet.pool.doubts) == ("m1", True, 1)
        assert fleet.texts == ["Your code is 123456"]
        # Nobody knows, so it stays counted.
        assert await fleet.used(0) == 1


async def test_a_report_proves_that_it_left(net: Network) -> None:
    async with Fleet(net, 2, timeouts=replace(TIMEOUTS, result=2), report_wait=100) as fleet:
        fleet.emulated[0].quirks.report_delay = 0.1
        fleet.emulated[0].fail_next("silent sent")

        sent = await fleet.pool.send(job())

        assert (sent.modem, sent.uncertain, fleet.pool.doubts) == ("m0", False, 1)
        assert len(fleet.texts) == 1
        await until(lambda: fleet.delivered)
        assert fleet.delivered == [Delivered("job", ok=True)]


async def test_a_late_result_proves_that_it_left(net: Network) -> None:
    net.reports = "none"
    async with Fleet(net, 2, timeouts=replace(TIMEOUTS, result=2), report_wait=100) as fleet:
        fleet.emulated[0].fail_next("late 3")

        sent = await fleet.pool.send(job())

        assert (sent.modem, sent.uncertain, fleet.pool.doubts) == ("m0", False, 1)
        assert len(fleet.texts) == 1


async def test_never_resend_leaves_it_to_the_caller(net: Network) -> None:
    async with Fleet(net, 2, timeouts=QUICK, policy="never_resend") as fleet:
        fleet.emulated[0].fail_next("silent sent")

        with pytest.raises(Uncertain):
            await fleet.pool.send(job())

        assert len(fleet.texts) == 1


async def test_a_modem_that_hangs_disturbs_nobody(net: Network) -> None:
    async with Fleet(net, 3, policy="never_resend") as fleet:
        fleet.emulated[0].fail_next("hang")
        stuck = asyncio.create_task(fleet.pool.send(job("stuck")))
        await until(lambda: fleet.emulated[0].hung)

        sent = await asyncio.gather(*(fleet.pool.send(job(str(n))) for n in range(20)))

        assert not stuck.done()
        assert {each.modem for each in sent} == {"m1", "m2"}
        await fleet.emulated[0].unplug()
        with pytest.raises(Uncertain):
            await stuck


async def test_the_last_part_alone_makes_a_text_doubtful(net: Network) -> None:
    async with Fleet(net, 2, timeouts=replace(TIMEOUTS, result=2), policy="never_resend") as fleet:
        fleet.emulated[0].fail_next("ok", "silent sent")

        sent = await fleet.pool.send(job(LONG))

        assert (sent.modem, sent.uncertain) == ("m1", False)
        assert fleet.texts == [LONG]


@pytest.mark.parametrize("report", ["once", "early", "double"])
async def test_a_delivery_is_told_once(net: Network, report: str) -> None:
    async with Fleet(net, quirks={"report": report}) as fleet:
        await fleet.pool.send(job(LONG, id="long"))
        await fleet.pool.send(job(id="short", to=OTHER))

        await until(lambda: len(fleet.delivered) == 2)
        wanted = {Delivered("long", ok=True), Delivered("short", ok=True)}
        assert set(fleet.delivered) == wanted
        await stays(lambda: len(fleet.delivered) == 2)


async def test_a_delivery_that_fails_is_told(net: Network) -> None:
    net.status[OTHER] = (0x30, 0x46)
    async with Fleet(net) as fleet:
        await fleet.pool.send(job(to=OTHER))

        await until(lambda: fleet.delivered)
        assert fleet.delivered == [Delivered("job", ok=False, status=0x46)]


async def test_a_report_of_nothing_is_counted(net: Network) -> None:
    async with Fleet(net, quirks={"report": "unknown"}) as fleet:
        await fleet.pool.send(job())

        await until(lambda: fleet.pool.reports.unknown == 1)
        assert not fleet.delivered


@pytest.mark.parametrize(
    "number",
    [
        '+62812"\rAT+CMGD=1,4\r',
        "+62812\x1a",
        "+62812\r",
        "+62812\n",
        "+62812;",
        "+62812,145",
        "",
        "+",
        "12",
        "+" + "1" * 21,
        "08*#",
        "+6281²3456",
        "+٦٢٨١٢٣٤٥",
    ],
)
async def test_what_is_no_number_never_reaches_a_port(net: Network, number: str) -> None:
    async with Fleet(net) as fleet:
        fleet.written.clear()

        with pytest.raises(Refused) as refused:
            await fleet.pool.send(job(to=number))

        assert b"CMGS" not in fleet.written
        assert not number or number not in str(refused.value)
        assert await fleet.used(0) == 0


@pytest.mark.parametrize("text", ["", "\ud800", "x" * 153 * 256])
async def test_what_is_no_text_never_reaches_a_port(net: Network, text: str) -> None:
    async with Fleet(net) as fleet:
        fleet.written.clear()

        with pytest.raises(Refused):
            await fleet.pool.send(job(text))

        assert b"CMGS" not in fleet.written


async def test_a_text_full_of_commands_is_a_text(net: Network) -> None:
    text = '\x1a\r\nAT+CMGD=1,4\r\x1b+CMS ERROR: 1\r\n"OK"\r\n> \x1a\x00'
    async with Fleet(net) as fleet:
        fleet.written.clear()
        await fleet.pool.send(job(text))

        assert fleet.texts == [text]
        # Once in each PDU, at its end.
        assert fleet.written.count(b"\x1a") == fleet.written.count(b"AT+CMGS=") == 1
        assert b"CMGD=1,4" not in fleet.written
        # The modem's own care may name a memory meanwhile.
        assert b'"' not in re.sub(rb"AT\+CPMS=[^\r]*\r", b"", bytes(fleet.written))
        assert b"\x00" not in fleet.written


async def test_a_job_for_a_modem_that_is_none_is_refused(net: Network) -> None:
    async with Fleet(net, of=[{"groups": ("bank",)}]) as fleet:
        with pytest.raises(Refused, match="unknown modem"):
            await fleet.pool.send(job(modem="m7"))
        with pytest.raises(Refused, match="no modem serves it"):
            await fleet.pool.send(job(group="shop"))
        with pytest.raises(Unavailable, match="deadline"):
            await fleet.pool.send(job(group="bank", deadline=time.monotonic() - 1))


async def test_a_bad_number_is_refused_after_two_modems_said_so(net: Network) -> None:
    net.refused[OTHER] = "CMS 1"
    async with Fleet(net, 3) as fleet:
        with pytest.raises(Refused):
            await fleet.pool.send(job(to=OTHER))

        assert sum(each.asked_for("+CMGS=") for each in fleet.emulated) == 2


async def test_quotas_hold_on_the_whole_way(net: Network) -> None:
    async with Fleet(net, 2, of=[{"quotas": (Quota(3, "month"),)}] * 2) as fleet:
        ends = await asyncio.gather(
            *(fleet.pool.send(job(str(n))) for n in range(10)), return_exceptions=True
        )

        assert sum(isinstance(end, Unavailable) and end.reason == "quota" for end in ends) == 4
        assert len(fleet.texts) == 6
        assert (await fleet.used(0), await fleet.used(1)) == (3, 3)


async def test_a_modem_that_is_pulled_and_plugged_in_again_goes_on(net: Network) -> None:
    async with Fleet(net) as fleet:
        await fleet.pool.send(job("before"))
        await fleet.emulated[0].unplug()
        waits = asyncio.create_task(fleet.pool.send(job("after")))
        await until(lambda: State.ABSENT in fleet.states("m0"))

        await fleet.emulated[0].plug()

        assert (await waits).modem == "m0"
        assert fleet.texts == ["before", "after"]
