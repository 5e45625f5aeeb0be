from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from otpsvc.errors import Refused, Unavailable
from otpsvc.gsm.settings import ModemSettings
from otpsvc.gsm.types import Sent, State
from tests.gsm.scripted import NUMBER, Rig, cms, job
from tests.waiting import until


def modem(name: str, **fields: object) -> ModemSettings:
    return ModemSettings(name=name, path="", **fields)  # type: ignore[arg-type]


async def finished(task: asyncio.Task[Sent]) -> bool:
    """Whether it comes to its end by itself."""
    for _ in range(20):
        await asyncio.sleep(0)
    return task.done()


async def test_a_text_goes_out_by_an_idle_modem() -> None:
    rig = Rig("a")

    sent = await rig.send(job())

    assert (sent.modem, sent.sim, sent.references, sent.uncertain) == ("a", "sim-a", (1,), False)
    assert rig.radios["a"].relieved == 1


async def test_idle_modems_take_turns() -> None:
    rig = Rig("a", "b", "c")

    order = [(await rig.send(job())).modem for _ in range(9)]

    assert order == list("abcabcabc")


async def test_nothing_queues_behind_a_modem_that_hangs() -> None:
    rig = Rig("a", "b")
    hangs = asyncio.Event()
    rig.radios["a"].script = [hangs]
    stuck = rig.start(job())
    await until(rig.radios["a"].began.is_set)

    others = await asyncio.gather(*(rig.send(job()) for _ in range(20)))

    assert Counter(sent.modem for sent in others) == {"b": 20}
    hangs.set()
    assert (await stuck).modem == "a"


async def test_jobs_leave_in_the_order_in_which_they_came() -> None:
    rig = Rig("a")
    texts = [str(number) for number in range(10)]

    await asyncio.gather(*(rig.send(job(text)) for text in texts))

    assert [part.data.text for part in rig.radios["a"].parts] == texts


async def test_an_urgent_job_goes_before_all_that_are_not() -> None:
    rig = Rig("a")
    hangs = asyncio.Event()
    rig.radios["a"].script = [hangs]
    jobs = [rig.start(job(f"bulk {number}")) for number in range(40)]
    await until(lambda: rig.turns.length == 39)
    jobs += [rig.start(job(text, urgent=True)) for text in ("urgent 0", "urgent 1")]
    await until(lambda: rig.turns.length == 41)

    hangs.set()
    await asyncio.gather(*jobs)

    texts = [part.data.text for part in rig.radios["a"].parts]
    assert texts == ["bulk 0", "urgent 0", "urgent 1", *(f"bulk {number}" for number in range(1, 40))]


async def test_a_job_for_a_busy_modem_does_not_hold_up_the_next_one() -> None:
    rig = Rig(modem("a", prefixes=("+62",)), "b")
    hangs = asyncio.Event()
    rig.radios["a"].script = [hangs]
    first, waits = rig.start(job()), rig.start(job())
    await until(rig.radios["a"].began.is_set)

    assert (await rig.send(job(to="+15551234567"))).modem == "b"

    hangs.set()
    assert {(await first).modem, (await waits).modem} == {"a"}


async def test_a_prefix_is_a_rule_the_job_waits_for_its_modem() -> None:
    rig = Rig(modem("a", prefixes=("+62",)), "b", patience=0.05)
    rig.radios["a"].state = State.ABSENT

    with pytest.raises(Unavailable, match="no modem is ready"):
        await rig.send(job())

    assert not rig.radios["b"].parts


async def test_a_modem_that_becomes_ready_pulls_what_waits() -> None:
    rig = Rig("a")
    rig.radios["a"].state = State.REGISTERING
    waits = rig.start(job())
    await until(lambda: rig.turns.length)

    rig.radios["a"].state = State.READY
    rig.turns.rouse()

    assert (await waits).modem == "a"


async def test_a_job_names_its_modem_or_its_sim() -> None:
    rig = Rig("a", "b", "c")

    assert [(await rig.send(job(modem="b"))).modem for _ in range(3)] == ["b"] * 3
    assert [(await rig.send(job(sim="sim-c"))).modem for _ in range(3)] == ["c"] * 3


async def test_a_job_whose_deadline_passes_in_the_line_is_told_so() -> None:
    rig = Rig("a")
    rig.radios["a"].state = State.REGISTERING

    with pytest.raises(Unavailable, match="deadline"):
        await rig.send(job(deadline=time.monotonic() + 0.05))

    assert rig.turns.length == 0
    assert await rig.used("a") == 0


async def test_a_job_that_failed_keeps_its_place_in_the_line() -> None:
    rig = Rig("a", "b")
    hangs = asyncio.Event()
    rig.radios["a"].script = [cms(42)]
    rig.radios["b"].script = [hangs]
    blocks = rig.start(job("blocks", modem="b"))
    first = rig.start(job("first"))
    await until(lambda: rig.radios["a"].strikes)
    later = [rig.start(job(f"later {n}", modem="b")) for n in range(3)]
    await until(lambda: rig.turns.length == 4)

    hangs.set()
    await asyncio.gather(blocks, first, *later)

    assert [part.data.text for part in rig.radios["b"].parts[:2]] == ["blocks", "first"]


async def test_a_cancelled_job_leaves_the_line_and_its_slot() -> None:
    rig = Rig("a")
    hangs = asyncio.Event()
    rig.radios["a"].script = [hangs]
    first = rig.start(job())
    await until(rig.radios["a"].began.is_set)
    waits = rig.start(job())
    await until(lambda: rig.turns.length)

    waits.cancel()
    await asyncio.gather(waits, return_exceptions=True)
    hangs.set()
    await first

    assert rig.turns.length == 0
    assert (await rig.send(job())).modem == "a"


async def test_a_modem_given_in_the_moment_of_the_cancellation_is_not_lost() -> None:
    rig = Rig("a")
    rig.radios["a"].state = State.REGISTERING
    waits = rig.start(job())
    await until(lambda: rig.turns.length)
    rig.radios["a"].state = State.READY

    rig.turns.rouse()
    waits.cancel()
    await asyncio.gather(waits, return_exceptions=True)

    assert (await rig.send(job())).modem == "a"


async def test_a_removed_modem_ends_the_wait_of_those_that_named_it() -> None:
    rig = Rig("a", "b")
    rig.radios["a"].state = State.REGISTERING
    waits = rig.start(job(modem="a"))
    await until(lambda: rig.turns.length)

    rig.turns.members = rig.members[1:]
    rig.turns.check()

    with pytest.raises(Unavailable, match="unknown modem"):
        await waits


async def test_a_closed_line_serves_nobody() -> None:
    rig = Rig("a")
    rig.radios["a"].state = State.REGISTERING
    waits = rig.start(job())
    await until(lambda: rig.turns.length)

    rig.turns.close()

    with pytest.raises(Unavailable, match="stopping"):
        await waits


async def test_an_operator_gets_a_busy_modem_before_the_next_text() -> None:
    rig = Rig("a")
    hangs = asyncio.Event()
    rig.radios["a"].script = [hangs]
    first, second = rig.start(job()), rig.start(job())
    await until(rig.radios["a"].began.is_set)
    member = rig.members[0]
    owns = asyncio.create_task(member.own())
    await asyncio.sleep(0)

    hangs.set()
    await asyncio.gather(first, owns)
    await until(lambda: not rig.tasks)

    assert len(rig.radios["a"].parts) == 1
    rig.turns.free(member)
    await second


async def test_two_operators_and_a_text_have_the_modem_one_after_the_other() -> None:
    rig = Rig("a")
    member = rig.members[0]
    await member.own()
    owns = asyncio.create_task(member.own())
    await asyncio.sleep(0)
    waits = rig.start(job())
    await until(lambda: rig.turns.length)

    rig.turns.free(member)
    await owns
    rig.turns.rouse()
    assert not await finished(waits)

    rig.turns.free(member)
    assert (await waits).modem == "a"


async def test_an_operator_cut_off_in_the_moment_it_is_free_does_not_keep_it() -> None:
    rig = Rig("a")
    member = rig.members[0]
    await member.own()
    owns = asyncio.create_task(member.own())
    await asyncio.sleep(0)

    rig.turns.free(member)
    owns.cancel()
    await asyncio.gather(owns, return_exceptions=True)

    assert member.idle


async def test_an_operator_who_gives_up_leaves_the_modem_to_the_texts() -> None:
    rig = Rig("a")
    member = rig.members[0]
    await member.own()
    gives_up = asyncio.create_task(member.own())
    await asyncio.sleep(0)
    waits = rig.start(job())

    gives_up.cancel()
    await asyncio.gather(gives_up, return_exceptions=True)
    rig.turns.free(member)

    assert (await waits).modem == "a"


async def test_a_number_that_two_modems_refuse_is_refused() -> None:
    rig = Rig("a", "b", "c")
    rig.radios["a"].script = [cms(28)]
    rig.radios["b"].script = [cms(1)]

    with pytest.raises(Refused, match="CMS ERROR 1"):
        await rig.send(job(to=NUMBER))

    assert not rig.radios["c"].parts
    assert not rig.radios["a"].strikes
