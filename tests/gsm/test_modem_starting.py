"""From a port to a modem that can send: what it must have, and what it gets along without."""

from __future__ import annotations

import pytest

from otpsvc.gsm.emulator import EmulatedModem, Network
from otpsvc.gsm.starting import wishes
from otpsvc.gsm.types import State
from tests.gsm.test_modem_rig import PlugIn, limits, running, until_asked
from tests.waiting import until


async def test_waits_for_a_sim_that_is_put_in_later(modem: EmulatedModem) -> None:
    modem.sim.present = False
    async with running(modem) as rig:
        await rig.until(State.NO_SIM)
        assert rig.modem.reason == "no SIM"
        modem.sim.present = True
        modem.restart_radio()
        rig.clock.ahead += 11

        await rig.until(State.READY)
        # It looked again without a word, until it had something to tell.
        assert rig.states == [State.OPENING, State.PROBING, State.NO_SIM, State.READY]


async def test_waits_for_a_sim_that_is_busy(plug_in: PlugIn) -> None:
    modem = await plug_in(pin="1234", sim_busy=1.5)
    async with running(modem, pin="1234") as rig:
        await rig.until(State.READY)

        assert rig.modem.facts.imsi == modem.sim.imsi
        assert rig.modem.facts.smsc == modem.sim.smsc
        assert State.NO_SIM not in rig.states


async def test_waits_for_a_sim_that_says_ready_and_cannot_be_read_yet(modem: EmulatedModem) -> None:
    modem.quirks.answers.update({"+CIMI": "CME 14", "+CSCA?": "CMS 314"})
    async with running(modem) as rig:
        for command in ("+CIMI", "+CSCA?"):
            await until_asked(modem, command, 2)
            del modem.quirks.answers[command]
        await rig.until(State.READY)

        assert rig.states == [State.OPENING, State.PROBING, State.READY]


async def test_waits_for_the_network(plug_in: PlugIn) -> None:
    modem = await plug_in(registration=3600)
    async with running(modem, ping=30) as rig:
        await rig.until(State.REGISTERING)
        assert rig.modem.reason == "it searches for a network"
        modem.register(1)

        await rig.until(State.READY)


async def test_finds_the_network_without_a_word_of_the_modem(plug_in: PlugIn) -> None:
    modem = await plug_in(registration=3600)
    async with running(modem) as rig:
        await rig.until(State.REGISTERING)
        modem.stat = 1

        await rig.until(State.READY)


async def test_tells_that_the_network_denies_it(plug_in: PlugIn) -> None:
    modem = await plug_in(stat=3)
    async with running(modem) as rig:
        await rig.until(State.REGISTERING)

        assert rig.modem.reason == "the network denies it"


async def test_the_loss_of_the_network_is_seen_by_word_and_by_look(modem: EmulatedModem) -> None:
    async with running(modem, ping=0.1) as rig:
        for by_word in (True, False):
            await rig.until(State.READY)
            if by_word:
                modem.register(2)
            else:
                modem.stat = 2
            await rig.until(State.REGISTERING)
            modem.stat = 1


async def test_what_lte_told_before_hides_no_loss_from_the_look(modem: EmulatedModem) -> None:
    async with running(modem, ping=0.1) as rig:
        await rig.until(State.READY)
        modem.say("+CEREG: 1")
        modem.stat = 2

        await rig.until(State.REGISTERING)


async def test_a_word_of_the_network_counts_at_once(modem: EmulatedModem) -> None:
    async with running(modem, ping=3600) as rig:
        await rig.until(State.READY)
        modem.say("+CREG: 2")
        # It may ask for itself at once, and hear that it is registered.
        await until(lambda: State.REGISTERING in rig.states)
        modem.say("+CREG: 1")

        await rig.until(State.READY)


async def test_roaming_is_told(plug_in: PlugIn) -> None:
    modem = await plug_in(stat=5)
    async with running(modem) as rig:
        await rig.until(State.READY)

        await until(lambda: rig.modem.facts.roaming)


async def test_lte_registration_alone_is_enough(plug_in: PlugIn) -> None:
    modem = await plug_in(unsupported=frozenset({"+CREG"}))
    async with running(modem) as rig:
        await rig.until(State.READY)


async def test_the_imei_that_is_set_must_be_there(modem: EmulatedModem) -> None:
    async with running(modem, imei="490154203237518") as rig:
        await until(lambda: "another modem" in rig.modem.reason)

        assert rig.modem.state is State.ABSENT
        assert modem.imei not in rig.modem.reason
        assert modem.asked_for("+CPIN?") == 0
        # The port is somebody else's.
        await until(lambda: not modem.connected)


async def test_the_check_digit_of_the_imei_may_be_missing(modem: EmulatedModem) -> None:
    async with running(modem, imei=modem.imei[:14]) as rig:
        await rig.until(State.READY)


async def test_an_imei_that_is_not_told_is_another_one(plug_in: PlugIn) -> None:
    modem = await plug_in(unsupported=frozenset({"+CGSN"}))
    async with running(modem, imei=modem.imei) as rig:
        await until(lambda: "does not tell its IMEI" in rig.modem.reason)

        assert rig.modem.state is State.ABSENT


async def test_gets_along_without_what_it_need_not_have(plug_in: PlugIn, net: Network) -> None:
    modem = await plug_in(
        unsupported=frozenset(
            {"+CGMI", "+CGMM", "+CGMR", "+CGSN", "+CCID", "+QCCID", "^ICCID", "+CNUM", "+CSCS", "+CSMS"}
            | {"+CNMI", "+CEREG", "+COPS", "+CSQ", "+CPMS", "+CMEE"}
        )
    )
    # Without +CMEE it is in step when this time is over.
    async with running(modem, timeouts=limits(basic=2)) as rig:
        await rig.until(State.READY)
        await rig.send("Hello")

        assert rig.modem.facts.sim == modem.sim.imsi
        assert (await net.arrived(1))[0].text == "Hello"


@pytest.mark.parametrize("ds", [(0, 1), (0, 2), (0, 1, 2)])
async def test_reports_come_the_way_that_is_offered(plug_in: PlugIn, ds: tuple[int, ...]) -> None:
    modem = await plug_in(ds=ds)
    async with running(modem) as rig:
        await rig.until(State.READY)

        assert modem.settings.cnmi[:4] == (2, 1, 0, 1 if 1 in ds else 2)


async def test_reports_that_nobody_wants_are_not_asked_for(modem: EmulatedModem) -> None:
    async with running(modem, reports=False) as rig:
        await rig.until(State.READY)

        assert modem.settings.cnmi[:4] == (2, 1, 0, 0)


@pytest.mark.parametrize(("slots", "memory"), [({"SM": 20, "ME": 50}, "ME"), ({"SM": 60, "ME": 50}, "SM")])
async def test_texts_are_put_where_there_is_most_room(
    plug_in: PlugIn, slots: dict[str, int], memory: str
) -> None:
    modem = await plug_in(slots={**slots, "SR": 5})
    async with running(modem) as rig:
        await rig.until(State.READY)

        assert modem.settings.memories[1:] == [memory, memory]


async def test_a_sim_without_an_smsc_is_told_and_waited_for(modem: EmulatedModem) -> None:
    modem.sim.smsc = ""
    async with running(modem) as rig:
        await rig.until(State.SUSPENDED)
        assert "set smsc" in rig.modem.reason
        modem.sim.smsc = "+62811000000"
        rig.clock.ahead += 11

        await rig.until(State.READY)


async def test_the_smsc_that_is_set_goes_into_the_pdu(modem: EmulatedModem, net: Network) -> None:
    modem.sim.smsc = ""
    async with running(modem, smsc="+62899") as rig:
        await rig.until(State.READY)
        await rig.send()

        assert (await net.transmitted(1))[0].submit.smsc == "+62899"
        assert modem.sim.smsc == ""


async def test_a_refused_keep_link_is_ignored(plug_in: PlugIn, net: Network) -> None:
    modem = await plug_in(answers={"+CMMS=": "CMS 500"})
    async with running(modem, keep_link=True, init=("AT+NONSENSE=1", "AT+CLIP=1")) as rig:
        await rig.until(State.READY)
        await rig.send()

        assert modem.asked_for("+CMMS=") == 1
        assert modem.asked_for("+CLIP=") == 1


async def test_chatter_disturbs_nothing(plug_in: PlugIn, net: Network) -> None:
    modem = await plug_in(noise=0.4, seed=3)
    async with running(modem) as rig:
        await rig.until(State.READY)
        for number in range(10):
            await rig.send(f"Hello {number}")

        assert [each.text for each in await net.arrived(10)] == [f"Hello {number}" for number in range(10)]


def test_what_to_tell_unasked_follows_what_is_offered() -> None:
    assert wishes("(0-2),(0,1),(0),(0-2),(0,1)", reports=True)[0] == (2, 1, 0, 1, 0)
    assert wishes("(0-2),(0,1),(0),(0,2),(1)", reports=True)[0] == (2, 1, 0, 2, 1)
    assert wishes("(1),(0,1),(0),(0),(1)", reports=True)[0] == (1, 1, 0, 0, 1)
    assert wishes("", reports=True)[0] == (2, 1, 0, 1, 0)
    assert wishes("(0-2),(0,1),(0),(0-2),(0,1)", reports=False)[0] == (2, 1, 0, 0, 0)
