"""The emulated modem answers as V.250, 27.007 and 27.005 want it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from otpsvc.gsm.emulator import EmulatedModem, Network
from otpsvc.gsm.parts import split
from otpsvc.gsm.pdu import Submit
from tests.gsm.terminal import Terminal
from tests.waiting import until

Dial = Callable[[EmulatedModem], Awaitable[Terminal]]
PlugIn = Callable[..., Awaitable[EmulatedModem]]


async def test_it_works(modem: EmulatedModem, net: Network, dial: Dial) -> None:
    terminal = await dial(modem)

    assert await terminal.ask("AT") == "AT\nOK"
    assert "+CMGS: 1\nOK" in await terminal.hand("+62812", "Hello")
    (arrived,) = await net.arrived(1)
    assert (arrived.to, arrived.text, arrived.modem) == ("+62812", "Hello", modem.number)


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("AT", "OK"),
        ("at", "OK"),
        ("ATE0V1Q0X4&C1&D2S0=0", "OK"),
        ("AT+CGMI;+CGMM;+CGMR", "otpsvc\nEMULATED\n1.0\nOK"),
        ("AT+CPIN?", "+CPIN: READY\nOK"),
        ("AT+CIMI", "510100000000001\nOK"),
        ("AT+CCID", "+CCID: 8962110000000000018\nOK"),
        ("AT^ICCID?", "^ICCID: 8962110000000000018\nOK"),
        ("AT+CNUM", '+CNUM: "","+628110000001",145\nOK'),
        ("AT+CSCS?", '+CSCS: "GSM"\nOK'),
        ("AT+CSCS=?", '+CSCS: ("GSM","IRA","UCS2","HEX","8859-1")\nOK'),
        ('AT+CSCS="UCS2";+CSCS?', '+CSCS: "UCS2"\nOK'),
        ('AT+CSCS="EBCDIC"', "ERROR"),
        ("AT+CMGF?;+CMGF=1;+CMGF?", "+CMGF: 0\n+CMGF: 1\nOK"),
        ("AT+CMGF=2", "+CMS ERROR: 303"),
        ("AT+CSCA?", '+CSCA: "+62811000000",145\nOK'),
        ('AT+CSCA="628",145;+CSCA?', '+CSCA: "+628",145\nOK'),
        ("AT+CSMS=0", "+CSMS: 1,1,1\nOK"),
        ("AT+CPMS?", '+CPMS: "SM",0,20,"SM",0,20,"SM",0,20\nOK'),
        ("AT+CPMS=?", '+CPMS: ("SM","ME","SR"),("SM","ME"),("SM","ME")\nOK'),
        ('AT+CPMS="ME","ME","ME"', "+CPMS: 0,50,0,50,0,50\nOK"),
        ('AT+CPMS="XX"', "+CMS ERROR: 302"),
        ("AT+CNMI=?", "+CNMI: (0,1,2,3),(0,1,2),(0,2),(0,1,2),(0,1)\nOK"),
        ("AT+CNMI=2,1,0,1,0;+CNMI?", "+CNMI: 2,1,0,1,0\nOK"),
        ("AT+CNMI=2,3", "+CMS ERROR: 303"),
        ("AT+CREG?", "+CREG: 0,1\nOK"),
        ("AT+CEREG=1;+CEREG?", "+CEREG: 1,1\nOK"),
        ("AT+CGREG=2;+CGREG?", '+CGREG: 2,1,"00C3","0000A0B1"\nOK'),
        ("AT+CSQ", "+CSQ: 20,99\nOK"),
        ("AT+COPS?", '+COPS: 0,0,"EMULATED"\nOK'),
        ("AT+COPS=3,2;+COPS?", '+COPS: 0,2,"51010"\nOK'),
        ("AT+CMMS=2;+CMMS?", "+CMMS: 2\nOK"),
        ("AT+CGSMS=3", "OK"),
        ("AT^CURC=0", "OK"),
        ('AT+QURCCFG="urcport","usbat"', "OK"),
        ("AT+CMGL=4", "OK"),
        ("AT+CMGR=1", "+CMS ERROR: 321"),
        ("AT+CMGD=1,4", "OK"),
        ("AT+CFUN?", "+CFUN: 1\nOK"),
        ("AT+CNMA", "+CMS ERROR: 340"),
        ("AT+CUSD=1", "OK"),
        ("AT+NOSUCHTHING", "ERROR"),
        ("AT+CSQ=", "+CSQ: 20,99\nOK"),
        ("AT!", "ERROR"),
        ("ATD123;", "NO CARRIER"),
        ("AT+CMGW=1", "ERROR"),
    ],
)
async def test_commands(plug_in: PlugIn, dial: Dial, command: str, answer: str) -> None:
    terminal = await dial(await plug_in(echo=False))

    assert await terminal.ask(command, b"OK\r\n", b"ERROR\r\n", b"ERROR: ", b"CARRIER\r\n") == answer


async def test_the_form_of_answers(modem: EmulatedModem, dial: Dial) -> None:
    """Echo, words or numbers, silence. (V.250, 6.2)"""
    terminal = await dial(modem)

    terminal.type(b"AT\r")
    assert await terminal.until(b"OK\r\n") == b"AT\r\r\nOK\r\n"
    terminal.type(b"ATE0\r")
    assert await terminal.until(b"OK\r\n") == b"ATE0\r\r\nOK\r\n"
    terminal.type(b"AT+CSQ\r\n")
    assert await terminal.until(b"OK\r\n") == b"\r\n+CSQ: 20,99\r\n\r\nOK\r\n"
    terminal.type(b"ATV0\r")
    assert await terminal.until(b"0\r") == b"0\r"
    terminal.type(b"ATV1Q1\rATX\b+CSQ\rATQ0\r")
    assert await terminal.until(b"OK\r\n") == b"\r\n+CSQ: 20,99\r\n\r\nOK\r\n"
    assert await terminal.ask("AT+CSQ") == "+CSQ: 20,99\nOK"
    assert await terminal.ask("A/") == "+CSQ: 20,99\nOK"


async def test_errors_in_words_and_numbers(modem: EmulatedModem, dial: Dial) -> None:
    terminal = await dial(modem)
    modem.sim.present = False

    assert (await terminal.ask("ATE0")).endswith("OK")
    assert await terminal.ask("AT+CIMI") == "ERROR"
    assert await terminal.ask("AT+CMEE=1;+CIMI", b"10\r\n") == "+CME ERROR: 10"
    assert await terminal.ask("AT+CMEE=2;+CIMI", b"inserted\r\n") == "+CME ERROR: SIM not inserted"
    assert await terminal.ask("AT+CMGL=4", b"310\r\n") == "+CMS ERROR: 310"


async def test_pin_and_puk(plug_in: PlugIn, dial: Dial) -> None:
    modem = await plug_in(pin="1234", puk="87654321", echo=False)
    terminal = await dial(modem)
    await terminal.ask("AT+CMEE=1")

    assert await terminal.ask("AT+CPIN?") == "+CPIN: SIM PIN\nOK"
    assert await terminal.ask("AT+CREG?") == "+CREG: 0,0\nOK"
    assert await terminal.ask("AT+CMGS=10") == "+CMS ERROR: 311"
    assert await terminal.ask("AT+CPIN=1111") == "+CME ERROR: 16"
    assert await terminal.ask('AT+CPIN="1112"') == "+CME ERROR: 16"
    assert "SIM PIN,1,3" in await terminal.ask("AT+CPINR")
    assert await terminal.ask("AT+CPIN=1113") == "+CME ERROR: 12"
    assert await terminal.ask("AT+CPIN?") == "+CPIN: SIM PUK\nOK"
    assert await terminal.ask("AT+CPIN=1234") == "+CME ERROR: 12"
    assert modem.pin_wrong == 3
    assert await terminal.ask('AT+CPIN="00000000","4321"') == "+CME ERROR: 16"
    assert await terminal.ask('AT+CPIN="87654321","4321"') == "OK"
    assert b"+CPIN: READY" in await terminal.until(b"Call Ready\r\n")
    assert await terminal.ask("AT+CREG?") == "+CREG: 0,1\nOK"
    modem.reboot()
    await terminal.until(b"RDY\r\n")
    assert (await terminal.ask("AT+CPIN?")).endswith("+CPIN: SIM PIN\nOK")
    assert (await terminal.ask("AT+CPIN=4321")).endswith("OK")


async def test_a_sim_that_is_busy(plug_in: PlugIn, dial: Dial) -> None:
    modem = await plug_in(echo=False)
    terminal = await dial(modem)
    modem.sim.busy_for(1000)

    assert await terminal.ask("AT+CMEE=1;+CPIN?") == "+CME ERROR: 14"
    assert await terminal.ask("AT+CSCA?") == "+CMS ERROR: 314"
    modem.sim.busy_for(0)
    assert await terminal.ask("AT+CPIN?") == "+CPIN: READY\nOK"


async def test_registration_is_told(plug_in: PlugIn, dial: Dial) -> None:
    assert (await plug_in(registration=1000.0)).stat == 2
    modem = await plug_in(echo=False, registration=0.1, stat=5)
    terminal = await dial(modem)

    async def registered() -> bool:
        return "+CREG: 1,5" in await terminal.ask("AT+CREG=1;+CREG?")

    await until(registered)
    modem.register(2)
    assert await terminal.until(b"\n+CREG: 2\r\n")
    assert await terminal.hand("+62812", "Nobody hears") == "+CMS ERROR: 331"
    assert await terminal.ask("AT+COPS?") == "+COPS: 0\nOK"
    assert await terminal.ask("AT+CFUN=4;+CREG?;+CSQ") == "+CREG: 0\n+CREG: 1,0\n+CSQ: 99,99\nOK"
    terminal.seen.clear()
    await terminal.ask("AT+CFUN=1")
    assert await terminal.until(b"+CREG: 5\r\n")
    await terminal.ask("AT+CFUN=1")
    await asyncio.sleep(0.02)
    assert await terminal.ask("AT") == "OK"


# --- texts


async def test_a_pdu_must_be_what_was_told(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    terminal = await dial(await plug_in(echo=False))
    pdu, length = Submit(to="+62812", part=split("Hello", reference=0)[0]).encoded()
    cases = {length + 1: pdu, length: pdu[:-2], 5: "zz", 6: "", 14: "00" * 15, length + 2: pdu + "0000"}

    for told, body in cases.items():
        await terminal.ask(f"AT+CMGS={told}", b"> ")
        assert await terminal.ask(body + "\x1a") == "+CMS ERROR: 304"
    assert await terminal.ask("AT+CMGS=0") == "+CMS ERROR: 304"
    assert await terminal.ask("AT+CMGS=500") == "+CMS ERROR: 304"
    assert await terminal.ask("AT+CMGS=x") == "ERROR"
    assert net.parts == []


async def test_the_body_is_echoed_too(modem: EmulatedModem, dial: Dial) -> None:
    terminal = await dial(modem)
    pdu, length = Submit(to="+62812", part=split("Hello", reference=0)[0]).encoded()

    await terminal.ask(f"AT+CMGS={length}", b"> ")
    assert await terminal.ask(pdu + "\x1a") == f"{pdu}\n+CMGS: 1\nOK"


async def test_escape_leaves_the_prompt(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    terminal = await dial(await plug_in(echo=False))

    await terminal.ask("AT+CMGS=20", b"> ")
    assert await terminal.ask("0011\x1b") == "OK"
    assert await terminal.ask("AT") == "OK"
    assert net.parts == []


async def test_a_line_feed_after_the_command_is_harmless(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    terminal = await dial(await plug_in(echo=False))
    pdu, length = Submit(to="+62812", part=split("Hello", reference=0)[0]).encoded()

    terminal.type(f"AT+CMGS={length}\r\n".encode())
    await terminal.until(b"> ")
    assert await terminal.ask(pdu + "\x1a") == "+CMGS: 1\nOK"


async def test_text_mode(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    modem = await plug_in(echo=False)
    terminal = await dial(modem)
    net.call(modem.number, "Hello [you]", "+628999")
    net.call(modem.number, "Привет", "Operator")
    await terminal.until(b",2\r\n")

    assert await terminal.ask('AT+CMGF=1;+CSCS="IRA"') == "OK"
    listed = await terminal.ask('AT+CMGL="ALL"')
    assert '+CMGL: 1,"REC UNREAD","+628999",,"' in listed
    assert "\nHello [you]\n" in listed
    assert "041F04400438043204350442" in listed
    assert '"REC READ"' in await terminal.ask("AT+CMGR=1")
    assert await terminal.ask('AT+CMGL="REC UNREAD"') == "OK"
    await terminal.ask('AT+CMGS="+62812"', b"> ")
    assert await terminal.ask("From text mode\x1a") == "+CMGS: 1\nOK"
    assert await terminal.ask("AT+CSMP=49,170,0,8") == "OK"
    await terminal.ask('AT+CMGS="+62813"', b"> ")
    assert "+CMGS: 2\nOK" in await terminal.ask("043F\x1a")
    assert [(text.to, text.text) for text in net.sent] == [("+62812", "From text mode"), ("+62813", "\u043f")]
    assert net.parts[1].submit.report
    assert net.sent[1].validity == 4 * 86_400


async def test_slots_keep_their_numbers(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    modem = await plug_in(echo=False)
    terminal = await dial(modem)
    for number in range(4):
        net.call(modem.number, f"Text {number}", "+628999")
    await terminal.until(b'+CMTI: "SM",4\r\n')

    assert await terminal.ask("AT+CMGD=2") == "OK"
    assert sorted(modem.storage.slots) == [1, 3, 4]
    net.call(modem.number, "New", "+628999")
    await terminal.until(b'+CMTI: "SM",2\r\n')
    assert (await terminal.ask("AT+CMGR=3")).startswith("+CMGR: 0,,")
    assert (await terminal.ask("AT+CMGR=3")).startswith("+CMGR: 1,,")
    assert await terminal.ask("AT+CMGD=1,1") == "OK"
    assert sorted(modem.storage.slots) == [1, 2, 4]


async def test_a_full_memory_is_silent_and_the_network_waits(
    plug_in: PlugIn, dial: Dial, net: Network
) -> None:
    modem = await plug_in(echo=False, slots={"SM": 2, "ME": 2, "SR": 2})
    terminal = await dial(modem)
    for number in range(3):
        net.call(modem.number, f"Text {number}", "+628999")
    await terminal.until(b'"SM",2\r\n')

    assert net.waiting(modem.number) == 1
    assert await terminal.ask("AT") == "OK"
    assert await terminal.ask("AT+CMGD=1") == '+CMTI: "SM",1\nOK'
    assert net.waiting(modem.number) == 0
    net.call(modem.number, "One more", "+628999")
    assert net.waiting(modem.number) == 1
    assert '+CMTI: "ME",1' in await terminal.ask('AT+CPMS="ME","ME","ME"')
    assert net.waiting(modem.number) == 0


async def test_where_texts_go(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    """The modes of +CNMI (27.005, 3.4.1)."""
    modem = await plug_in(echo=False)
    terminal = await dial(modem)

    await terminal.ask("AT+CNMI=2,0,0,0,0")
    net.call(modem.number, "Silent", "+628999")
    assert await terminal.ask("AT") == "OK"
    assert len(modem.storage) == 1
    await terminal.ask("AT+CNMI=2,2,0,0,0")
    net.call(modem.number, "Direct", "+628999")
    assert b"\r\n+CMT: ," in await terminal.until(b"+CMT: ,")
    await terminal.until(b"\r\n0791")
    assert len(modem.storage) == 1
    await terminal.ask("AT+CNMI=0,1,0,0,0")
    net.call(modem.number, "Buffered", "+628999")
    assert (await terminal.ask("AT")).splitlines()[-1] == "OK"
    assert await terminal.ask("AT+CNMI=2,1,0,0,0") == '+CMTI: "SM",2\nOK'


async def test_where_reports_go(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    modem = await plug_in(echo=False)
    terminal = await dial(modem)

    await terminal.ask("AT+CNMI=2,1,0,1,0")
    await terminal.hand("+62812", "One", report=True)
    await terminal.until(b"\r\n+CDS: ")
    await terminal.until(b"\r\n0791")
    await terminal.until(b"\r\n")
    await terminal.ask("AT+CNMI=2,1,0,2,0")
    await terminal.hand("+62812", "Two", report=True)
    await terminal.until(b'\r\n+CDSI: "SR",1\r\n')
    assert "+CMGR: 0,," in await terminal.ask('AT+CPMS="SR";+CMGR=1')
    assert '"REC READ",6,2,"+62812",145,"' in await terminal.ask("AT+CMGF=1;+CMGR=1")


async def test_direct_texts_are_acknowledged(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    """With +CSMS=1 the next one waits, and none comes directly when +CNMA stays out."""
    modem = await plug_in(echo=False, acknowledge=1000.0)
    terminal = await dial(modem)
    await terminal.ask("AT+CSMS=1;+CNMI=2,2,0,1,0")

    net.call(modem.number, "One", "+628999")
    net.call(modem.number, "Two", "+628999")
    await terminal.until(b"+CMT: ,")
    assert net.waiting(modem.number) == 1
    modem.quirks.acknowledge = 0.01
    assert "+CMT: ," in await terminal.ask("AT+CNMA")

    async def given_up() -> bool:
        return "2,0,0,0,0" in await terminal.ask("AT+CNMI?")

    await until(given_up)
    assert net.waiting(modem.number) == 1
