"""Modems that do not tell the mark, that tell errors in words, and that are slow to show their prompt."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from otpsvc.errors import CommandFailed, NoAnswer, NotReady
from otpsvc.gsm.at import Response
from otpsvc.gsm.cause import Cause, cause_of
from otpsvc.gsm.emulator import Network
from otpsvc.gsm.ledger import MemoryLedger
from otpsvc.gsm.settings import Timeouts
from otpsvc.gsm.transaction import Transaction, final_of
from otpsvc.gsm.types import State
from tests.gsm.far_end import PDU, Client, FarEnd, end, submit
from tests.gsm.test_modem_rig import PlugIn, limits, running
from tests.waiting import until

# --- the mark


async def test_a_modem_that_answers_the_mark_with_a_bare_ok_becomes_ready(
    plug_in: PlugIn, net: Network
) -> None:
    modem = await plug_in(answers={"+CMEE?": "ok"})
    # It is in step when this time is over.
    async with running(modem, timeouts=limits(basic=2)) as rig:
        await rig.until(State.READY)
        await rig.send("Hello")

        assert (await net.arrived(1))[0].text == "Hello"
        assert State.RESYNC not in rig.states


async def test_a_bare_ok_of_a_modem_that_tells_the_mark_is_a_late_one(far: FarEnd) -> None:
    client = Client(Timeouts(basic=0.2))
    await client.at.open(far.path, 115200)
    for command in (b"AT", b"ATQ0V1"):
        far.always(command, b"\r\nOK\r\n")
    far.always(b"AT+CMEE?", b"\r\n+CMEE: 1\r\n\r\nOK\r\n")
    # However slow the machine is, one of them is heard in time.
    while not await client.at.resync():
        pass
    far.always(b"AT+CMEE?", b"\r\nOK\r\n")

    assert not await client.at.resync()
    client.at.close()


# --- errors in words

WORDS = {
    "CME": {
        10: "SIM not inserted",
        11: "SIM PIN required",
        12: "SIM PUK required",
        13: "SIM failure",
        14: "SIM busy",
        15: "SIM wrong",
        16: "incorrect password",
        17: "SIM PIN2 required",
        18: "SIM PUK2 required",
        20: "memory full",
        21: "invalid index",
        22: "not found",
        23: "memory failure",
        30: "no network service",
        31: "network timeout",
        32: "network not allowed - emergency calls only",
        100: "unknown",
    },
    "CMS": {
        21: "Short message transfer rejected",
        300: "ME failure",
        301: "SMS service of ME reserved",
        302: "operation not allowed",
        303: "operation not supported",
        304: "invalid PDU mode parameter",
        305: "invalid text mode parameter",
        310: "(U)SIM not inserted",
        311: "(U)SIM PIN required",
        312: "PH-(U)SIM PIN required",
        313: "(U)SIM failure",
        314: "(U)SIM busy",
        315: "(U)SIM wrong",
        316: "(U)SIM PUK required",
        317: "(U)SIM PIN2 required",
        318: "(U)SIM PUK2 required",
        320: "memory failure",
        321: "invalid memory index",
        322: "memory full",
        330: "SMSC address unknown",
        331: "no network service",
        332: "network timeout",
        500: "unknown error",
    },
}


@pytest.mark.parametrize(
    ("kind", "number", "words"),
    [(kind, number, words) for kind, table in WORDS.items() for number, words in table.items()],
)
def test_an_error_in_words_has_its_number(kind: str, number: int, words: str) -> None:
    for said in (words, words.upper(), words.capitalize(), words.replace("(U)", ""), f"  {words} "):
        assert final_of(f"+{kind} ERROR: {said}".encode()) == (kind, number)


@pytest.mark.parametrize("said", ["", "who knows", "\xff\xfe", "1234", "38 or so"])
def test_other_words_have_none(said: str) -> None:
    assert final_of(f"+CMS ERROR: {said}".encode("latin-1")) == ("CMS", -1)


async def test_a_refusal_in_words_is_of_its_class(plug_in: PlugIn) -> None:
    modem = await plug_in(worded=True)
    async with running(modem) as rig:
        await rig.until(State.READY)
        modem.fail_next("CMS 332")
        with pytest.raises(CommandFailed) as caught:
            await rig.send("Hello")

        assert (caught.value.number, cause_of(caught.value)) == (332, Cause.NETWORK)


async def test_a_full_store_told_in_words_is_emptied(plug_in: PlugIn, net: Network) -> None:
    modem = await plug_in(worded=True)
    async with running(modem) as rig:
        await rig.until(State.READY)
        modem.fail_next("CMS 322")
        await rig.send("Hello")

        assert (await net.arrived(1))[0].text == "Hello"


async def test_a_wrong_pin_told_in_words_is_tried_once(plug_in: PlugIn) -> None:
    modem = await plug_in(pin="1234", worded=True)
    async with running(modem, ledger=MemoryLedger(), pin="9999") as rig:
        await rig.until(State.PIN)

        assert rig.modem.reason == "the SIM refused the PIN; it is not tried again"
    assert modem.pin_wrong == 1


async def test_a_missing_sim_told_in_words_is_no_sim(plug_in: PlugIn) -> None:
    modem = await plug_in(worded=True)
    modem.sim.present = False
    async with running(modem) as rig:
        await rig.until(State.NO_SIM)

        assert rig.modem.reason == "no SIM"


# --- a late prompt


class Ahead:
    """In the place of `time` there: real time, and what a test puts on top."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


class Prompts:
    """Texts by one client, and how long each would have waited for its prompt."""

    def __init__(self, far: FarEnd, client: Client) -> None:
        self._far, self._client = far, client
        self._wait = client.at._wait
        self.limits: list[float] = []
        client.at._wait = self._noted  # type: ignore[method-assign]
        far.in_step()

    async def _noted(self, asked: Transaction, limit: float, patience: float = 0.0) -> Response | None:
        if asked.stage == "prompt":
            self.limits.append(limit)
        return await self._wait(asked, limit, patience)

    async def missed(self) -> None:
        task = submit(self._client, prompt=0.05)
        with pytest.raises(NoAnswer, match="prompt"):
            await end(task)

    async def shown(self, before: Callable[[], None] = lambda: None, **options: float) -> float:
        """Gives the seconds that it would have waited."""
        task = submit(self._client, prompt=10, **options)
        await self._far.until(b"AT+CMGS=23\r")
        before()
        self._far.say(b"\r\n> ")
        await self._far.until(PDU.encode() + b"\x1a")
        self._far.say(b"\r\n+CMGS: 7\r\n\r\nOK\r\n")
        assert await end(task) == 7
        return self.limits[-1]


async def test_after_a_missed_prompt_the_next_gets_more_time(far: FarEnd, client: Client) -> None:
    prompts = Prompts(far, client)
    assert await prompts.shown() == 10
    await prompts.missed()
    await far.until(b"AT+CMGS=23\r")

    assert await prompts.shown() == 15
    # It came in time.
    assert await prompts.shown() == 10


async def test_a_prompt_that_is_always_late_keeps_its_time(
    far: FarEnd, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Ahead()
    monkeypatch.setattr("otpsvc.gsm.at.time", clock)

    def late() -> None:
        clock.ahead += 12

    prompts = Prompts(far, client)
    await prompts.missed()
    await far.until(b"AT+CMGS=23\r")

    assert await prompts.shown(late) == 15
    assert await prompts.shown(late) == 15
    assert await prompts.shown() == 15
    assert await prompts.shown() == 10


async def test_no_late_prompt_moves_a_deadline(far: FarEnd, client: Client) -> None:
    prompts = Prompts(far, client)
    await prompts.missed()
    await far.until(b"AT+CMGS=23\r")

    assert await prompts.shown(until=time.monotonic() + 9) <= 9
    # A deadline that came before the prompt says nothing about the modem.
    task = submit(client, prompt=10, until=time.monotonic() + 0.2)
    with pytest.raises(NoAnswer, match="prompt"):
        await end(task)
    await far.until(b"AT+CMGS=23\r")
    assert await prompts.shown() == 10


async def test_a_modem_with_a_late_prompt_is_served(plug_in: PlugIn, net: Network) -> None:
    modem = await plug_in(prompt_delay=3)
    async with running(modem, timeouts=limits(prompt=2)) as rig:
        await rig.until(State.READY)
        with pytest.raises(NoAnswer, match="prompt"):
            await rig.send("missed")

        async def sent() -> bool:
            await rig.until(State.READY)
            try:
                await rig.send("Hello")
            except (NoAnswer, NotReady):
                return False
            return True

        await until(sent)
        assert [each.text for each in await net.arrived(1)] == ["Hello"]
