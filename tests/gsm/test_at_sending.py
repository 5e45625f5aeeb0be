from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest

from otpsvc.errors import CommandFailed, LineLost, NoAnswer
from otpsvc.gsm.at import LostWhileSending, Response
from otpsvc.gsm.urc import (
    DirectText,
    LateResult,
    Registration,
    Ring,
    Signal,
)
from tests.gsm.far_end import CAME, HEADER, PDU, Client, FarEnd, at_once, end, submit, usual


@pytest.mark.parametrize("prompt", [b"\r\n> ", b"\r\n>", b"> ", b">", b"\r\n> \r\n", b"> \r\n", b"\r\n>\r\n"])
@pytest.mark.parametrize("echo", [b"", b"AT+CMGS=23\r", b"AT+CMGS=23"])
@pytest.mark.parametrize("body_echo", [b"", PDU.encode(), PDU.encode() + b"\x1a"])
async def test_every_prompt_with_and_without_echo(
    far: FarEnd, client: Client, prompt: bytes, echo: bytes, body_echo: bytes
) -> None:
    handed: list[bool] = []
    task = submit(client, handed=lambda: handed.append(True))
    await far.answer(b"AT+CMGS=23", echo + prompt)
    await far.expect(PDU.encode() + b"\x1a")
    far.say(body_echo + b"\r\n+CMGS: 200\r\n\r\nOK\r\n")

    assert await end(task) == 200
    assert handed == [True]
    await usual(far, client)


async def test_a_body_echo_that_is_followed_by_its_result_at_once(far: FarEnd, client: Client) -> None:
    task = submit(client)
    await far.answer(b"AT+CMGS=23", b"\r\n> ")
    await far.expect(PDU.encode() + b"\x1a")
    far.say(PDU.encode() + b"\x1a+CMGS: 7\r\n\r\nOK\r\n")

    assert await end(task) == 7


async def test_nothing_is_written_after_the_deadline(far: FarEnd, client: Client) -> None:
    with pytest.raises(NoAnswer) as failed:
        await submit(client, until=time.monotonic() - 0.001)
    assert failed.value.stage == "prompt"
    await at_once(far, client)


async def test_a_prompt_that_comes_after_the_deadline_gets_no_body(
    far: FarEnd, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The time that is left when the command is written is this one, on any machine.
    monkeypatch.setattr("otpsvc.gsm.at.time", SimpleNamespace(monotonic=lambda: 1000.0))
    task = submit(client, until=1000.05)
    await far.until(b"AT+CMGS=23\r")
    with pytest.raises(NoAnswer) as failed:
        await task
    assert failed.value.stage == "prompt"
    far.say(b"\r\n> ")
    await far.until(b"\x1b")
    far.say(b"\r\nOK\r\n")
    assert PDU.encode() not in bytes(far.seen)


async def test_urcs_at_every_place_of_a_send(far: FarEnd, client: Client) -> None:
    task = submit(client)
    pair = f"\r\n{HEADER}\r\n{CAME}\r\n".encode()
    await far.answer(b"AT+CMGS=23", pair + b"\r\n+CREG: 1\r\n\r\n> ")
    await far.expect(PDU.encode() + b"\x1a")
    far.say(pair + b"\r\nRING\r\n\r\n+CMGS: 7\r\n" + pair + b"\r\n^RSSI:3\r\n\r\nOK\r\n")

    assert await end(task) == 7
    text = DirectText(CAME)
    assert client.heard == [text, Registration("CREG", 1), text, Ring(), text, Signal(3)]


@pytest.mark.parametrize("place", ["command", "result"])
async def test_a_refused_text(far: FarEnd, client: Client, place: str) -> None:
    handed: list[bool] = []
    task = submit(client, handed=lambda: handed.append(True))
    await far.expect(b"AT+CMGS=23\r")
    if place == "result":
        far.say(b"\r\n> ")
        await far.expect(PDU.encode() + b"\x1a")
    far.say(b"\r\n+CMS ERROR: 38\r\n")

    with pytest.raises(CommandFailed, match="38"):
        await end(task)

    assert bool(handed) is (place == "result")
    await usual(far, client)


@pytest.mark.parametrize(
    ("behind", "error"),
    [(b"\r\nERROR\r\n", CommandFailed), (b"\r\nOK\r\n", NoAnswer), (b"\r\nRDY\r\n", LineLost)],
)
async def test_an_end_right_behind_the_prompt_keeps_the_body_back(
    far: FarEnd, client: Client, behind: bytes, error: type[Exception]
) -> None:
    handed: list[bool] = []
    task = submit(client, handed=lambda: handed.append(True))
    await far.answer(b"AT+CMGS=23", b"\r\n> " + behind)

    with pytest.raises(error) as caught:
        await end(task)

    assert not handed
    assert getattr(caught.value, "stage", "prompt") == "prompt"
    assert not isinstance(caught.value, LostWhileSending)
    far.in_step()
    await usual(far, client)


async def test_no_prompt_is_escaped_and_a_late_one_too(far: FarEnd, client: Client) -> None:
    task = submit(client, prompt=0.05)
    await far.expect(b"AT+CMGS=23\r")
    with pytest.raises(NoAnswer) as caught:
        await end(task)
    assert caught.value.stage == "prompt"
    await far.expect(b"\x1b")
    far.say(b"\r\n> ")
    await far.expect(b"\x1b")
    far.say(b"\r\nOK\r\n")
    far.in_step()

    await usual(far, client)


async def test_ok_in_place_of_a_prompt_is_no_text_sent(far: FarEnd, client: Client) -> None:
    task = submit(client)
    await far.answer(b"AT+CMGS=23", b"\r\nOK\r\n")

    with pytest.raises(NoAnswer) as caught:
        await end(task)

    assert caught.value.stage == "prompt"
    far.in_step()
    await usual(far, client)


async def test_a_result_that_never_comes_is_doubt(far: FarEnd, client: Client) -> None:
    task = submit(client, result=0.05)
    await far.answer(b"AT+CMGS=23", b"\r\n> ")
    await far.expect(PDU.encode() + b"\x1a")

    with pytest.raises(NoAnswer) as caught:
        await end(task)

    assert caught.value.stage == "result"
    far.in_step()
    await usual(far, client)


@pytest.mark.parametrize(
    ("answer", "late"),
    [
        (b"\r\n+CMGS: 9\r\n\r\nOK\r\n", LateResult(9)),
        (b"\r\nOK\r\n", LateResult(-1)),
        (b"\r\n+CMS ERROR: 38\r\n", LateResult(-1, failed=True)),
    ],
)
async def test_a_late_result_is_told_once(
    far: FarEnd, client: Client, answer: bytes, late: LateResult
) -> None:
    task = submit(client, result=0.05)
    await far.answer(b"AT+CMGS=23", b"\r\n> ")
    await far.expect(PDU.encode() + b"\x1a")
    with pytest.raises(NoAnswer):
        await end(task)
    far.say(answer)

    assert await client.hears() == [late]
    far.say(b"\r\n+CMGS: 9\r\n")
    # Nothing is owed: the next command goes out without a resync.
    await at_once(far, client)
    assert client.heard == [late]


async def test_a_result_after_its_last_moment_is_not_told(far: FarEnd, client: Client) -> None:
    task = submit(client, result=0.05, late=0.05)
    await far.answer(b"AT+CMGS=23", b"\r\n> ")
    await far.expect(PDU.encode() + b"\x1a")
    with pytest.raises(NoAnswer):
        await end(task)
    far.say(b"\r\n+CMGS: 9\r\n\r\nOK\r\n\r\nRING\r\n")

    assert await client.hears() == [Ring()]


async def test_a_late_result_during_the_next_resync(far: FarEnd, client: Client) -> None:
    task = submit(client, result=0.05)
    await far.answer(b"AT+CMGS=23", b"\r\n> ")
    await far.expect(PDU.encode() + b"\x1a")
    with pytest.raises(NoAnswer):
        await end(task)
    task = asyncio.create_task(client.at.ask("AT+CGMM"))
    # It answers in order, each late: result, AT, mark.
    await far.until(b"AT\r")
    far.say(b"\r\n+CMGS: 9\r\n\r\nOK\r\n")
    await far.until(b"AT+CMEE?\r")
    far.say(b"\r\nOK\r\n")
    await asyncio.sleep(0.05)
    assert not far.seen
    far.say(b"\r\n+CMEE: 1\r\n\r\nOK\r\n")
    await far.answer(b"AT+CGMM", b"\r\nM1\r\n\r\nOK\r\n")

    assert await end(task) == Response((b"M1",))
    assert client.heard == [LateResult(9)]


async def test_cmgs_without_ok_is_sent(far: FarEnd, client: Client) -> None:
    task = submit(client, result=3600)
    await far.answer(b"AT+CMGS=23", b"\r\n> ")
    await far.expect(PDU.encode() + b"\x1a")
    far.say(b"\r\n+CMGS: 7\r\n")

    assert await end(task) == 7
    far.in_step()
    await usual(far, client)


async def test_ok_without_cmgs_is_sent(far: FarEnd, client: Client) -> None:
    task = submit(client)
    await far.answer(b"AT+CMGS=23", b"\r\n> ")
    await far.expect(PDU.encode() + b"\x1a")
    far.say(b"\r\nOK\r\n")

    assert await end(task) == -1
    await usual(far, client)
