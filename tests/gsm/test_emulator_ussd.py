"""USSD in the dialects of modems."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from otpsvc.gsm import alphabet, septets
from otpsvc.gsm.emulator import EmulatedModem, Menu, Network
from tests.gsm.terminal import Terminal

Dial = Callable[[EmulatedModem], Awaitable[Terminal]]
PlugIn = Callable[..., Awaitable[EmulatedModem]]
ASK = 'AT+CUSD=1,"*123#",15'


async def answer(terminal: Terminal) -> str:
    await terminal.until(b"+CUSD: ")
    return (await terminal.until(b"\r\n")).decode("latin-1").rstrip()


async def test_text(plug_in: PlugIn, dial: Dial) -> None:
    terminal = await dial(await plug_in(echo=False))

    assert await terminal.ask(ASK) == "OK"
    assert await answer(terminal) == '0,"Balance: 10000",15'
    assert await terminal.ask('AT+CUSD=1,"*999#",15') == "OK"
    assert await answer(terminal) == "4"


@pytest.mark.parametrize(
    ("dialect", "raw"),
    [
        ("text", "Balance: 10000"),
        ("ucs2", "Balance: 10000".encode("utf-16-be").hex().upper()),
        ("octets", b"Balance: 10000".hex().upper()),
        ("packed", septets.pack(alphabet.encode("Balance: 10000") or b"").hex().upper()),
    ],
)
async def test_dialects(plug_in: PlugIn, dial: Dial, dialect: str, raw: str) -> None:
    terminal = await dial(await plug_in(echo=False, dialect=dialect, ussd_dcs=1))

    await terminal.ask(ASK)
    assert await answer(terminal) == f'0,"{raw}",1'


@pytest.mark.parametrize(
    "typed",
    [
        "*123#",
        septets.pack(b"*123#").hex(),
        "*123#".encode("utf-16-be").hex().upper(),
        b"*123#".hex(),
    ],
)
async def test_questions_in_any_dialect(plug_in: PlugIn, dial: Dial, typed: str) -> None:
    terminal = await dial(await plug_in(echo=False))

    await terminal.ask(f'AT+CUSD=1,"{typed}",15')
    assert await answer(terminal) == '0,"Balance: 10000",15'


async def test_seven_characters_end_with_a_carriage_return(plug_in: PlugIn, dial: Dial) -> None:
    """Else the spare bits read as one more character. (23.038, 6.1.2.3.1)"""
    terminal = await dial(await plug_in(echo=False, dialect="packed", ussd={"*123#": "1234567"}))

    await terminal.ask(ASK)
    raw = (await answer(terminal)).split('"')[1]
    assert septets.unpack(bytes.fromhex(raw), 8) == b"1234567\r"


async def test_what_no_septet_can_say_is_ucs2(plug_in: PlugIn, dial: Dial) -> None:
    terminal = await dial(await plug_in(echo=False, dialect="packed", ussd={"*123#": "Баланс"}))

    await terminal.ask(ASK)
    assert bytes.fromhex((await answer(terminal)).split('"')[1]).decode("utf-16-be") == "Баланс"


async def test_a_menu(plug_in: PlugIn, dial: Dial) -> None:
    menu = Menu("1 Balance 2 More", {"1": "5000", "2": Menu("1 Less", {"1": "Bye"})})
    terminal = await dial(await plug_in(echo=False, ussd={"*123#": menu}))

    await terminal.ask(ASK)
    assert await answer(terminal) == '1,"1 Balance 2 More",15'
    await terminal.ask('AT+CUSD=1,"2",15')
    assert await answer(terminal) == '1,"1 Less",15'
    await terminal.ask('AT+CUSD=1,"9",15')
    assert await answer(terminal) == "2"
    await terminal.ask(ASK)
    assert (await answer(terminal)).startswith("1,")
    assert await terminal.ask("AT+CUSD=2") == "OK"
    await terminal.ask('AT+CUSD=1,"1",15')
    assert await answer(terminal) == "4"


async def test_the_answer_may_come_before_the_ok(plug_in: PlugIn, dial: Dial) -> None:
    terminal = await dial(await plug_in(echo=False, ussd_early=True))

    assert await terminal.ask(ASK) == '+CUSD: 0,"Balance: 10000",15\nOK'


async def test_no_answer_until_it_is_cancelled(plug_in: PlugIn, dial: Dial) -> None:
    modem = await plug_in(echo=False, ussd_delay=1000.0)
    terminal = await dial(modem)

    assert await terminal.ask(ASK) == "OK"
    assert await terminal.ask(ASK) == "ERROR"
    assert await terminal.ask("AT+CUSD=2") == "OK"
    modem.quirks.ussd_silent = True
    assert await terminal.ask(ASK) == "OK"
    modem.quirks.ussd_silent, modem.quirks.ussd_delay = False, 0.0
    assert await terminal.ask(ASK) == "OK"
    assert "Balance" in await answer(terminal)


async def test_without_a_network(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    modem = await plug_in(echo=False)
    terminal = await dial(modem)
    modem.register(0)

    assert await terminal.ask("AT+CMEE=1") == "OK"
    assert await terminal.ask(ASK, b"30\r\n") == "+CME ERROR: 30"
