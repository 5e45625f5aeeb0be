"""What comes in: read from where it lies, handed on, and deleted only then."""

from __future__ import annotations

import pytest

from otpsvc.errors import StoreUnavailable
from otpsvc.gsm.emulator import EmulatedModem, Network
from otpsvc.gsm.emulator.storage import Stored
from otpsvc.gsm.parts import split
from otpsvc.gsm.pdu import encode_deliver
from otpsvc.gsm.types import State
from tests.gsm.test_modem_rig import PlugIn, Rig, running, until_asked, until_read
from tests.waiting import until


def texts(rig: Rig) -> list[str]:
    return [text.text for text in rig.texts]


async def test_a_text_comes_in_and_leaves_the_sim(net: Network, modem: EmulatedModem) -> None:
    async with running(modem, ping=30) as rig:
        await rig.until(State.READY)
        net.call(modem.number, "Hello", "+62899")
        await until(lambda: rig.texts)
        came = rig.texts[0]

        assert (came.text, came.sender, came.complete) == ("Hello", "+62899", True)
        assert (came.modem, came.sim) == ("north", modem.sim.iccid)
        assert came.at > 1.6e9
        await until(lambda: not len(modem.storage))


async def test_what_lies_there_at_the_start_is_read_from_every_memory(plug_in: PlugIn) -> None:
    modem = await plug_in()
    for memory, text in (("SM", "in the SIM"), ("ME", "in the modem")):
        modem.memories[memory].put(_stored(text))
    modem.memories["SM"].put(Stored(_stored("a draft").pdu, 20, state=2))
    async with running(modem) as rig:
        await until(lambda: len(rig.texts) == 2)

        assert sorted(texts(rig)) == ["in the SIM", "in the modem"]
        await until(lambda: not any(len(memory) for memory in modem.memories.values()))
        assert modem.settings.memories[2] == "ME"


async def test_a_full_store_is_emptied_and_what_waited_comes(net: Network, plug_in: PlugIn) -> None:
    modem = await plug_in(slots={"SM": 3, "SR": 3})
    for number in range(8):
        net.call(modem.number, f"text {number}", "+62899")
    async with running(modem) as rig:
        await until(lambda: len(rig.texts) == 8)

        assert texts(rig) == [f"text {number}" for number in range(8)]


async def test_a_text_stays_until_it_was_taken(net: Network, modem: EmulatedModem) -> None:
    async with running(modem, ping=30) as rig:
        await rig.until(State.READY)
        rig.refusal = StoreUnavailable()
        net.call(modem.number, "Hello", "+62899")
        for offers in (1, 2, 3):
            await rig.offered(offers)
            assert len(modem.storage) == 1
            rig.clock.ahead += 61
        rig.refusal = None
        rig.clock.ahead += 61
        await until(lambda: rig.texts)

        await until(lambda: not len(modem.storage))
        assert texts(rig) == ["Hello"]


async def test_a_text_has_the_same_id_each_time_it_is_read(net: Network, modem: EmulatedModem) -> None:
    ids = []
    async with running(modem) as rig:
        await rig.until(State.READY)
        rig.refusal = StoreUnavailable()
        net.call(modem.number, "x" * 300, "+62899", order=(2, 1))
        await until(lambda: rig.offers)
    # A process that ends before it could delete anything.
    modem.quirks.answers["+CMGD="] = "CMS 500"
    for _ in range(2):
        async with running(modem) as rig:
            await rig.offered(1)
            ids += [text.id for text in rig.texts]

    assert ids == [ids[0]] * 2
    assert len(ids[0]) == 32


async def test_parts_are_joined_in_any_order(net: Network, modem: EmulatedModem) -> None:
    text = "word " * 100
    async with running(modem) as rig:
        await rig.until(State.READY)
        net.call(modem.number, text, "+62899", order=(3, 1, 1, 4, 2), reference=0)
        net.call(modem.number, text, "+62898", order=(4, 3, 2, 1), reference=0, wide=True)
        await until(lambda: len(rig.texts) == 2)

        assert texts(rig) == [text, text]
        assert {came.sender for came in rig.texts} == {"+62899", "+62898"}
        await until(lambda: not len(modem.storage))


async def test_a_part_that_never_comes_is_waited_for_ten_minutes(net: Network, modem: EmulatedModem) -> None:
    async with running(modem) as rig:
        await until_read(modem)
        net.call(modem.number, "a" * 153 + "b" * 153 + "c" * 153, "+62899", missing=(2,))
        await until_asked(modem, "+CMGL=", 4)
        listed = modem.asked_for("+CMGL=")
        rig.clock.ahead += 500
        await until_asked(modem, "+CMGL=", listed + 1)
        assert not rig.texts
        assert len(modem.storage) == 2
        rig.clock.ahead += 150
        await until(lambda: rig.texts)

        assert rig.texts[0].text == "a" * 153 + "[…]" + "c" * 153
        assert not rig.texts[0].complete
        await until(lambda: not len(modem.storage))


async def test_a_sim_full_of_parts_gives_up_the_oldest(net: Network, plug_in: PlugIn) -> None:
    modem = await plug_in(slots={"SM": 3, "SR": 3})
    async with running(modem) as rig:
        await rig.until(State.READY)
        net.call(modem.number, "a" * 500, "+62899", missing=(4,))
        net.call(modem.number, "after it", "+62898")
        await until(lambda: len(rig.texts) == 2)

        assert [came.complete for came in rig.texts] == [False, True]
        assert rig.texts[1].text == "after it"


async def test_no_slot_is_ever_read_by_its_number(net: Network, plug_in: PlugIn) -> None:
    modem = await plug_in(noise=0.3)
    async with running(modem) as rig:
        await rig.until(State.READY)
        net.call(modem.number, "Hello", "+62899")
        await until(lambda: rig.texts)

    assert modem.asked_for("+CMGR=") == 0


async def test_a_flash_text_that_comes_directly(net: Network, modem: EmulatedModem) -> None:
    async with running(modem) as rig:
        await rig.until(State.READY)
        # Some modems ignore what was asked for.
        modem.settings.cnmi = (2, 2, 0, 1, 0)
        net.call(modem.number, "Hello", "Bank")
        await until(lambda: rig.texts)
        assert rig.texts[0].sender == "Bank"
        rig.refusal = StoreUnavailable()
        net.call(modem.number, "later", "Bank")
        await until(lambda: rig.offers > 1)
        rig.refusal = None
        rig.clock.ahead += 61

        await until(lambda: texts(rig) == ["Hello", "later"])


async def test_a_word_that_got_lost_is_made_up_for_by_the_look_each_minute(modem: EmulatedModem) -> None:
    async with running(modem) as rig:
        await rig.until(State.READY)
        await until_read(modem)
        modem.storage.put(_stored("unheard"))
        rig.clock.ahead += 61

        await until(lambda: texts(rig) == ["unheard"])


@pytest.mark.parametrize("ds", [1, 2])
async def test_a_report_arrives(net: Network, plug_in: PlugIn, ds: int) -> None:
    modem = await plug_in(ds=(0, ds))
    async with running(modem) as rig:
        await rig.until(State.READY)
        reference = (await rig.send("Hello", report=True))[0]
        await until(lambda: rig.reports)
        sim, report = rig.reports[0]

        assert sim == modem.sim.iccid
        assert (report.reference, report.recipient, report.delivered) == (reference, "+628123456789", True)
        await until(lambda: not len(modem.memories["SR"]))


@pytest.mark.parametrize("ds", [1, 2])
async def test_a_report_is_offered_again(net: Network, plug_in: PlugIn, ds: int) -> None:
    modem = await plug_in(ds=(0, ds))
    async with running(modem) as rig:
        await rig.until(State.READY)
        rig.refusal = StoreUnavailable()
        for _ in range(3):
            await rig.send("Hello", report=True)
        await until(lambda: rig.offers > 1)
        rig.refusal = None
        rig.clock.ahead += 61

        await until(lambda: len(rig.reports) == 3)
        assert [report.reference for _, report in rig.reports] == [part.reference for part in net.parts]


async def test_reports_come_while_texts_go_out(net: Network, modem: EmulatedModem) -> None:
    async with running(modem) as rig:
        await rig.until(State.READY)
        rig.modem.hold()
        await rig.send("Hello", report=True)

        await until(lambda: rig.reports)
        rig.modem.release()


async def test_texts_come_in_although_one_goes_out_after_the_other(
    net: Network, modem: EmulatedModem
) -> None:
    async with running(modem) as rig:
        await rig.until(State.READY)
        await until_read(modem)
        net.call(modem.number, "Hello", "+62899")
        rig.modem.hold()
        await rig.send("first")
        rig.clock.ahead += 20
        # Whoever holds it again and again lets it have its turn.
        for _ in range(1000):
            rig.modem.release()
            if not rig.modem.ready:
                break
            rig.modem.hold()
            await rig.send("and on")

        await rig.until(State.READY)
        await until(lambda: texts(rig) == ["Hello"])


async def test_no_slot_of_another_memory_is_emptied_after_a_silent_reboot(plug_in: PlugIn) -> None:
    modem = await plug_in(boot=(), ready=(), slots={"SM": 3, "ME": 5})
    async with running(modem, ping=3600) as rig:
        await rig.until(State.READY)
        await until_asked(modem, "+CMGL=", 2)
        # Somebody takes the line before the text can be deleted.
        rig.taken = rig.modem.hold
        modem.memories["ME"].put(_stored("first"))
        modem.say('+CMTI: "ME",1')
        await until(lambda: rig.texts)
        modem.reboot()
        await until(lambda: modem.registered)
        modem.memories["SM"].put(_stored("second"))
        rig.modem.release()
        await until(lambda: not len(modem.memories["ME"]))
        rig.clock.ahead += 61

        await until(lambda: texts(rig) == ["first", "second"])


async def test_rubbish_in_a_slot_is_dropped(net: Network, modem: EmulatedModem) -> None:
    modem.memories["SM"].put(Stored("00FF", 1))
    async with running(modem) as rig:
        await rig.until(State.READY)
        net.call_pdu(modem.number, "0700")
        net.call(modem.number, "Hello", "+62899")
        await until(lambda: rig.texts)

        def emptied() -> bool:
            # It is read three times, some seconds apart.
            rig.clock.ahead += 0.1
            return not any(len(memory) for memory in modem.memories.values())

        await until(emptied)


def _stored(text: str) -> Stored:
    pdu, length = encode_deliver("+62899", split(text, reference=1)[0], at=1_790_000_000.0)
    return Stored(pdu, length)
