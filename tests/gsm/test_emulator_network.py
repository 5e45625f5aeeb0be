"""The network keeps the truth: what was transmitted, whole or not, and what it holds for a modem."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from otpsvc.gsm.emulator import EmulatedModem, Network
from otpsvc.gsm.parts import split
from otpsvc.gsm.pdu import Deliver, Submit, read
from tests.gsm.terminal import Terminal
from tests.waiting import until

Dial = Callable[[EmulatedModem], Awaitable[Terminal]]
PlugIn = Callable[..., Awaitable[EmulatedModem]]
LONG = "A text that does not fit into one part, with some words more. " * 4


def stored(modem: EmulatedModem) -> list[Deliver]:
    pdus = [read(item.pdu) for _, item in modem.storage.listed(4)]
    return [pdu for pdu in pdus if isinstance(pdu, Deliver)]


def submits(text: str, reference: int = 1) -> list[Submit]:
    return [Submit(to="+62812", part=part) for part in split(text, reference=reference)]


def test_parts_become_a_text_in_any_order() -> None:
    net = Network()
    first, second = submits(LONG)

    net.transmit(second, 1, "+1")
    assert net.sent == []
    net.transmit(first, 2, "+1")
    assert [(text.text, text.parts, text.modem) for text in net.sent] == [(LONG, 2, "+1")]
    assert [part.reference for part in net.parts] == [1, 2]


def test_parts_of_two_modems_or_texts_do_not_mix() -> None:
    net = Network()

    net.transmit(submits(LONG)[0], 1, "+1")
    net.transmit(submits(LONG)[1], 1, "+2")
    net.transmit(submits(LONG, reference=2)[1], 2, "+1")
    assert net.sent == []
    assert len(net.parts) == 3


def test_a_doubled_text_counts_twice() -> None:
    net = Network()

    for submit in submits("Twice") * 2:
        net.transmit(submit, 1, "+1")
    assert [text.text for text in net.sent] == ["Twice", "Twice"]


async def test_flash_and_validity_are_known(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    terminal = await dial(await plug_in(echo=False))
    pdu, length = Submit(to="911", part=split("Now", reference=0, flash=True)[0], validity=900).encoded()

    await terminal.ask(f"AT+CMGS={length}", b"> ")
    await terminal.ask(pdu + "\x1a")
    assert [(text.to, text.class0, text.validity) for text in net.sent] == [("911", True, 900)]


async def test_a_number_that_is_refused(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    terminal = await dial(await plug_in(echo=False))
    net.refused["+62812"] = "CMS 1"

    assert await terminal.hand("+62812", "Hello") == "+CMS ERROR: 1"
    assert (await terminal.hand("+62813", "Hello")).endswith("OK")
    assert [part.to for part in net.parts] == ["+62813"]


async def test_parts_come_in_any_order_and_some_never(modem: EmulatedModem, net: Network) -> None:
    assert net.call(modem.number, LONG, "+628999", order=(2, 1, 2)) == 3
    assert net.call(modem.number, LONG * 2, "+628999", missing=(2,), wide=True, reference=0) == 3

    concats = [text.concat for text in stored(modem)]
    assert [(c.number, c.total) for c in concats if c] == [(2, 2), (1, 2), (2, 2), (1, 4), (3, 4), (4, 4)]
    assert [(c.reference, c.wide) for c in concats if c][-1] == (0, True)


async def test_modems_text_each_other(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    one, other = await plug_in(), await plug_in(echo=False)
    terminal = await dial(other)

    await terminal.hand(one.number, "Between us")
    await until(lambda: stored(one))
    assert [(text.sender, text.text) for text in stored(one)] == [(other.number, "Between us")]


async def test_a_text_waits_for_a_modem_that_is_away(modem: EmulatedModem, net: Network) -> None:
    modem.register(0)
    net.call(modem.number, "First", "+628999")
    modem.hang()
    modem.register(1)
    net.call(modem.number, "Second", "+628999")
    assert net.waiting(modem.number) == 2

    modem.wake()
    assert [text.text for text in stored(modem)] == ["First", "Second"]


async def test_what_waits_goes_first(plug_in: PlugIn, net: Network) -> None:
    modem = await plug_in(slots={"SM": 1, "ME": 1, "SR": 1})
    net.call(modem.number, "First", "+628999")
    net.call(modem.number, "Second", "+628999")
    modem.storage.slots.clear()

    net.call(modem.number, "Third", "+628999")
    modem.freed()
    assert [text.text for text in stored(modem)] == ["Second"]
    assert net.waiting(modem.number) == 1


async def test_anything_may_come_over_the_air(modem: EmulatedModem, net: Network, dial: Dial) -> None:
    net.call_pdu(modem.number, "00" + "ff" * 30)
    terminal = await dial(modem)

    assert "+CMGR: 0,,30\n00ffff" in await terminal.ask("AT+CMGR=1")


async def test_nothing_private_is_shown(modem: EmulatedModem, net: Network) -> None:
    net.transmit(submits("Secret 123456")[0], 1, modem.number)
    net.call(modem.number, "Secret 123456", "+628999")

    shown = repr((net.sent, net.parts, modem.storage.slots, modem.commands))
    assert "123456" not in shown
    assert "62812" not in shown


@pytest.mark.parametrize("words", ["CMS 500", "hang sent"])
async def test_scripts_are_read_when_they_are_written(modem: EmulatedModem, words: str) -> None:
    modem.fail_next(words)
    with pytest.raises(ValueError, match="a fault is one of"):
        modem.fail_next("CNS 500")
    assert list(modem.script) == [words]
