from __future__ import annotations

import asyncio

import pytest

from otpsvc.errors import NoAnswer
from otpsvc.gsm.at import At, Response
from otpsvc.gsm.port import Line, Receiver
from otpsvc.gsm.settings import Timeouts
from otpsvc.gsm.urc import (
    Boot,
    LateResult,
)
from tests.gsm.far_end import CAME, PDU, Client, FarEnd, at_once, cancel, end, submit, usual
from tests.waiting import until


async def test_an_answer_that_comes_late_is_not_the_next_ones(far: FarEnd, client: Client) -> None:
    task = asyncio.create_task(client.at.ask("AT+CGMI", timeout=0.05))
    await far.expect(b"AT+CGMI\r")
    with pytest.raises(NoAnswer, match=r"^AT\+CGMI: no answer in time$"):
        await end(task)
    far.say(b"\r\nLATE\r\n\r\nOK\r\n\r\nRING\r\n")
    await client.hears()

    await at_once(far, client)


@pytest.mark.parametrize("answer", [b"\r\nOK\r\n", b"\r\n+CMEE: 1\r\n\r\nOK\r\n", b"\r\nERROR\r\n"])
async def test_a_slow_modem_stays_in_step(far: FarEnd, client: Client, answer: bytes) -> None:
    """Every answer comes one command late: the mark alone tells which is which."""
    task = asyncio.create_task(client.at.ask("AT+CGMI", timeout=0.05))
    await far.expect(b"AT+CGMI\r")
    with pytest.raises(NoAnswer):
        await end(task)
    task = asyncio.create_task(client.at.ask("AT+CGMM"))
    await far.until(b"AT\r")
    far.say(b"\r\nLATE\r\n\r\nOK\r\n")
    await far.until(b"AT+CMEE?\r")
    far.say(b"\r\nOK\r\n" + answer)
    if b"CMEE" not in answer:
        far.say(b"\r\n+CMEE: 1\r\n\r\nOK\r\n")
    await far.answer(b"AT+CGMM", b"\r\nM1\r\n\r\nOK\r\n")

    assert await end(task) == Response((b"M1",))


async def test_a_cancelled_command_is_read_to_its_end(far: FarEnd, client: Client) -> None:
    task = asyncio.create_task(client.at.ask("AT+CMGL=4"))
    await far.expect(b"AT+CMGL=4\r")
    far.say(f"\r\n+CMGL: 1,1,,12\r\n{CAME}\r\n".encode())
    await cancel(task)
    task = asyncio.create_task(client.at.ask("AT+CGMM"))
    await asyncio.sleep(0.05)
    assert not far.seen
    far.say(f"\r\n+CMGL: 2,1,,12\r\n{CAME}\r\n\r\nOK\r\n".encode())
    await far.answer(b"AT+CGMM", b"\r\nM1\r\n\r\nOK\r\n")

    assert await end(task) == Response((b"M1",))
    assert client.heard == []


async def test_cancelled_before_its_turn_writes_nothing(far: FarEnd, client: Client) -> None:
    first = asyncio.create_task(client.at.ask("AT+CGMI"))
    await far.expect(b"AT+CGMI\r")
    second = asyncio.create_task(client.at.ask("AT+CSQ"))
    await asyncio.sleep(0)
    await cancel(second)
    far.say(b"\r\nOK\r\n")

    assert await end(first) == Response()
    await usual(far, client)


async def test_cancelled_before_the_prompt_is_escaped_when_it_comes(far: FarEnd, client: Client) -> None:
    handed: list[bool] = []
    task = submit(client, handed=lambda: handed.append(True))
    await far.expect(b"AT+CMGS=23\r")
    await cancel(task)
    far.say(b"\r\n> ")
    await far.expect(b"\x1b")
    far.say(b"\r\nOK\r\n")
    far.in_step()

    await usual(far, client)
    assert not handed


@pytest.mark.parametrize("answers", [0, 2])
async def test_cancelled_before_the_prompt_of_a_modem_that_answers_esc_otherwise(
    far: FarEnd, client: Client, answers: int
) -> None:
    task = submit(client)
    await far.expect(b"AT+CMGS=23\r")
    await cancel(task)
    far.say(b"\r\n> ")
    await far.expect(b"\x1b")
    if answers:
        far.say(b"\r\nOK\r\n")
    await asyncio.sleep(0.05)
    task = asyncio.create_task(client.at.ask("AT+CGMM"))
    # Whatever is written next: the second answer to ESC comes behind it.
    await far.until(b"\r")
    if answers:
        far.say(b"\r\nOK\r\n")
    far.in_step()
    await far.until(b"AT+CGMM\r")
    far.say(b"\r\nM1\r\n\r\nOK\r\n")

    assert await end(task) == Response((b"M1",))


async def test_cancelled_before_the_prompt_that_comes_during_the_resync(far: FarEnd, client: Client) -> None:
    task = submit(client)
    await far.expect(b"AT+CMGS=23\r")
    await cancel(task)
    task = asyncio.create_task(client.at.ask("AT+CGMM"))
    await far.until(b"AT\r")  # it was ignored: the modem was busy with the prompt
    far.say(b"\r\n> ")
    await far.expect(b"\x1b")
    far.in_step()
    far.say(b"\r\nOK\r\n")
    await far.answer(b"AT+CGMM", b"\r\nM1\r\n\r\nOK\r\n")

    assert await end(task) == Response((b"M1",))


async def test_cancelled_in_the_moment_of_the_prompt(far: FarEnd, client: Client) -> None:
    task = submit(client)
    await far.expect(b"AT+CMGS=23\r")
    client.at.received(b"\r\n> ")
    await cancel(task)
    await far.expect(b"\x1b")
    far.say(b"\r\nOK\r\n")
    far.in_step()

    await usual(far, client)


async def test_cancelled_after_ctrl_z_is_read_before_the_next(far: FarEnd, client: Client) -> None:
    handed: list[bool] = []
    task = submit(client, handed=lambda: handed.append(True))
    await far.answer(b"AT+CMGS=23", b"\r\n> ")
    await far.expect(PDU.encode() + b"\x1a")
    await cancel(task)
    assert handed
    task = asyncio.create_task(client.at.ask("AT+CGMM"))
    await asyncio.sleep(0.05)
    assert not far.seen
    far.say(b"\r\n+CMGS: 7\r\n\r\nOK\r\n")
    await far.answer(b"AT+CGMM", b"\r\nM1\r\n\r\nOK\r\n")

    assert await end(task) == Response((b"M1",))
    assert client.heard == [LateResult(7)]


async def test_cancelled_in_the_moment_of_the_result(far: FarEnd, client: Client) -> None:
    task = submit(client)
    await far.answer(b"AT+CMGS=23", b"\r\n> ")
    await far.expect(PDU.encode() + b"\x1a")
    client.at.received(b"\r\n+CMGS: 7\r\n\r\nOK\r\n")
    await cancel(task)

    assert client.heard == [LateResult(7)]
    await usual(far, client)


@pytest.mark.parametrize("moment", range(12))
async def test_cancelled_at_any_step_of_the_loop(far: FarEnd, client: Client, moment: int) -> None:
    """Whatever the step: what was handed over is told by `handed`, and the next command is answered."""
    handed: list[bool] = []
    task = submit(client, handed=lambda: handed.append(True))
    far.in_step()
    far.always(b"AT+CMGS=23", b"\r\n> ")
    far.always(b"AT+CGMM", b"\r\nM1\r\n\r\nOK\r\n")
    for _ in range(moment):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await end(task)
    written = bool(handed)
    if written:
        await far.until(b"\x1a")
        far.say(b"\r\n+CMGS: 7\r\n\r\nOK\r\n")

    assert await end(asyncio.create_task(client.at.ask("AT+CGMM"))) == Response((b"M1",))
    assert client.heard == ([LateResult(7)] if written else [])
    assert written or PDU.encode() not in far.seen


async def test_resync_of_a_modem_in_step(far: FarEnd, client: Client) -> None:
    far.in_step()

    assert await client.at.resync()


class AnswersAtOnce:
    """A line whose far end answers in the loop's next step: before any timer, on any machine."""

    def __init__(self, receiver: Receiver, answers: dict[bytes, bytes]) -> None:
        self._receiver = receiver
        self._answers = answers

    def write(self, data: bytes) -> None:
        if answer := self._answers.get(data):
            asyncio.get_running_loop().call_soon(self._receiver.received, answer)

    def close(self) -> None:
        pass


async def test_resync_of_a_modem_that_knows_no_mark() -> None:
    async def open_port(path: str, baud: int, receiver: Receiver) -> Line:
        return AnswersAtOnce(receiver, {b"AT\r": b"\r\nOK\r\n", b"AT+CMEE?\r": b"\r\nERROR\r\n"})

    at = At(heard=lambda _: None, lost=lambda _: None, timeouts=Timeouts(basic=0.05), open_port=open_port)
    await at.open("", 0)

    assert await at.resync()


async def test_resync_of_a_modem_that_hangs(far: FarEnd) -> None:
    client = Client(Timeouts(basic=0.05))
    await client.at.open(far.path, 115200)

    async def tried(count: int) -> None:
        """A pty takes its time."""
        await until(lambda: far.seen.count(b"\x1b\rAT") >= count, lambda: bytes(far.seen))
        assert bytes(far.seen).count(b"\x1b\rAT") == count

    assert not await client.at.resync()
    await tried(3)
    with pytest.raises(NoAnswer):
        await client.at.ask("AT+CGMM")
    await tried(6)
    assert b"CGMM" not in far.seen
    client.at.close()


async def test_resync_among_urcs_that_never_end(far: FarEnd, client: Client) -> None:
    async def chatter() -> None:
        while True:
            far.say(b"\r\n^RSSI:17\r\n")
            await asyncio.sleep(0.02)

    far.in_step()
    task = asyncio.create_task(chatter())

    assert await client.at.resync()
    task.cancel()


async def test_resync_when_it_starts_anew_meanwhile(far: FarEnd, client: Client) -> None:
    task = asyncio.create_task(client.at.resync())
    await far.until(b"AT\r")
    far.in_step()
    far.say(b"\r\nRDY\r\n")

    assert await end(task)
    assert client.heard == [Boot("RDY")]


async def test_an_ok_after_esc_is_no_late_success(far: FarEnd, client: Client) -> None:
    """A modem that had dropped Ctrl-Z answers OK to ESC: the text was never sent."""
    task = submit(client, result=0.2)
    await far.answer(b"AT+CMGS=23", b"\r\n> ")
    await far.expect(PDU.encode() + b"\x1a")
    with pytest.raises(NoAnswer):
        await end(task)
    syncing = asyncio.create_task(client.at.resync())
    await far.until(b"\x1b\r")
    far.in_step()
    far.say(b"\r\nOK\r\n")

    assert await syncing
    assert not [urc for urc in client.heard if isinstance(urc, LateResult)]
