"""Modems that refuse, or answer oddly, what others answer when they start."""

from __future__ import annotations

import pytest

from otpsvc.gsm.emulator import EmulatedModem, Network
from otpsvc.gsm.ledger import MemoryLedger
from otpsvc.gsm.types import State
from tests.gsm.test_modem_rig import PlugIn, limits, running, until_asked
from tests.waiting import until

NAMES = frozenset({"+CCID", "+QCCID", "^ICCID"})
STARTED = [State.OPENING, State.PROBING, State.READY]


@pytest.mark.parametrize("refusal", ["ERROR", "CME 4", "CMS 303", "CME 100", "ok"])
async def test_an_smsc_that_is_not_told_is_the_modems_own(
    plug_in: PlugIn, net: Network, refusal: str
) -> None:
    modem = await plug_in(answers={"+CSCA?": refusal})
    async with running(modem) as rig:
        await rig.until(State.READY)
        await rig.send("Hello")

        assert rig.modem.facts.smsc == ""
        assert (await net.transmitted(1))[0].submit.smsc == ""


async def test_a_sim_that_is_busy_to_the_end_is_no_sim(plug_in: PlugIn) -> None:
    modem = await plug_in(answers={"+CSCA?": "CMS 314"})
    async with running(modem) as rig:
        await until_asked(modem, "+CSCA?", 1)
        rig.clock.ahead += 61

        await rig.until(State.NO_SIM)
        assert "SMSC cannot be read" in rig.modem.reason


@pytest.mark.parametrize("said", ["+CPIN: NOT READY", "+CPIN: SIM BUSY", "ERROR", "CME 14", "CMS 314", "ok"])
async def test_a_sim_that_is_not_ready_yet_is_waited_for(plug_in: PlugIn, said: str) -> None:
    modem = await plug_in(answers={"+CPIN?": said})
    async with running(modem) as rig:
        await until_asked(modem, "+CPIN?", 2)
        del modem.quirks.answers["+CPIN?"]
        await rig.until(State.READY)

        assert rig.states == STARTED


@pytest.mark.parametrize("said", ["ERROR", "CME 14"])
async def test_an_imsi_that_cannot_be_read_yet_is_waited_for(plug_in: PlugIn, said: str) -> None:
    modem = await plug_in(answers={"+CIMI": said})
    async with running(modem) as rig:
        await until_asked(modem, "+CIMI", 2)
        del modem.quirks.answers["+CIMI"]
        await rig.until(State.READY)

        assert rig.modem.facts.imsi == modem.sim.imsi
        assert rig.states == STARTED


@pytest.mark.parametrize("said", ["+CPIN: NOT READY", "ERROR"])
async def test_a_sim_that_never_becomes_ready_is_told(plug_in: PlugIn, said: str) -> None:
    modem = await plug_in(answers={"+CPIN?": said})
    async with running(modem) as rig:
        await until_asked(modem, "+CPIN?", 1)
        rig.clock.ahead += 61

        await rig.until(State.NO_SIM)
        assert rig.modem.reason in {"the SIM does not become ready", "no SIM answers"}


async def test_a_missing_sim_told_in_the_answer_is_no_lock(plug_in: PlugIn) -> None:
    modem = await plug_in(answers={"+CPIN?": "+CPIN: NOT INSERTED"})
    async with running(modem) as rig:
        await rig.until(State.NO_SIM)

        assert rig.modem.reason == "no SIM"


async def test_a_pin_that_is_asked_for_by_an_error_is_given_once(plug_in: PlugIn) -> None:
    modem = await plug_in(pin="1234", answers={"+CPIN?": "CME 11"})
    ledger = MemoryLedger()
    async with running(modem, ledger=ledger, pin="1234") as rig:
        await until_asked(modem, "+CPIN=", 1)
        del modem.quirks.answers["+CPIN?"]
        # It may have been asked once more before.
        rig.clock.ahead += 11

        await rig.until(State.READY)
    assert modem.asked_for("+CPIN=") == 1


@pytest.mark.parametrize("refusal", ["CME 4", "CME 100"])
async def test_without_an_imsi_the_iccid_is_the_sim(plug_in: PlugIn, net: Network, refusal: str) -> None:
    modem = await plug_in(answers={"+CIMI": refusal})
    async with running(modem) as rig:
        await rig.until(State.READY)
        await rig.send("Hello")

        assert rig.modem.facts.sim == modem.sim.iccid
        assert (await net.arrived(1))[0].text == "Hello"


async def test_without_imsi_and_iccid_the_modem_is_the_sim(plug_in: PlugIn, net: Network) -> None:
    modem = await plug_in(unsupported=NAMES, answers={"+CIMI": "CME 4"})
    async with running(modem) as rig:
        await rig.until(State.READY)
        assert rig.modem.facts.sim == f"imei:{modem.imei}"

        net.call(modem.number, "Hello", "+62899")
        await until(lambda: rig.texts)
        assert rig.texts[0].sim == f"imei:{modem.imei}"


async def test_a_bare_error_for_the_imsi_ends_with_its_time(plug_in: PlugIn) -> None:
    modem = await plug_in(answers={"+CIMI": "ERROR"})
    async with running(modem, timeouts=limits(sim=1)) as rig:
        await rig.until(State.READY)

        assert rig.modem.facts.sim == modem.sim.iccid


async def test_a_sim_without_any_name_counts_for_nobody(plug_in: PlugIn) -> None:
    modem = await plug_in(unsupported=NAMES | {"+CGSN"}, answers={"+CIMI": "CME 4"})
    async with running(modem) as rig:
        await rig.until(State.NO_SIM)

        assert rig.modem.reason == "neither ICCID nor IMSI nor IMEI are told"


async def test_a_sim_that_fails_is_no_sim(plug_in: PlugIn) -> None:
    modem = await plug_in(answers={"+CIMI": "CME 13"})
    async with running(modem) as rig:
        await rig.until(State.NO_SIM)

        assert "the SIM cannot be read" in rig.modem.reason


async def test_a_modem_without_pdu_mode_is_told_and_never_used(plug_in: PlugIn) -> None:
    modem = await plug_in(answers={"+CMGF=": "CMS 303", "+CMGF?": "+CMGF: 1"})
    async with running(modem) as rig:
        await rig.until(State.SUSPENDED)
        assert "takes no PDU mode" in rig.modem.reason
        rig.clock.ahead += 61
        await until_asked(modem, "+CMGF=", 2)

        assert set(rig.states) <= {State.OPENING, State.PROBING, State.SUSPENDED}
    assert not modem.asked_for("+CMGS=")


async def test_a_modem_that_knows_no_other_mode_may_refuse_to_set_it(modem: EmulatedModem) -> None:
    modem.quirks.answers["+CMGF="] = "ERROR"
    async with running(modem) as rig:
        await rig.until(State.READY)
