from __future__ import annotations

import asyncio

import pytest

from otpsvc.errors import LineLost
from otpsvc.gsm.at import LostWhileSending, Response
from otpsvc.gsm.urc import (
    Boot,
)
from tests.gsm.far_end import PDU, Client, FarEnd, cancel, end, submit, usual


async def test_nothing_is_written_before_opening_or_after_closing(far: FarEnd, client: Client) -> None:
    client.at.close()
    client.at.close()
    with pytest.raises(LineLost):
        await client.at.ask("AT")
    with pytest.raises(LineLost):
        await client.at.resync()
    with pytest.raises(LineLost) as caught:
        await client.at.submit("AT+CMGS=23", PDU, prompt=1, result=1, late=1)

    assert not isinstance(caught.value, LostWhileSending)
    assert client.losses == []
    assert not client.at.is_open


@pytest.mark.parametrize("stage", ["idle", "command", "prompt", "result"])
@pytest.mark.parametrize("how", ["unplugged", "closed"])
async def test_the_line_is_lost_in_every_stage(far: FarEnd, client: Client, stage: str, how: str) -> None:
    task = asyncio.create_task(client.at.ask("AT")) if stage == "command" else submit(client)
    if stage == "idle":
        await cancel(task)
    else:
        await far.expect(b"AT\r" if stage == "command" else b"AT+CMGS=23\r")
    if stage == "result":
        far.say(b"\r\n> ")
        await far.expect(PDU.encode() + b"\x1a")
    if how == "unplugged":
        far.unplug()
        await client.is_cut()
    else:
        client.at.close()

    if stage != "idle":
        with pytest.raises(LineLost) as caught:
            await end(task)
        assert isinstance(caught.value, LostWhileSending) is (stage == "result")
        assert getattr(caught.value, "written", False) is (stage == "result")
    assert client.losses == (["the port is gone"] if how == "unplugged" else [])
    with pytest.raises(LineLost):
        await client.at.ask("AT")


async def test_the_line_is_lost_while_a_cancelled_result_is_awaited(far: FarEnd, client: Client) -> None:
    task = asyncio.create_task(client.at.ask("AT+CGMI"))
    await far.expect(b"AT+CGMI\r")
    await cancel(task)
    task = asyncio.create_task(client.at.ask("AT+CGMM"))
    await asyncio.sleep(0.02)
    far.unplug()

    with pytest.raises(LineLost):
        await end(task)


async def test_opened_again_after_a_loss(client: Client, far: FarEnd) -> None:
    task = asyncio.create_task(client.at.ask("AT"))
    await far.expect(b"AT\r")
    far.unplug()
    with pytest.raises(LineLost):
        await end(task)
    async with FarEnd() as other:
        await client.at.open(other.path, 115200)
        await usual(other, client)
        await client.at.open(other.path, 115200)
        await usual(other, client)


async def test_a_start_while_a_command_runs(far: FarEnd, client: Client) -> None:
    task = asyncio.create_task(client.at.ask("AT+CGMI"))
    await far.answer(b"AT+CGMI", b"\r\nRDY\r\n")

    with pytest.raises(LineLost):
        await end(task)

    assert client.heard == [Boot("RDY")]
    assert client.at.is_open
    assert client.losses == []
    far.in_step()
    await usual(far, client)


@pytest.mark.parametrize("word", [b"RDY", b"SMS Ready", b"NORMAL POWER DOWN", b"^SYSSTART"])
async def test_a_start_after_ctrl_z_is_doubt(far: FarEnd, client: Client, word: bytes) -> None:
    task = submit(client)
    await far.answer(b"AT+CMGS=23", b"\r\n> ")
    await far.expect(PDU.encode() + b"\x1a")
    far.say(b"\r\n" + word + b"\r\n")

    with pytest.raises(LostWhileSending):
        await end(task)


@pytest.mark.parametrize("how", ["starts anew", "opened again"])
async def test_a_text_whose_modem_lost_its_settings_meanwhile_is_not_written(
    far: FarEnd, client: Client, how: str
) -> None:
    first = asyncio.create_task(client.at.ask("AT+CSQ"))
    await far.expect(b"AT+CSQ\r")
    text = submit(client)
    await asyncio.sleep(0)
    far.in_step()
    if how == "starts anew":
        far.say(b"\r\nRDY\r\n")
    else:
        await client.at.open(far.path, 115200)

    for task in (first, text):
        with pytest.raises(LineLost) as lost:
            await end(task)
        assert not isinstance(lost.value, LostWhileSending)
    await usual(far, client)
    assert b"CMGS" not in far.seen


async def test_a_ready_sim_ends_no_command(far: FarEnd, client: Client) -> None:
    task = asyncio.create_task(client.at.ask("AT+CFUN=1"))
    await far.answer(b"AT+CFUN=1", b"\r\nSMS Ready\r\n\r\nOK\r\n")

    assert await end(task) == Response()
    assert client.heard == [Boot("SMS Ready", sure=False)]
