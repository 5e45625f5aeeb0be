"""What goes wrong with modems in the field, one by one, on the whole way through the pool."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace

from otpsvc.errors import Refused, Unavailable
from otpsvc.gsm.emulator import PROMPTS, Network
from otpsvc.gsm.emulator.quirks import CHATTER
from otpsvc.gsm.types import Quota, State
from tests.gsm.fleet import QUICK, TIMEOUTS, Fleet, job
from tests.waiting import until

OTHER = "+6289999999999"
NETWORK = ["CMS 17", "CMS 22", "CMS 27", "CMS 38", "CMS 41", "CMS 42", "CMS 47", "CMS 331", "CMS 332"]
SIM = ["CMS 8", "CMS 10", "CMS 21", "CMS 29", "CMS 50", "CMS 69"]
STATES = ["CMS 310", "CMS 311", "CMS 312", "CMS 313", "CMS 315", "CMS 316", "CMS 317", "CMS 318", "CMS 330"]
ELSEWHERE = [
    ("sim", SIM),
    ("network", [*NETWORK, "CMS 500", "CME 30", "CME 31"]),
    ("busy", ["CMS 301", "CMS 314", "CMS 515", "CME 14", "CME 515"]),
    ("unknown", ["ERROR", "CMS 111", "CME 100"]),
]


@pytest.fixture
def net() -> Network:
    return Network(latency=0.005)


async def next_one(fleet: Fleet) -> tuple[int, str]:
    """Number of the modem that gets the next text, of two, and the name of the other one."""
    last = (await fleet.pool.send(job("plain"))).modem
    return 1 - int(last[1]), last


# Refusals, by class


@pytest.mark.parametrize(
    ("cause", "words"), ELSEWHERE, ids=lambda value: value if str(value) == value else ""
)
async def test_a_refusal_sends_it_elsewhere_and_rests_the_modem(
    net: Network, cause: str, words: list[str]
) -> None:
    async with Fleet(net, 2) as fleet:
        for word in words:
            number, other = await next_one(fleet)
            fleet.emulated[number].fail_next(word)
            failed = fleet.pool.modem(f"m{number}")

            sent = await fleet.pool.send(job(word))

            assert (sent.modem, sent.uncertain) == (other, False), word
            last = [event for event in fleet.told if getattr(event, "after", "") is State.DEGRADED][-1]
            assert cause in last.reason, word  # type: ignore[union-attr]
            failed.resume()
            await fleet.ready()

        assert Counter(fleet.texts) == Counter(words) + Counter({"plain": len(words)})


@pytest.mark.parametrize("word", ["CMS 1", "CMS 28", "CMS 30"])
async def test_a_bad_number_takes_two_modems_to_say_so(net: Network, word: str) -> None:
    net.refused[OTHER] = word
    async with Fleet(net, 2) as fleet:
        with pytest.raises(Refused):
            await fleet.pool.send(job(to=OTHER))

        assert [each.asked_for("+CMGS=") for each in fleet.emulated] == [1, 1]
        # The modems are not at fault.
        await fleet.ready()
        assert not {State.DEGRADED, State.SUSPENDED} & {*fleet.states("m0"), *fleet.states("m1")}


@pytest.mark.parametrize("word", ["CMS 304", "CMS 305"])
async def test_a_pdu_of_ours_that_is_wrong_is_tried_once(net: Network, word: str) -> None:
    async with Fleet(net, 2) as fleet:
        for each in fleet.emulated:
            each.fail_next(word)
        with pytest.raises(Refused, match=r"^pdu"):
            await fleet.pool.send(job())

        assert sum(each.asked_for("+CMGS=") for each in fleet.emulated) == 1


@pytest.mark.parametrize("word", [*STATES, "CME 10", "CME 11", "CME 12", "CME 13"])
async def test_a_refusal_because_of_the_sim_sets_the_modem_up_anew(net: Network, word: str) -> None:
    async with Fleet(net, 2) as fleet:
        number, other = await next_one(fleet)
        modem, asked = fleet.emulated[number], fleet.emulated[number].asked_for("+CPIN?")
        modem.fail_next(word)

        assert (await fleet.pool.send(job())).modem == other
        assert fleet.texts == ["plain", "Your code is 123456"]
        await until(lambda: modem.asked_for("+CPIN?") > asked)


@pytest.mark.parametrize("word", ["CMS 320", "CMS 321", "CMS 322"])
async def test_a_full_store_is_cleaned_and_the_same_modem_sends(net: Network, word: str) -> None:
    async with Fleet(net, 2) as fleet:
        number, _ = await next_one(fleet)
        fleet.emulated[number].fail_next(word)

        assert (await fleet.pool.send(job())).modem == f"m{number}"
        assert fleet.texts == ["plain", "Your code is 123456"]


@pytest.mark.parametrize("every", ["CMS 500", "CMS 38 at command", "no-prompt"])
async def test_one_of_two_modems_that_always_fails_stops_nothing(net: Network, every: str) -> None:
    async with Fleet(net, 2, timeouts=replace(TIMEOUTS, prompt=3)) as fleet:
        fleet.emulated[0].quirks.every = every

        sent = await asyncio.gather(*(fleet.pool.send(job(str(n))) for n in range(30)))

        assert {(each.modem, each.uncertain) for each in sent} == {("m1", False)}
        assert sorted(fleet.texts) == sorted(str(n) for n in range(30))
        assert fleet.pool.doubts == 0


# The dialogue


@pytest.mark.parametrize("line", CHATTER, ids=lambda line: line.split(":")[0])
async def test_a_line_that_nobody_asked_for_between_any_two(net: Network, line: str) -> None:
    async with Fleet(net, quirks={"noise": 1.0, "chatter": (line,)}) as fleet:
        for text in ("one", "two"):
            await fleet.pool.send(job(text, id=text))

        assert fleet.texts == ["one", "two"]
        await until(lambda: len(fleet.delivered) == 2)
        assert {each.job for each in fleet.delivered if each.ok} == {"one", "two"}


async def test_line_noise_changes_no_text(net: Network) -> None:
    async with Fleet(net, 2, quirks={"garbage": 0.3}) as fleet:
        await asyncio.gather(*(fleet.pool.send(job(str(n))) for n in range(30)))

        assert sorted(fleet.texts) == sorted(str(n) for n in range(30))
        # It stands in front of what the SIM says, too.
        assert not {State.PIN, State.NO_SIM, State.SUSPENDED} & {*fleet.states("m0"), *fleet.states("m1")}


@pytest.mark.parametrize("prompt", PROMPTS)
async def test_every_prompt_of_a_modem_that_always_echoes(net: Network, prompt: str) -> None:
    quirks = {"prompt": PROMPTS[prompt], "unsupported": frozenset({"E"})}
    async with Fleet(net, quirks=quirks) as fleet:
        assert fleet.emulated[0].dialogue.format.echo
        for text in ("one", "two"):
            await fleet.pool.send(job(text))

        assert fleet.texts == ["one", "two"]
        assert fleet.pool.modem("m0").facts.manufacturer == fleet.emulated[0].quirks.manufacturer


@pytest.mark.parametrize(
    "quirks",
    [
        {"urc_at_prompt": True},
        {"rate": 4000.0},
        {"delay": 0.02},
        {"busy": "abort"},
        {"busy": "queued"},
        {"mute": True},
        {"sim_busy": 0.5, "registration": 0.5},
        {"ds": (0, 2)},
    ],
    ids=lambda quirks: next(iter(quirks)),
)
async def test_other_modems_send_as_well(net: Network, quirks: dict[str, Any]) -> None:
    async with Fleet(net, quirks=quirks) as fleet:
        for text in ("one", "two " * 50):
            await fleet.pool.send(job(text))

        assert fleet.texts == ["one", "two " * 50]
        assert fleet.pool.doubts == 0


async def test_a_modem_that_echoes_again_after_a_reboot(net: Network) -> None:
    async with Fleet(net) as fleet:
        (modem,) = fleet.emulated
        asked = modem.asked_for("+CGMI")
        modem.reboot()
        assert modem.dialogue.format.echo
        sent = await fleet.pool.send(job())

        assert (sent.uncertain, fleet.texts) == (False, ["Your code is 123456"])
        assert modem.asked_for("+CGMI") > asked
        assert not modem.dialogue.format.echo


@pytest.mark.parametrize("fault", ["no-ok", "no-cmgs", "garbage"])
async def test_half_an_answer_is_one(net: Network, fault: str) -> None:
    async with Fleet(net, 2) as fleet:
        number, _ = await next_one(fleet)
        fleet.emulated[number].fail_next(fault)
        sent = await fleet.pool.send(job())

        assert (sent.modem, sent.uncertain, fleet.pool.doubts) == (f"m{number}", False, 0)
        assert sent.references[0] == (-1 if fault == "no-cmgs" else net.parts[-1].reference)
        assert len(fleet.texts) == 2


@pytest.mark.parametrize("what", ["reboot", "unplug", "hang"])
@pytest.mark.parametrize("place", ["prompt", "body"])
async def test_an_end_in_the_middle_of_a_text_loses_and_doubles_nothing(
    net: Network, what: str, place: str
) -> None:
    async with Fleet(net, 2, timeouts=QUICK if what == "hang" else TIMEOUTS, report_wait=0.3) as fleet:
        number, other = await next_one(fleet)
        fleet.emulated[number].fail_next(f"{what} at {place}")

        assert (await fleet.pool.send(job())).modem == other
        assert fleet.texts == ["plain", "Your code is 123456"]

        fleet.emulated[number].wake()
        await fleet.emulated[number].plug()
        await until(lambda: fleet.pool.modem(f"m{number}").state in {State.READY, State.DEGRADED})
        fleet.pool.modem(f"m{number}").resume()
        await fleet.ready()
        assert (await fleet.pool.send(job("after", modem=f"m{number}"))).uncertain is False


# Texts, reports, deadlines


async def test_every_letter_that_takes_two_and_emoji_arrive(net: Network) -> None:
    texts = [f"a{letter}b" for letter in "\f^{}\\[~]|€"]
    texts += ["[{~}]" * 40, "😀", "👩‍👩‍👧‍👦🇮🇩" * 20, "€" * 80, "x" * 159 + "€", "x" * 152 + "€" * 80]
    async with Fleet(net) as fleet:
        for text in texts:
            await fleet.pool.send(job(text))

        assert fleet.texts == texts


async def test_a_report_that_comes_late_settles_its_job(net: Network) -> None:
    async with Fleet(net, quirks={"report": "never"}) as fleet:
        await fleet.pool.send(job())
        await fleet.pool.send(job(id="other", to=OTHER))
        assert not fleet.delivered
        for part in net.parts:
            net.report(part)
        await until(lambda: len(fleet.delivered) == 2)

        assert {each.job for each in fleet.delivered if each.ok} == {"job", "other"}


async def test_a_modem_that_comes_in_step_after_the_deadline_writes_nothing(net: Network) -> None:
    limits = replace(TIMEOUTS, basic=3, prompt=0.5)
    async with Fleet(net, timeouts=limits, patience=0.5, of=[{"quotas": (Quota(100, "day"),)}]) as fleet:
        (modem,) = fleet.emulated
        modem.fail_next("hang at command")
        with pytest.raises(Unavailable):
            await fleet.pool.send(job())
        fleet.written.clear()
        fleet.pool.modem("m0").resume()
        end = time.monotonic() + 3
        waits = asyncio.create_task(fleet.pool.send(job("too late", deadline=end)))
        await until(lambda: fleet.pool.modem("m0").state is State.SENDING)
        # It hears nothing, and so is being brought in step.
        await until(lambda: fleet.written)
        await until(lambda: time.monotonic() > end)
        modem.wake()

        with pytest.raises(Unavailable, match="deadline"):
            await waits
        assert b"CMGS" not in fleet.written
        fleet.pool.modem("m0").resume()
        await fleet.ready()
        await fleet.pool.send(job("after"))
        assert fleet.texts == ["after"]
        assert await fleet.used(0) == 1
