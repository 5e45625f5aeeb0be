from __future__ import annotations

import asyncio
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpsvc.errors import ModemError
from otpsvc.gsm import trace
from tests.gsm.far_end import Client, FarEnd

CODE = "493817"
PIN = "7391"
NUMBER = "+6281234567889"
PDU = "0791261832547698040B912618325476F80000AA" + CODE.encode().hex().upper()
WORD = "SwordFish"


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("AT", "AT"),
        ("ATE0V1Q0", "ATE0V1Q0"),
        ("AT+CMEE=1", "AT+CMEE=1"),
        ("AT+CSQ;+CREG?", "AT+CSQ;+CREG?"),
        ("AT+CNMI=2,1,0,1,0", "AT+CNMI=2,1,0,1,0"),
        ('AT+CPMS="SM","ME","SM"', 'AT+CPMS="SM","ME","SM"'),
        ("AT+CMGS=49", "AT+CMGS=49"),
        ("AT+CFUN=1,1", "AT+CFUN=1,1"),
        ("AT+COPS=?", "AT+COPS=?"),
        ("AT+CPIN?", "AT+CPIN?"),
        (f'AT+CPIN="{PIN}"', "AT+CPIN=[hidden]"),
        (f"AT+CPIN={PIN}", "AT+CPIN=[hidden]"),
        ("AT+CPIN=123", "AT+CPIN=[hidden]"),
        (f'AT+CLCK="SC",0,"{PIN}"', "AT+CLCK=[hidden]"),
        (f'AT+CSCA="{NUMBER}"', "AT+CSCA=…89"),
        ('AT+CUSD=1,"*123#",15', "AT+CUSD=1,[7],15"),
        ("AT+CUSD=1,123,15", "AT+CUSD=1,[3],15"),
        (f'AT+CMGS="{NUMBER}"', "AT+CMGS=[16]"),
        (f"ATD{NUMBER};", "[17 octets];[0 octets]"),
        (f"AT+SECRET={CODE}", "[16 octets]"),
        (WORD, "[9 octets]"),
    ],
)
def test_commands(command: str, shown: str) -> None:
    assert trace.sent(command) == trace.TraceLine(True, shown)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("OK", "OK"),
        ("+CMS ERROR: 500", "+CMS ERROR: 500"),
        (f"+CME ERROR: {WORD}", "[21 octets]"),
        ("RDY", "RDY"),
        ("+CMGS: 200", "+CMGS: 200"),
        ("+CSQ: 17,99", "+CSQ: 17,99"),
        ('+CREG: 2,1,"00C3","0001A2B3",7', "+CREG: 2,1,[6],[10],7"),
        ("+CPIN: SIM PIN", "+CPIN: SIM PIN"),
        ('+CMTI: "SM",3', '+CMTI: "SM",3'),
        ("+CMT: ,49", "+CMT: ,49"),
        (f'+CMT: "{NUMBER}",49', "+CMT: [16],49"),
        (f'+CMT: "{NUMBER}",,"26/11/23,10:00:00+28"', "+CMT: [16],,[22]"),
        ("+CMGL: 1,1,,49", "+CMGL: 1,1,,49"),
        (PDU, "[52 octets]"),
        (f'+CUSD: 0,"{CODE}",15', "+CUSD: 0,[8],15"),
        ("+CUSD: 0,123,15", "+CUSD: 0,[3],15"),
        (f'+CUSD: 0,"{WORD}', "+CUSD: 0,[10]"),
        (f'+CLIP: "{NUMBER}",145', "+CLIP: …89,145"),
        (f'+CSCA: "{NUMBER}",145', "+CSCA: …89,145"),
        (f'+CNUM: "{WORD}","{NUMBER}",145', "+CNUM: [11],…89,145"),
        (f'+COPS: 0,0,"{WORD}",7', "+COPS: 0,0,[11],7"),
        ("510100000000001", "[15 octets]"),
        (f"+{CODE}: 1", "[10 octets]"),
        (f"+UNHEARDOF: {CODE}", "[18 octets]"),
        (f'AT+CPIN="{PIN}"', "AT+CPIN=[hidden]"),
        ("\x1b[31m\x07", "[6 octets]"),
    ],
)
def test_what_comes(line: str, shown: str) -> None:
    assert trace.received(line.encode()) == trace.TraceLine(False, shown)


def test_a_secret_command_shows_its_name_alone() -> None:
    assert trace.sent(f"AT+CSQ={CODE};+CSQ=12", secret=True).text == "AT+CSQ=[hidden]"
    assert trace.sent(WORD, secret=True).text == "[9 octets]"
    assert trace.sent("ATE1", secret=True).text == "[4 octets]"


def test_a_body_is_its_length() -> None:
    assert trace.body(50).text == "[pdu 50 octets]"


@given(
    st.sampled_from(
        ["+CMGS: ", "AT+CMGS=", "+CMT: ", "+CUSD: 1,", "AT+CUSD=1,", "+CSQ: ", "AT+CPIN=", "", "OK", "+C"]
    ),
    st.text('0123456789ABCDEF+*#",;: \n\x1a', max_size=12),
    st.text('0123456789ABCDEF+*#",;: \n\x1a', max_size=12),
)
def test_no_code_wherever_it_stands(head: str, before: str, after: str) -> None:
    line = f"{head}{before}{CODE}{after}"

    for shown in (trace.sent(line).text, trace.received(line.encode()).text):
        assert CODE not in shown
        assert shown.replace("…", "").isascii()
        assert shown.isprintable()


@given(st.binary(max_size=80))
def test_anything_can_be_traced(line: bytes) -> None:
    assert trace.received(line).text.isprintable()


#: Every command of the library with something secret in it, and what a modem may say about it.
SAID = [
    (f'AT+CPIN="{PIN}"', f"\r\n+CPIN: {PIN}\r\n\r\nOK\r\n"),
    ("AT+CPIN?", f"\r\n+CPIN: {WORD}\r\n\r\nOK\r\n"),
    (f'AT+CUSD=1,"*123*{CODE}#",15', f'\r\nOK\r\n\r\n+CUSD: 1,"{WORD}\n{CODE}\r\n{NUMBER}",15\r\n'),
    ("AT+CMGR=1", f"\r\n+CMGR: 1,,20\r\n{PDU}\r\n\r\nOK\r\n"),
    ("AT+CMGL=4", f'\r\n+CMGL: 1,1,"{WORD}",20\r\n{PDU}\r\n\r\nOK\r\n'),
    ("AT+CMGL=4", f'\r\n+CMGL: 1,"REC READ","{NUMBER}",,""\r\n{WORD} {CODE}\r\n\r\nOK\r\n'),
    ("AT+CSQ", f"\r\n+CMT: ,{(len(PDU) - 16) // 2}\r\n{PDU}\r\n\r\nOK\r\n"),
    ("AT+CSQ", f'\r\n+CMT: "{NUMBER}",,"26/11/23"\r\n{WORD} {CODE}\r\n\r\nOK\r\n'),
    ("AT+CSQ", f"\r\n+CDS: {(len(PDU) - 16) // 2}\r\n{PDU}\r\n\r\nOK\r\n"),
    ("AT+CSQ", f"\r\n+CBM: {(len(PDU) - 16) // 2}\r\n{PDU}\r\n\r\nOK\r\n"),
    ("AT+CSQ", f'\r\n+CLIP: "{NUMBER}",145,"{WORD}"\r\nRING {CODE}\r\n\r\nOK\r\n'),
    ("AT+CSQ", f'\r\n+CREG: {CODE}\r\n+CSQ: {CODE}\r\n^RSSI:{CODE}\r\n+CMTI: "SM",{CODE}\r\n\r\nOK\r\n'),
    ("AT+CSQ", f"\r\n+{WORD}: {CODE}\r\n^BOOT:{CODE}\r\n{WORD}\r\n\r\nOK\r\n"),
    ("AT+COPS?", f'\r\n+COPS: 0,0,"{WORD}",7\r\n\r\nOK\r\n'),
    ("AT+CNUM", f'\r\n+CNUM: "{WORD}","{NUMBER}",145\r\n\r\nOK\r\n'),
    (f'AT+CSCA="{NUMBER}"', f'\r\n+CSCA: "{NUMBER}",145\r\n\r\n+CME ERROR: {WORD}\r\n'),
    (f"AT+X={CODE}", f"\r\n+CMS ERROR: {CODE}\r\n"),
]


async def test_nothing_secret_in_trace_logs_and_errors(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client, told = Client(), []
    async with FarEnd() as far:
        await client.at.open(far.path, 115200)
        for command, answer in SAID:
            task = asyncio.create_task(client.at.ask(command))
            # With echo: it must not slip through either.
            await far.answer(command.encode(), command.encode() + b"\r" + answer.encode())
            try:
                told.append(repr(await task))
            except ModemError as error:
                told.append(f"{error!r} {error}")
        sending = asyncio.create_task(client.at.submit("AT+CMGS=18", PDU, prompt=15, result=15, late=15))
        await far.answer(b"AT+CMGS=18", b"AT+CMGS=18\r\r\n> ")
        await far.expect(PDU.encode() + b"\x1a")
        far.say(PDU[:20].encode() + b"\r\n" + PDU[20:].encode() + b"\x1a\r\n+CMGS: 7\r\n\r\nOK\r\n")
        told.append(repr(await sending))
        client.at.close()

    shown = "\n".join(
        [*(line.text for line in client.traced), *told, repr(client.heard), repr(client.traced)]
    )
    shown += caplog.text
    assert len(client.traced) > 50
    for secret in (CODE, CODE[:5], PIN, NUMBER[3:], WORD, PDU, PDU[20:], CODE.encode().hex()):
        assert secret.lower() not in shown.lower(), secret
