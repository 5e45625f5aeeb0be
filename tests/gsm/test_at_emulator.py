"""The AT side with whole emulated modems: their prompts, echoes, noise, faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from otpsvc.errors import CommandFailed, LineLost, NoAnswer
from otpsvc.gsm.at import LostWhileSending
from otpsvc.gsm.emulator import PROMPTS, EmulatedModem, Network
from otpsvc.gsm.parts import split
from otpsvc.gsm.pdu import Submit
from tests.gsm.far_end import TIMEOUTS, Client
from tests.waiting import PATIENCE, until

PlugIn = Callable[..., Awaitable[EmulatedModem]]
NUMBER = "+6281234567889"


@pytest.fixture
async def dials() -> AsyncIterator[Callable[[EmulatedModem], Awaitable[Client]]]:
    clients: list[Client] = []

    async def dial(modem: EmulatedModem) -> Client:
        client = Client(TIMEOUTS)
        await client.at.open(str(modem.path), 115200)
        clients.append(client)
        assert await client.at.resync()
        await client.at.ask("AT+CMGF=0")
        return client

    yield dial
    for client in clients:
        client.at.close()


Dials = Callable[[EmulatedModem], Awaitable[Client]]


async def send(client: Client, text: str, **limits: float) -> int:
    body, length = Submit(to=NUMBER, part=split(text, reference=1)[0], validity=None, report=False).encoded()
    prompt, result = limits.get("prompt", PATIENCE), limits.get("result", PATIENCE)
    return await client.at.submit(f"AT+CMGS={length}", body, prompt=prompt, result=result, late=PATIENCE)


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("echo", [True, False])
async def test_every_prompt_among_noise(
    net: Network, plug_in: PlugIn, dials: Dials, prompt: str, echo: bool
) -> None:
    modem = await plug_in(prompt=PROMPTS[prompt], noise=0.3)
    client = await dials(modem)
    await client.at.ask(f"ATE{int(echo)}")

    for number in range(10):
        await send(client, f"text {number}")
        assert (await client.at.ask("AT+CSQ")).lines == (b"+CSQ: 20,99",)
        assert (await client.at.ask("AT+CREG?")).lines[0].startswith(b"+CREG: 0,1")

    assert [arrived.text for arrived in net.sent] == [f"text {number}" for number in range(10)]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("CMS 500", CommandFailed),
        ("CMS 38 at command", CommandFailed),
        ("ERROR at prompt", CommandFailed),
        ("no-prompt", NoAnswer),
        ("silent sent", NoAnswer),
        ("reboot", LostWhileSending),
        ("reboot at command", LineLost),
        ("unplug", LostWhileSending),
        ("unplug at command", LineLost),
        ("no-ok", None),
        ("no-cmgs", None),
        ("garbage", None),
    ],
)
async def test_every_fault_and_the_next_text_is_sent(
    net: Network, plug_in: PlugIn, dials: Dials, fault: str, error: type[Exception] | None
) -> None:
    modem = await plug_in()
    client = await dials(modem)
    modem.script.append(fault)
    prompt = 0.3 if fault == "no-prompt" else PATIENCE
    result = 0.3 if "silent" in fault else PATIENCE
    if error is None:
        await send(client, "first")
    else:
        with pytest.raises(error) as caught:
            await send(client, "first", prompt=prompt, result=result)
        assert isinstance(caught.value, LostWhileSending) is (error is LostWhileSending)

    if "unplug" in fault:
        await modem.plug()
        await client.at.open(str(modem.path), 115200)
    await until(client.at.resync)
    await client.at.ask("AT+CMGF=0")

    async def registered() -> bool:
        return (await client.at.ask("AT+CREG?")).lines[0].startswith(b"+CREG: 0,1")

    await until(registered)
    await send(client, "second")
    await net.arrived(1)
    assert net.sent[-1].text == "second"


async def test_cancelled_at_random_moments_nothing_gets_mixed_up(
    net: Network, plug_in: PlugIn, dials: Dials
) -> None:
    modem = await plug_in(delay=0.002)
    client = await dials(modem)
    written: list[str] = []
    for number in range(40):
        text = f"text {number}"
        body, length = Submit(
            to=NUMBER, part=split(text, reference=1)[0], validity=None, report=False
        ).encoded()
        handed: list[bool] = []
        task = asyncio.create_task(
            client.at.submit(
                f"AT+CMGS={length}",
                body,
                prompt=15,
                result=15,
                late=15,
                handed=lambda: handed.append(True),  # noqa: B023
            )
        )
        await asyncio.sleep(0.0005 * (number % 20))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        written += [text] * bool(handed)
        assert (await client.at.ask("AT+CSQ")).lines == (b"+CSQ: 20,99",)

    assert [arrived.text for arrived in net.sent] == written
