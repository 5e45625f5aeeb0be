"""Texts that are hard to read are read all the same, and none is deleted for one bad moment."""

from __future__ import annotations

import logging

import pytest

from otpsvc.gsm.emulator import EmulatedModem, Network
from otpsvc.gsm.emulator.storage import Stored
from otpsvc.gsm.inbox import Slot
from otpsvc.gsm.misread import Misread
from otpsvc.gsm.parts import split
from otpsvc.gsm.pdu import encode_deliver
from otpsvc.gsm.types import State
from tests.gsm.test_modem_rig import PlugIn, Rig, running, until_asked, until_read
from tests.waiting import until


def texts(rig: Rig) -> list[str]:
    return [text.text for text in rig.texts]


def stored(text: str) -> Stored:
    pdu, length = encode_deliver("+62899", split(text, reference=1)[0], at=1_790_000_000.0)
    return Stored(pdu, length)


async def emptied(rig: Rig, modem: EmulatedModem) -> None:
    """Until nothing lies there any more; time goes by faster meanwhile."""

    def empty() -> bool:
        rig.clock.ahead += 0.1
        return not any(len(memory) for memory in modem.memories.values())

    await until(empty)


async def looked_again(rig: Rig, modem: EmulatedModem) -> None:
    """Until every memory was listed once more; seconds later, by its clock."""
    listed = modem.asked_for("+CMGL=")
    rig.clock.ahead += 61
    await until_asked(modem, "+CMGL=", listed + 3)


@pytest.mark.parametrize(
    "between", ["SMS READY", "_OEMBATT: 1", "+CSQN: 5,0", "\xd0\x00\x9f\xfe", "ABCDEF", "00" * 30, ""]
)
async def test_what_stands_between_a_header_and_its_pdu_is_passed_over(
    modem: EmulatedModem, between: str
) -> None:
    whole = stored("Hello")
    modem.memories["SM"].put(Stored(f"{between}\r\n{whole.pdu}", whole.length))
    async with running(modem) as rig:
        await until(lambda: rig.texts)

        assert texts(rig) == ["Hello"]
        await until(lambda: not len(modem.memories["SM"]))


@pytest.mark.parametrize("read", ["cut", "garbled", "lost"])
async def test_a_bad_read_costs_no_text(modem: EmulatedModem, read: str) -> None:
    whole = stored("Hello")
    bad = {"cut": whole.pdu[:-7], "garbled": "\x81" + whole.pdu[1:], "lost": "SMS READY"}[read]
    slot = Stored(bad, whole.length)
    modem.memories["ME"].put(slot)
    async with running(modem, ping=3600) as rig:
        await until_read(modem)
        await looked_again(rig, modem)
        assert len(modem.memories["ME"]) == 1
        assert not rig.texts
        slot.pdu = whole.pdu
        await looked_again(rig, modem)

        await until(lambda: texts(rig) == ["Hello"])
        await until(lambda: not len(modem.memories["ME"]))


async def test_a_bad_read_is_made_up_for_within_seconds(modem: EmulatedModem) -> None:
    whole = stored("Hello")
    slot = Stored("SMS READY", whole.length)
    modem.memories["ME"].put(slot)
    async with running(modem, ping=3600) as rig:
        await until_read(modem)
        slot.pdu = whole.pdu
        rig.clock.ahead += 6

        await until(lambda: texts(rig) == ["Hello"])


def test_many_bad_reads_at_once_are_one() -> None:
    now, slot = [100.0], Slot("SM", 3)
    misread = Misread(lambda: now[0])

    for _ in range(2):
        assert not any(misread.note(slot) for _ in range(10))
        now[0] += 5
    assert misread.note(slot)
    assert not misread.note(Slot("ME", 3))
    misread.keep("SM", ())
    assert slot not in misread
    assert Slot("ME", 3) in misread
    assert not misread.note(slot)


async def test_what_cannot_be_read_is_given_up_after_three_listings(
    modem: EmulatedModem, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    modem.memories["ME"].put(Stored("4711 is no PDU", 30))
    async with running(modem, ping=3600) as rig:
        await until_read(modem)
        await looked_again(rig, modem)
        assert len(modem.memories["ME"]) == 1
        await emptied(rig, modem)

    assert "ME 1 cannot be read" in caplog.text
    assert "4711" not in caplog.text
    assert not rig.texts


async def test_a_pdu_under_a_wrong_length_is_read_before_it_is_deleted(modem: EmulatedModem) -> None:
    whole = stored("Hello")
    modem.memories["ME"].put(Stored(whole.pdu, whole.length + 5))
    async with running(modem) as rig:
        await until_read(modem)
        await emptied(rig, modem)

        assert texts(rig) == ["Hello"]


async def test_a_pdu_without_an_smsc_is_read(modem: EmulatedModem) -> None:
    whole = stored("Hello")
    modem.memories["ME"].put(Stored(whole.pdu[2:], whole.length))
    async with running(modem) as rig:
        await until(lambda: rig.texts)

        assert texts(rig) == ["Hello"]


async def test_where_nothing_is_listed_what_was_named_is_read(net: Network, plug_in: PlugIn) -> None:
    modem = await plug_in(answers={"+CMGL=": "CMS 303"}, ds=(0, 2))
    async with running(modem) as rig:
        await rig.until(State.READY)
        net.call(modem.number, "Hello", "+62899")
        await until(lambda: rig.texts)
        assert texts(rig) == ["Hello"]
        await until(lambda: not len(modem.storage))
        reference = (await rig.send("Hello", report=True))[0]
        await until(lambda: rig.reports)
        assert rig.reports[0][1].reference == reference
        await until(lambda: not len(modem.memories["SR"]))
        # Both were named, and none of the other slots is ever asked for.
        assert modem.asked_for("+CMGR=") == 2

        await rig.until(State.READY)
        await until(lambda: "AT+CMGL is refused" in rig.modem.reason, lambda: rig.modem.reason)
        del modem.quirks.answers["+CMGL="]
        rig.clock.ahead += 61
        await until(lambda: "AT+CMGL" not in rig.modem.reason, lambda: rig.modem.reason)


async def test_a_named_text_that_cannot_be_read_at_once_is_read_later(plug_in: PlugIn) -> None:
    modem = await plug_in(answers={"+CMGL=": "ERROR", "+CMGR=": "CMS 500"})
    modem.storage.put(stored("Hello"))
    async with running(modem, ping=3600) as rig:
        await until_read(modem)
        modem.say('+CMTI: "ME",1')
        modem.memories["ME"].put(stored("Hello"))
        await until_asked(modem, "+CMGR=", 1)
        del modem.quirks.answers["+CMGR="]
        rig.clock.ahead += 6

        await until(lambda: texts(rig) == ["Hello"])


async def test_a_modem_with_a_single_memory_need_not_let_it_be_chosen(net: Network, plug_in: PlugIn) -> None:
    modem = await plug_in(unsupported=frozenset({"+CPMS", "+CMGL"}))
    async with running(modem) as rig:
        await rig.until(State.READY)
        net.call(modem.number, "Hello", "+62899")

        await until(lambda: texts(rig) == ["Hello"])
        await until(lambda: not len(modem.storage))
