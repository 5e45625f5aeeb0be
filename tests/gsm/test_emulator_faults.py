"""Each way to go wrong, once: what the client sees, and what the network really took."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from otpsvc.gsm.emulator import PROMPTS, EmulatedModem, Fault, Network
from otpsvc.gsm.parts import split
from otpsvc.gsm.pdu import Submit
from tests.gsm.terminal import Terminal, let_time_pass, reads
from tests.waiting import stays, until

Dial = Callable[[EmulatedModem], Awaitable[Terminal]]
PlugIn = Callable[..., Awaitable[EmulatedModem]]
BODY, LENGTH = Submit(to="+62812", part=split("Hello", reference=0)[0]).encoded()


async def silent(terminal: Terminal) -> None:
    """It answers nothing: there is no event to wait for, so it gets a while."""
    await stays(lambda: b"OK" not in terminal.seen and b"ERROR" not in terminal.seen, seconds=0.1)


async def submit(terminal: Terminal, *ends: bytes) -> str:
    """A text, and what is answered after its body."""
    await terminal.ask(f"AT+CMGS={LENGTH}", b">")
    return await terminal.ask(BODY + "\x1a", *ends)


@pytest.mark.parametrize(
    ("fault", "answer", "sent"),
    [
        ("ok", "+CMGS: 1\nOK", 1),
        ("CMS 500", "+CMS ERROR: 500", 0),
        ("CMS 500 sent", "+CMS ERROR: 500", 1),
        ("CME 30", "ERROR", 0),
        ("ERROR", "ERROR", 0),
        ("CMS 38 at body", "+CMS ERROR: 38", 0),
        ("no-cmgs", "OK", 1),
        ("late 0.05", "+CMGS: 1\nOK", 1),
    ],
)
async def test_answers_after_the_body(
    modem: EmulatedModem, dial: Dial, *, fault: str, answer: str, sent: int
) -> None:
    modem.dialogue.format.echo = False
    net = modem.network
    terminal = await dial(modem)
    modem.fail_next(fault)

    assert await submit(terminal) == answer
    assert len(net.sent) == sent
    assert (await submit(terminal)).endswith("OK")
    assert len(modem.handed) == 2


async def test_a_late_answer_is_late(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    """The network has the text long before."""
    modem = await plug_in(echo=False)
    terminal = await dial(modem)
    modem.fail_next("late 0.3")
    start = asyncio.get_running_loop().time()

    assert await submit(terminal) == "+CMGS: 1\nOK"
    assert asyncio.get_running_loop().time() - start >= 0.3


async def test_the_middle_of_a_pdu_is_enough(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    modem = await plug_in(echo=False)
    terminal = await dial(modem)
    modem.fail_next("reboot at body")

    await terminal.ask(f"AT+CMGS={LENGTH}", b"> ")
    terminal.type(BODY[:10].encode())
    await terminal.until(b"RDY\r\n")


@pytest.mark.parametrize("fault", ["CMS 301 at command", "ERROR at command", "CMS 310 at command"])
async def test_errors_instead_of_the_prompt(plug_in: PlugIn, dial: Dial, fault: str) -> None:
    modem = await plug_in(echo=False)
    terminal = await dial(modem)
    modem.script.append(fault)

    answer = await terminal.ask(f"AT+CMGS={LENGTH}")
    assert answer.replace("+CMS ERROR: ", "CMS ") + " at command" == fault
    assert await terminal.ask("AT") == "OK"


async def test_no_ok(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    modem = await plug_in(echo=False)
    terminal = await dial(modem)
    modem.fail_next("no-ok")

    assert await submit(terminal, b"+CMGS: 1\r\n") == "+CMGS: 1"
    await silent(terminal)
    assert len(net.sent) == 1


@pytest.mark.parametrize(("fault", "sent"), [("silent", 0), ("silent sent", 1)])
async def test_silence_after_the_body(
    plug_in: PlugIn, dial: Dial, net: Network, fault: str, sent: int
) -> None:
    """The modem lives and answers the next command."""
    modem = await plug_in(echo=False)
    terminal = await dial(modem)
    modem.fail_next(fault)
    await terminal.ask(f"AT+CMGS={LENGTH}", b">")

    terminal.type(BODY.encode() + b"\x1a")
    await silent(terminal)
    assert await terminal.ask("AT") == "OK"
    assert len(net.sent) == sent


async def test_no_prompt(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    modem = await plug_in(echo=False)
    terminal = await dial(modem)
    modem.fail_next("no-prompt")

    terminal.type(f"AT+CMGS={LENGTH}\r".encode())
    await until(lambda: modem.handed)
    assert terminal.seen == b""
    terminal.type(b"\x1b")
    assert await terminal.ask("AT") == "OK"


async def test_garbage(plug_in: PlugIn, dial: Dial) -> None:
    modem = await plug_in(echo=False)
    terminal = await dial(modem)
    modem.fail_next("garbage")

    answer = await submit(terminal)
    assert answer.endswith("+CMGS: 1\nOK")
    assert len(answer) > len("+CMGS: 1\nOK") + 10
    modem.quirks.garbage = 1.0
    assert len(await terminal.ask("AT+CSQ")) > 40


@pytest.mark.parametrize(
    ("fault", "sent"),
    [("hang at command", 0), ("hang at body", 0), ("hang", 0), ("hang sent", 1)],
)
async def test_hanging_and_waking(plug_in: PlugIn, dial: Dial, net: Network, fault: str, sent: int) -> None:
    modem = await plug_in(echo=False)
    terminal = await dial(modem)
    modem.fail_next(fault)

    terminal.type(f"AT+CMGS={LENGTH}\r".encode())
    if "command" not in fault:
        await terminal.until(b"> ")
        terminal.type(BODY.encode() + b"\x1a")
    await until(lambda: modem.hung)
    await reads(modem, terminal, b"AT+CSQ\r")
    modem.say("+UNHEARD: 1")
    await silent(terminal)
    modem.wake()
    assert await terminal.ask("AT") == "OK"
    assert modem.asked_for("+CSQ") == 0
    assert len(net.sent) == sent


async def test_hanging_while_a_text_is_on_its_way(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    """The network takes it; the answer is lost."""
    modem = await plug_in(echo=False)
    terminal = await dial(modem)
    net.latency = 1000.0
    await terminal.ask(f"AT+CMGS={LENGTH}", b"> ")

    terminal.type(BODY.encode() + b"\x1a")
    await until(lambda: modem.dialogue.running)
    modem.hang()
    let_time_pass(modem)
    assert len(net.sent) == 1
    modem.wake()
    assert await terminal.ask("AT") == "OK"


@pytest.mark.parametrize("end", ["reboot", "pull"])
async def test_ending_while_a_text_is_on_its_way(plug_in: PlugIn, dial: Dial, net: Network, end: str) -> None:
    """It never reaches the network."""
    modem = await plug_in(echo=False)
    terminal = await dial(modem)
    net.latency = 1000.0
    await terminal.ask(f"AT+CMGS={LENGTH}", b"> ")

    terminal.type(BODY.encode() + b"\x1a")
    await until(lambda: modem.dialogue.running)
    getattr(modem, end)()
    assert not modem.dialogue.running
    let_time_pass(modem)
    assert net.parts == []


async def test_a_modem_that_starts_hears_nothing(plug_in: PlugIn, dial: Dial) -> None:
    modem = await plug_in(echo=False, boot_time=1000.0)
    terminal = await dial(modem)
    await terminal.ask("AT")

    modem.reboot()
    await reads(modem, terminal, b"AT+CSQ\r")
    modem._start()
    await terminal.until(b"RDY\r\n")
    assert (await terminal.ask("AT")).endswith("OK")
    assert modem.asked_for("+CSQ") == 0


@pytest.mark.parametrize(
    ("fault", "sent"),
    [
        ("reboot at command", 0),
        ("reboot at prompt", 0),
        ("reboot at body", 0),
        ("reboot", 0),
        ("reboot sent", 1),
    ],
)
async def test_rebooting_anywhere(plug_in: PlugIn, dial: Dial, net: Network, fault: str, sent: int) -> None:
    """The answer never comes, the settings are gone, the echo is on again."""
    modem = await plug_in()
    terminal = await dial(modem)
    await terminal.ask("ATE0+CNMI=2,1,0,1,0;+CREG=1")
    modem.fail_next(fault)

    terminal.type(f"AT+CMGS={LENGTH}\r".encode())
    if "command" not in fault:
        await terminal.until(b"> ")
        if "prompt" not in fault:
            terminal.type(BODY.encode() + b"\x1a")
    seen = await terminal.until(b"Call Ready\r\n")
    assert b"\r\nRDY\r\n" in seen
    assert b"+CMGS" not in seen
    assert await terminal.ask("AT+CNMI?;+CREG?") == "AT+CNMI?;+CREG?\n+CNMI: 2,1,0,0,0\n+CREG: 0,1\nOK"
    assert len(net.sent) == sent


@pytest.mark.parametrize(
    ("fault", "sent"),
    [
        ("unplug at command", 0),
        ("unplug at prompt", 0),
        ("unplug at body", 0),
        ("unplug", 0),
        ("unplug sent", 1),
    ],
)
async def test_unplugged_anywhere(plug_in: PlugIn, dial: Dial, net: Network, fault: str, sent: int) -> None:
    modem = await plug_in(echo=False)
    terminal = await dial(modem)
    modem.fail_next(fault)

    terminal.type(f"AT+CMGS={LENGTH}\r".encode())
    if "command" not in fault:
        await terminal.until(b"> ")
        if not terminal.gone and "prompt" not in fault:
            terminal.type(BODY.encode() + b"\x1a")
    await terminal.unplugged()
    assert len(net.sent) == sent
    await modem.plug()
    assert await (await dial(modem)).ask("AT") == "OK"


async def test_a_reset_that_was_asked_for(plug_in: PlugIn, dial: Dial) -> None:
    terminal = await dial(await plug_in(echo=False))

    assert await terminal.ask("AT+CFUN=1,1") == "OK"
    await terminal.until(b"RDY\r\n")


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS.keys())
async def test_prompts(plug_in: PlugIn, dial: Dial, net: Network, prompt: bytes) -> None:
    terminal = await dial(await plug_in(echo=False, prompt=prompt))

    terminal.type(f"AT+CMGS={LENGTH}\r".encode())
    assert await terminal.until(prompt) == prompt
    assert await terminal.ask(BODY + "\x1a") == "+CMGS: 1\nOK"


async def test_noise_between_any_two_lines(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    """But never inside a pair, and never in a prompt."""
    modem = await plug_in(echo=False, noise=1.0, chatter=("^RSSI:17", "+CREG: 1"))
    terminal = await dial(modem)
    net.call(modem.number, "Hello", "+628999")
    await terminal.until(b'+CMTI: "SM",1\r\n')

    assert (await terminal.ask("AT"))[:4] in {"^RSS", "+CRE"}
    listed = (await terminal.ask("AT+CMGL=4")).splitlines()
    assert [line[:6] for line in listed if line[:6] not in {"^RSSI:", "+CREG:"}] == [
        "+CMGL:",
        "079126",
        "OK",
    ]
    assert listed[listed.index(next(line for line in listed if line[:5] == "+CMGL")) + 1].startswith("0791")
    assert len(listed) == 5
    shown = await terminal.ask(f"AT+CMGS={LENGTH}", b"> ")
    assert len(shown.splitlines()) == 2
    assert len((await terminal.ask(BODY + "\x1a")).splitlines()) == 4


async def test_all_the_chatter_leaves_the_answers_whole(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    modem = await plug_in(echo=False, noise=0.5, seed=7)
    terminal = await dial(modem)

    for _ in range(50):
        assert "+CMGS: " in await submit(terminal, b"\r\nOK\r\n")
    assert len(net.sent) == 50


async def test_an_indication_waits_for_the_end_of_the_prompt(
    plug_in: PlugIn, dial: Dial, net: Network
) -> None:
    modem = await plug_in(echo=False)
    terminal = await dial(modem)
    await terminal.ask(f"AT+CMGS={LENGTH}", b"> ")

    net.call(modem.number, "Hello", "+628999")
    assert terminal.seen == b""
    assert await terminal.ask(BODY + "\x1a") == "+CMGS: 1\nOK"
    await terminal.until(b'+CMTI: "SM",1\r\n')


async def test_a_port_that_is_told_nothing(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    modem = await plug_in(echo=False, mute=True)
    terminal = await dial(modem)

    net.call(modem.number, "Hello", "+628999")
    assert await terminal.ask("AT+CMGD=1") == "OK"
    assert terminal.seen == b""


async def test_chatter_at_the_prompt(plug_in: PlugIn, dial: Dial) -> None:
    terminal = await dial(await plug_in(echo=False, urc_at_prompt=True))

    await terminal.ask(f"AT+CMGS={LENGTH}", b"> \r\n^RSSI:11\r\n")
    assert await terminal.ask(BODY + "\x1a") == "+CMGS: 1\nOK"


@pytest.mark.parametrize(("busy", "answers"), [("ignored", 0), ("queued", 2)])
async def test_what_is_typed_while_a_command_runs(
    plug_in: PlugIn, dial: Dial, busy: str, answers: int
) -> None:
    modem = await plug_in(echo=False, busy=busy, answers={"+COPS?": "late 1000"})
    terminal = await dial(modem)

    terminal.type(b"AT+COPS?\rAT+CSQ\r")
    await until(lambda: modem.asked_for("+COPS?"))
    await reads(modem, terminal, b"AT+CSQ\r")
    let_time_pass(modem)
    await terminal.until(b"EMULATED")
    await terminal.ask("AT+CGSN")
    assert modem.asked_for("+CSQ") == answers


async def test_a_command_may_be_aborted(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    modem = await plug_in(echo=False, busy="abort")
    terminal = await dial(modem)
    net.latency = 1000.0

    await terminal.ask(f"AT+CMGS={LENGTH}", b"> ")
    terminal.type(BODY.encode() + b"\x1a")
    await until(lambda: modem.dialogue.running)
    terminal.type(b"\r")
    await terminal.until(b"OK\r\n")
    assert net.sent == []


async def test_special_answers(plug_in: PlugIn, dial: Dial) -> None:
    answers = {"+CMMS=": "CMS 500", "+CSCA?": "CMS 330", "+CSQ": "silent", "+CREG?": "reboot"}
    modem = await plug_in(echo=False, answers=answers, unsupported=frozenset({"+CNUM"}))
    terminal = await dial(modem)

    assert await terminal.ask("AT+CMMS=2") == "+CMS ERROR: 500"
    assert await terminal.ask("AT+CSCA?") == "+CMS ERROR: 330"
    assert await terminal.ask("AT+CNUM") == "ERROR"
    terminal.type(b"AT+CSQ\r")
    await silent(terminal)
    terminal.type(b"AT+CREG?\r")
    await terminal.until(b"RDY\r\n")


@pytest.mark.parametrize("command", ["AT" + " " * 190, "AT+CGMI;+CPMS=?;+CPMS=?;+CPMS=?;+CPMS=?"])
async def test_a_slow_line(plug_in: PlugIn, dial: Dial, command: str) -> None:
    """960 bytes a second each way, as at 9600 baud with start and stop bits."""
    loop = asyncio.get_running_loop()
    terminal = await dial(await plug_in(echo=False, rate=960.0))
    start = loop.time()

    answer = await terminal.ask(command)
    assert answer.endswith("OK")
    assert loop.time() - start >= max(len(command), len(answer)) / 960.0


# --- reports


async def _reports(net: Network, terminal: Terminal, count: int) -> list[str]:
    await terminal.ask("AT+CNMI=2,1,0,1,0")
    terminal.type(f"AT+CMGS={LENGTH}\r".encode())
    await terminal.until(b"> ")
    pdu, _ = Submit(to="+62812", part=split("Hello", reference=0)[0], report=True).encoded()
    terminal.type(pdu.encode() + b"\x1a")
    # Each line comes when it comes: the answer's two, and two of each report.
    await until(
        lambda: terminal.seen.endswith(b"\r\n") and len(terminal.seen.split()) >= 3 + 3 * count,
        lambda: terminal.seen,
    )
    return [line for line in terminal.seen.decode().splitlines() if line]


async def test_an_early_report(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    lines = await _reports(net, await dial(await plug_in(echo=False, report="early")), 1)

    assert [line[:4] for line in lines] == ["+CDS", "0791", "+CMG", "OK"]


async def test_a_report_after_the_answer(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    lines = await _reports(net, await dial(await plug_in(echo=False, report_delay=0.02)), 1)

    assert [line[:4] for line in lines] == ["+CMG", "OK", "+CDS", "0791"]


async def test_a_doubled_report(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    lines = await _reports(net, await dial(await plug_in(echo=False, report="double")), 2)

    assert lines[3] == lines[5]


async def test_a_report_on_nothing_known(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    lines = await _reports(net, await dial(await plug_in(echo=False, report="unknown")), 1)

    # TP-MR is the second octet after the SMSC.
    assert lines[0] == "+CMGS: 1"
    assert int(lines[3][18:20], 16) == 101


async def test_pending_then_failed(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    net.status["+62812"] = (0x30, 0x41)
    lines = await _reports(net, await dial(await plug_in(echo=False)), 2)

    assert [lines[n][-2:] for n in (3, 5)] == ["30", "41"]


async def test_a_report_only_where_one_was_asked_for(plug_in: PlugIn, dial: Dial) -> None:
    terminal = await dial(await plug_in(echo=False, report="early"))
    await terminal.ask("AT+CNMI=2,1,0,1,0")

    assert "+CDS: " not in await terminal.hand("+62812", "Hello")
    assert "+CDS: " in await terminal.hand("+62812", "Hello", report=True)


async def test_no_reports(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    net.reports = "none"
    terminal = await dial(await plug_in(echo=False))

    await terminal.ask("AT+CNMI=2,1,0,1,0")
    assert (await terminal.hand("+62812", "Hello", report=True)).endswith("+CMGS: 1\nOK")
    await silent(terminal)
    assert terminal.seen == b""
    net.reports = "stored"
    assert "(0,2),(0,2)" in await terminal.ask("AT+CNMI=?")


def test_words_that_are_no_fault() -> None:
    for words in ("", "explode", "CMS 500 at noon", "hang at prompt at body"):
        with pytest.raises(ValueError, match="fault"):
            Fault.of(words)
