"""USSD codes over a modem: every dialect, sessions, silence, one at a time."""

from __future__ import annotations

import asyncio

import pytest

from otpsvc.errors import CommandFailed, LineLost, NoAnswer, NotReady
from otpsvc.gsm.cause import Cause
from otpsvc.gsm.emulator import EmulatedModem, Menu, Network
from otpsvc.gsm.types import State
from tests.gsm.test_modem_rig import PlugIn, limits, running, short, until_asked
from tests.waiting import PATIENCE, until

BALANCE = "Saldo Anda Rp 5000, berlaku s/d 12.12.2026"
ANSWER = '+CUSD: 0,"Balance: 10000",15'
CHOICE = "1. Internet\n2. Pulsa\n3. Keluar\nBalas:"


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("dialect", ["text", "packed", "ucs2", "octets"])
async def test_a_code_is_answered(plug_in: PlugIn, dialect: str, early: bool) -> None:
    modem = await plug_in(dialect=dialect, ussd_early=early, ussd_dcs=0, ussd={"*123#": BALANCE})
    async with running(modem) as rig:
        await rig.until(State.READY)
        answer = await rig.modem.ussd("*123#")

        assert (answer.status, answer.text, answer.more) == (0, BALANCE, False)
        assert rig.states[3:] == [State.SENDING, State.READY]


async def test_an_answer_of_several_lines(plug_in: PlugIn) -> None:
    modem = await plug_in(ussd={"*123#": CHOICE})
    async with running(modem) as rig:
        await rig.until(State.READY)

        assert (await rig.modem.ussd("*123#")).text == CHOICE


async def test_a_huawei_gets_packed_codes(plug_in: PlugIn) -> None:
    modem = await plug_in(manufacturer="huawei", ussd={"AA180C3602": "packed", "*100#": "as text"})
    async with running(modem) as rig:
        await rig.until(State.READY)

        assert (await rig.modem.ussd("*100#")).text == "packed"


async def test_a_session_with_a_reply(plug_in: PlugIn) -> None:
    menu = Menu("1 Balance\n2 Data", {"1": "Balance 5000", "2": "None left"})
    modem = await plug_in(ussd={"*123#": menu})
    async with running(modem) as rig:
        await rig.until(State.READY)
        first = await rig.modem.ussd("*123#")
        assert first.more
        second = await rig.modem.ussd("1", reply=True)

        assert (second.text, second.more) == ("Balance 5000", False)
        await rig.modem.ussd("*123#")
        await rig.modem.cancel_ussd()
        assert (await rig.modem.ussd("1", reply=True)).status == 4


async def test_a_network_that_does_not_know_the_code(modem: EmulatedModem) -> None:
    async with running(modem) as rig:
        await rig.until(State.READY)

        assert (await rig.modem.ussd("*999#")).status == 4


async def test_the_end_of_an_older_session_is_not_the_answer(plug_in: PlugIn) -> None:
    modem = await plug_in(ussd_delay=3600.0)
    async with running(modem) as rig:
        await rig.until(State.READY)
        asking = asyncio.create_task(rig.modem.ussd("*123#"))
        await until(lambda: modem.asked_for("+CUSD="))
        modem.say('+CUSD: 2,"",15')
        modem.say(ANSWER)

        assert (await asking).text == "Balance: 10000"


async def test_silence_ends_with_a_cancel(plug_in: PlugIn) -> None:
    modem = await plug_in(ussd_silent=True)
    async with running(modem, timeouts=short("ussd")) as rig:
        await rig.until(State.READY)
        with pytest.raises(NoAnswer):
            await rig.modem.ussd("*123#")

        assert modem.asked_for("+CUSD=") == 2
        modem.quirks.ussd_silent = False
        assert (await rig.modem.ussd("*123#")).text == "Balance: 10000"


async def test_a_question_that_was_given_up_is_cancelled(plug_in: PlugIn) -> None:
    modem = await plug_in(ussd_delay=30.0)
    async with running(modem) as rig:
        await rig.until(State.READY)
        asking = asyncio.create_task(rig.modem.ussd("*123#"))
        await until(lambda: modem.asked_for("+CUSD="))
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

        await until(lambda: modem.asked_for("+CUSD=") == 2)
        await rig.until(State.READY)


async def test_one_at_a_time(plug_in: PlugIn) -> None:
    modem = await plug_in(ussd_delay=0.2)
    async with running(modem) as rig:
        await rig.until(State.READY)
        answers = await asyncio.gather(*(rig.modem.ussd("*123#") for _ in range(3)))

        assert [answer.text for answer in answers] == ["Balance: 10000"] * 3


async def test_none_during_a_text_and_no_text_during_one(net: Network, plug_in: PlugIn) -> None:
    modem = await plug_in(ussd_delay=3600.0)
    net.latency = 0.2
    async with running(modem) as rig:
        await rig.until(State.READY)
        rig.modem.hold()
        asking = asyncio.create_task(rig.modem.ussd("*123#"))
        await rig.send("word " * 60)
        assert modem.asked_for("+CUSD=") == 0
        rig.modem.release()
        await until(lambda: modem.asked_for("+CUSD="))
        assert not rig.modem.ready
        with pytest.raises(NotReady):
            await rig.send()
        modem.say(ANSWER)

        assert (await asking).text == "Balance: 10000"


async def test_a_suspended_modem_may_still_ask_for_its_balance(modem: EmulatedModem) -> None:
    async with running(modem) as rig:
        await rig.until(State.READY)
        for _ in range(3):
            rig.modem.strike(Cause.SIM)

        assert (await rig.modem.ussd("*123#")).text == "Balance: 10000"
        assert rig.modem.state is State.SUSPENDED


async def test_what_the_network_refuses_is_asked_once(modem: EmulatedModem) -> None:
    async with running(modem) as rig:
        await rig.until(State.READY)
        modem.quirks.answers["+CUSD="] = "CME 30"
        with pytest.raises(CommandFailed):
            await rig.modem.ussd("*123#")
        assert modem.asked_for("+CUSD=") == 1
        modem.quirks.answers["+CUSD="] = "ERROR"
        with pytest.raises(CommandFailed):
            await rig.modem.ussd("*123#")

        # The cancel of the first one, and each dialect once.
        assert modem.asked_for("+CUSD=") == 1 + 1 + 3


async def test_a_modem_that_is_not_ready_asks_nothing(plug_in: PlugIn) -> None:
    modem = await plug_in(stat=2)
    async with running(modem) as rig:
        await rig.until(State.REGISTERING)
        with pytest.raises(NotReady):
            await rig.modem.ussd("*123#")
        with pytest.raises(ValueError, match="Not a USSD code"):
            await rig.modem.ussd('*123#",15;+CMGD=1,4')


async def test_a_plug_pulled_during_a_question(plug_in: PlugIn) -> None:
    modem = await plug_in(ussd_delay=3600.0)
    async with running(modem, timeouts=limits(ussd=3600.0)) as rig:
        await rig.until(State.READY)
        asking = asyncio.create_task(rig.modem.ussd("*123#"))
        await until_asked(modem, "+CUSD=", 1)
        # By now its command has been answered, or the loss ends that: both must tell it.
        await asyncio.sleep(0.1)
        await modem.unplug()

        with pytest.raises(LineLost):
            await asyncio.wait_for(asking, PATIENCE)
