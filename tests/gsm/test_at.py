from __future__ import annotations

import asyncio

import pytest

from otpsvc.errors import CommandFailed
from otpsvc.gsm.at import Response
from otpsvc.gsm.urc import (
    DirectReport,
    DirectText,
    Other,
    Registration,
    Ring,
    Signal,
    SimState,
    StoredText,
    Urc,
    UssdCame,
)
from tests.gsm.far_end import CAME, HEADER, PDU, Client, FarEnd, at_once, end, usual


async def test_asks_and_is_answered(far: FarEnd, client: Client) -> None:
    task = asyncio.create_task(client.at.ask("AT+CSQ"))
    await far.answer(b"AT+CSQ", b"\r\n+CSQ: 17,99\r\n\r\nOK\r\n")

    assert await end(task) == Response((b"+CSQ: 17,99",), "OK")


@pytest.mark.parametrize(
    "answer",
    [
        b"AT+CSQ\r\r\n+CSQ: 17,99\r\n\r\nOK\r\n",
        b"\r\r\n+CSQ: 17,99\r\r\nOK\r\r\n",
        b"\n+CSQ: 17,99\nOK\n",
        b"\r\n\r\n\r\n+CSQ: 17,99\r\n\r\n\r\n\r\nOK\r\n",
        b"\0\0\r\n+CS\0Q: 17,99\r\n\0\r\nO\0K\0\r\n",
        b"\r\n+CSQ: 17,99 \r\n\r\nOK \r\n",
        b"\r\n> \r\n+CSQ: 17,99\r\n\r\n> OK\r\n",
    ],
)
async def test_line_ends_echo_and_nul_do_not_matter(far: FarEnd, client: Client, answer: bytes) -> None:
    task = asyncio.create_task(client.at.ask("AT+CSQ"))
    await far.answer(b"AT+CSQ", answer)

    assert await end(task) == Response((b"+CSQ: 17,99",))


async def test_an_answer_in_single_octets(far: FarEnd, client: Client) -> None:
    task = asyncio.create_task(client.at.ask("AT+CSQ"))
    await far.expect(b"AT+CSQ\r")
    for octet in b"AT+CSQ\r\r\n+CSQ: 17,99\r\n\r\nOK\r\n":
        far.say(bytes([octet]))
        await asyncio.sleep(0)

    assert await end(task) == Response((b"+CSQ: 17,99",))


@pytest.mark.parametrize(
    ("answer", "kind", "number"),
    [
        (b"\r\nERROR\r\n", "", -1),
        (b"\r\n+CME ERROR: 14\r\n", "CME", 14),
        (b"\r\n+CMS ERROR: 500\r\n", "CMS", 500),
        (b"\r\n+CMS ERROR:38\r\n", "CMS", 38),
        (b"\r\n+CME ERROR: SIM busy\r\n", "CME", 14),
        (b"\r\n+CME ERROR: whatever\r\n", "CME", -1),
        (b"\r\nCOMMAND NOT SUPPORT\r\n", "", -1),
    ],
)
async def test_refusals(far: FarEnd, client: Client, answer: bytes, kind: str, number: int) -> None:
    task = asyncio.create_task(client.at.ask('AT+CPIN="7391"', secret=True))
    await far.answer(b'AT+CPIN="7391"', answer)

    with pytest.raises(CommandFailed) as caught:
        await end(task)

    assert (caught.value.command, caught.value.kind, caught.value.number) == ("AT+CPIN", kind, number)
    assert "7391" not in repr(caught.value) + str(caught.value)


async def test_one_command_after_the_other(far: FarEnd, client: Client) -> None:
    first, second = (
        asyncio.create_task(client.at.ask("AT+CGMI")),
        asyncio.create_task(client.at.ask("AT+CGMM")),
    )
    await far.expect(b"AT+CGMI\r")
    await asyncio.sleep(0.05)
    assert not far.seen
    far.say(b"\r\nA\r\n\r\nOK\r\n")
    await far.answer(b"AT+CGMM", b"\r\nB\r\n\r\nOK\r\n")

    assert [await end(first), await end(second)] == [Response((b"A",)), Response((b"B",))]


@pytest.mark.parametrize(
    ("command", "between", "answer", "heard"),
    [
        ("AT+CSQ", b"^RSSI:17", (b"+CSQ: 17,99",), [Signal(17)]),
        ("AT+CREG?", b"+CREG: 5", (b"+CREG: 1,1",), [Registration("CREG", 5)]),
        ("AT+CREG?", b'+CREG: 5,"00C3","1A2B"', (b"+CREG: 0,1",), [Registration("CREG", 5)]),
        ("AT+CREG?", b"+CREG: 2", (b'+CREG: 2,1,"00C3","1A2B",7',), [Registration("CREG", 2)]),
        ("AT+CREG=1", b"+CREG: 1", (), [Registration("CREG", 1)]),
        ("AT+CSQ;+CREG?", b"+CREG: 3", (b"+CSQ: 1,99", b"+CREG: 0,1"), [Registration("CREG", 3)]),
        ("AT+CEREG?", b"+CREG: 1,5", (b"+CEREG: 0,1",), [Registration("CREG", 1)]),
        ('AT+CUSD=1,"*100#",15', b'+CUSD: 0,"Balance 5",15', (), [UssdCame(0, "Balance 5", 15)]),
        ("AT+CUSD?", b'+CUSD: 2,"",15', (b"+CUSD: 1",), [UssdCame(2, "", 15)]),
        ("AT+CPIN?", b"+CPIN: NOT READY", (b"+CPIN: READY",), [SimState("NOT READY")]),
        ('AT+CPIN="1234"', b"+CPIN: READY", (), [SimState("READY")]),
        ("AT+CMGF?", b'+CMTI: "SM",3', (b"+CMGF: 0",), [StoredText("SM", 3)]),
        ("AT+CIMI", b"RING", (b"510100000000001",), [Ring()]),
        ("AT+CIMI", b"NO CARRIER", (b"510100000000001",), [Other("NO CARRIER")]),
        ("AT+CIMI", b"+UNHEARDOF: 1,2", (b"510100000000001",), [Other("+UNHEARDOF")]),
        ("AT+CIMI", f"{HEADER}\r\n{CAME}".encode(), (b"510100000000001",), [DirectText(CAME)]),
        ("AT+CIMI", b"+CDS: 12\r\n" + CAME.encode(), (b"510100000000001",), [DirectReport(CAME)]),
        ("AT+CMGL=4", f"{HEADER}\r\n{CAME}".encode(), (b"+CMGL: 1,1,,14", PDU.encode()), [DirectText(CAME)]),
    ],
)
async def test_a_urc_before_within_and_behind_an_answer(
    far: FarEnd, client: Client, *, command: str, between: bytes, answer: tuple[bytes, ...], heard: list[Urc]
) -> None:
    for place in range(len(answer) + 1):
        client.heard.clear()
        task = asyncio.create_task(client.at.ask(command))
        lines = [*answer[:place], between, *answer[place:]]
        await far.answer(command.encode(), b"".join(b"\r\n" + line + b"\r\n" for line in [*lines, b"OK"]))

        if command == "AT+CPIN?" and place:  # the later one tells the state of now
            assert await end(task) == Response((between,))
            assert client.heard == [SimState("READY")]
        else:
            assert await end(task) == Response(answer)
            assert client.heard == heard


async def test_a_second_signal_is_none_of_the_answer(far: FarEnd, client: Client) -> None:
    task = asyncio.create_task(client.at.ask("AT+CSQ"))
    await far.answer(b"AT+CSQ", b"\r\n+CSQ: 17,99\r\n\r\n+CSQ: 9,99\r\n\r\nOK\r\n")

    assert await end(task) == Response((b"+CSQ: 17,99",))
    assert client.heard == [Signal(9)]


async def test_a_header_without_its_pdu_eats_nothing(far: FarEnd, client: Client) -> None:
    task = asyncio.create_task(client.at.ask("AT+CCID"))
    await far.answer(b"AT+CCID", f"\r\n{HEADER}\r\n\r\n89621000000000000012\r\n\r\nOK\r\n".encode())

    assert await end(task) == Response((b"89621000000000000012",))
    await usual(far, client)
    assert client.heard == []


async def test_a_urc_between_a_header_and_its_pdu(far: FarEnd, client: Client) -> None:
    far.say(f"\r\n{HEADER}\r\n\r\n+CREG: 1\r\n\r\nRING\r\n{CAME}\r\n".encode())

    assert await client.hears(3) == [Registration("CREG", 1), Ring(), DirectText(CAME)]


async def test_a_ussd_text_with_line_ends(far: FarEnd, client: Client) -> None:
    far.say(b'\r\n+CUSD: 1,"1. Balance\n2. Data\r\n\r\n> 3. Back",15\r\n')

    assert await client.hears() == [UssdCame(1, "1. Balance\n2. Data\n> 3. Back", 15)]


async def test_a_ussd_text_whose_quote_stays_open_eats_no_result(far: FarEnd, client: Client) -> None:
    client.at.received(b'\r\n+CUSD: 0,"never closed\r\n')
    await asyncio.sleep(0.2)  # longer than a break within an answer
    await usual(far, client)

    assert client.heard == [UssdCame(0, "never closed", 15)]


async def test_a_result_ends_an_open_quote(far: FarEnd, client: Client) -> None:
    task = asyncio.create_task(client.at.ask('AT+CUSD=1,"*1#",15'))
    await far.answer(b'AT+CUSD=1,"*1#",15', b'\r\n+CUSD: 0,"never closed\r\n\r\nOK\r\n')

    assert await end(task) == Response()
    assert client.heard == [UssdCame(0, "never closed", 15)]


async def test_a_listener_that_fails_loses_no_line(far: FarEnd, caplog: pytest.LogCaptureFixture) -> None:
    def fails(urc: Urc) -> None:
        raise RuntimeError("4711 is the code")

    client = Client()
    client.at._exchange._heard = fails
    await client.at.open(far.path, 115200)
    task = asyncio.create_task(client.at.ask("AT"))
    await far.answer(b"AT", b"\r\nRING\r\n\r\nOK\r\n")

    assert await end(task) == Response()
    assert "RuntimeError" in caplog.text
    assert "4711" not in caplog.text
    client.at.close()


async def test_a_megabyte_of_garbage_is_dropped(far: FarEnd, client: Client) -> None:
    task = asyncio.create_task(client.at.ask("AT+CGMM"))
    await far.expect(b"AT+CGMM\r")
    for _ in range(1024):
        client.at.received(b"\xa5" * 1024)
    assert len(client.at._exchange._framer._open) == 0
    far.say(b"\r\nM1\r\n\r\nOK\r\n")

    assert await end(task) == Response((b"M1",))


async def test_an_answer_that_never_ends_is_capped(client: Client, far: FarEnd) -> None:
    task = asyncio.create_task(client.at.ask("AT+CGMM"))
    await far.expect(b"AT+CGMM\r")
    for _ in range(10_000):
        client.at.received(b"x" * 100 + b"\r\n")
    far.say(b"\r\nOK\r\n")

    assert sum(map(len, (await end(task)).lines)) <= 262_144


@pytest.mark.parametrize("command", ["AT\rAT+CFUN=0", "AT\x1a", "AT\x1b", "AT\n", "", 'AT+CUSD=1,"é"'])
async def test_a_command_is_one_printable_line(far: FarEnd, client: Client, command: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        await client.at.ask(command)
    await at_once(far, client)


@pytest.mark.parametrize("body", ["0011\x1a", "0011\r", "001", "hello"])
async def test_a_body_is_hex(far: FarEnd, client: Client, body: str) -> None:
    with pytest.raises(ValueError, match="hex"):
        await client.at.submit("AT+CMGS=1", body, prompt=1, result=1, late=1)
    await at_once(far, client)
