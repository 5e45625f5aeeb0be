from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from otpsvc.errors import Uncertain
from otpsvc.gsm.cause import Cause
from otpsvc.gsm.doubt import same_number
from otpsvc.gsm.pdu import StatusReport
from otpsvc.gsm.types import Delivered, State
from tests.gsm.scripted import NUMBER, Cut, Rig, cms, job, silence
from tests.waiting import until

LONG = "A long text. " * 30
OTHER = "+6289999999999"


def report(reference: int, *, to: str = NUMBER, status: int = 0, at: float | None = None) -> StatusReport:
    sent = time.time() if at is None else at
    return StatusReport(reference=reference, recipient=to, status=status, submitted=sent, discharged=sent)


@pytest.mark.parametrize("error", [silence(), Cut("gone")], ids=["silence", "port gone"])
async def test_never_resend_says_uncertain_at_once(error: Cut) -> None:
    rig = Rig("a", "b", policy="never_resend")
    rig.radios["a"].script = [error]

    with pytest.raises(Uncertain):
        await rig.send(job())

    assert not rig.radios["b"].parts
    assert (rig.doubts.count, rig.members[0].uncertain) == (1, 1)


async def test_resend_now_sends_once_more_on_another_modem() -> None:
    rig = Rig("a", "b", policy="resend_now")
    rig.radios["a"].script = [silence()]

    sent = await rig.send(job())

    assert (sent.modem, sent.uncertain) == ("b", True)
    assert rig.radios["a"].strikes == [Cause.UNKNOWN]


async def test_the_only_modem_sends_once_more_itself() -> None:
    rig = Rig("a", policy="resend_now")
    rig.radios["a"].script = [silence()]

    sent = await rig.send(job())

    assert (sent.modem, sent.uncertain, len(rig.radios["a"].parts)) == ("a", True, 2)


async def test_a_resend_may_fail_definitely_and_go_on() -> None:
    rig = Rig("a", "b", "c", policy="resend_now")
    rig.radios["a"].script = [silence()]
    rig.radios["b"].script = [cms(42)]

    sent = await rig.send(job())

    assert (sent.modem, sent.uncertain) == ("c", True)


@pytest.mark.parametrize("error", [cms(42), cms(1), cms(304)])
async def test_a_resend_that_fails_everywhere_leaves_the_doubt(error: Exception) -> None:
    rig = Rig("a", "b", policy="resend_now")
    rig.radios["a"].script = [silence(), cms(1)]
    rig.radios["b"].script = [error]  # type: ignore[list-item]

    with pytest.raises(Uncertain):
        await rig.send(job())


async def test_a_second_doubt_is_the_last() -> None:
    rig = Rig("a", "b", "c", policy="resend_now")
    rig.radios["a"].script = [silence()]
    rig.radios["b"].script = [silence()]

    with pytest.raises(Uncertain, match="twice"):
        await rig.send(job())

    assert not rig.radios["c"].parts
    assert rig.doubts.count == 2
    assert not rig.doubts._open


async def test_a_report_is_waited_for_before_the_resend() -> None:
    rig = Rig("a", "b", report_wait=0.2)
    rig.radios["a"].script = [silence()]

    sent = await rig.send(job())

    assert (sent.modem, sent.uncertain) == ("b", True)
    assert rig.radios["b"].times[0] - rig.radios["a"].times[0] >= 0.2


async def test_a_report_from_that_sim_for_that_number_proves_it_was_sent() -> None:
    rig = Rig("a", "b")
    rig.radios["a"].script = [silence()]
    sends = rig.start(job())
    await until(lambda: rig.doubts.count)

    await rig.reports.came("sim-a", report(77))

    sent = await sends
    assert (sent.modem, sent.sim, sent.references, sent.uncertain) == ("a", "sim-a", (77,), False)
    assert not rig.radios["b"].parts
    assert rig.radios["a"].relieved == 1
    await until(lambda: rig.told)
    assert rig.told == [Delivered("job", ok=True)]


async def test_a_late_result_proves_it_was_sent() -> None:
    rig = Rig("a", "b")
    rig.radios["a"].script = [silence()]
    sends = rig.start(job())
    await until(lambda: rig.doubts.count)

    rig.doubts.late_result("b", 5)
    rig.doubts.late_result("a", 6)

    sent = await sends
    assert (sent.modem, sent.references, sent.uncertain) == ("a", (6,), False)


async def test_a_long_text_proven_by_its_last_part_has_all_references() -> None:
    rig = Rig("a", "b")
    done = asyncio.Event()
    done.set()
    rig.radios["a"].script = [done, done, silence()]
    sends = rig.start(job(LONG))
    await until(lambda: rig.doubts.count)

    # A report about its first part proves nothing about its last.
    await rig.reports.came("sim-a", report(1))
    assert rig.doubts.count
    rig.doubts.late_result("a", 9)

    assert (await sends).references == (1, 2, 9)


@pytest.mark.parametrize(
    ("sim", "other"),
    [
        ("sim-b", {}),
        ("sim-a", {"to": OTHER}),
        ("sim-a", {"at": 1_700_000_000.0}),
    ],
    ids=["another SIM", "another number", "sent before"],
)
async def test_a_report_about_something_else_proves_nothing(sim: str, other: dict[str, Any]) -> None:
    rig = Rig("a", "b", report_wait=600)
    rig.radios["a"].script = [silence()]
    sends = rig.start(job())
    await until(lambda: rig.doubts.count)

    await rig.reports.came(sim, report(77, **other))
    await until(lambda: rig.reports.unknown)
    rig.doubts.give_up()

    assert (await sends).uncertain
    await rig.reports.close()


async def test_the_report_of_an_earlier_text_to_the_number_proves_nothing_even_doubled() -> None:
    rig = Rig("a", "b", report_wait=600)
    earlier = await rig.send(job(id="earlier", modem="a"))
    rig.radios["a"].script = [silence()]
    sends = rig.start(job(modem=""))
    rig.radios["b"].state = State.ABSENT
    await until(lambda: rig.doubts.count)

    said = report(earlier.references[0])
    await rig.reports.came("sim-a", said)
    await rig.reports.came("sim-a", said)
    rig.doubts.give_up()

    assert (await sends).uncertain
    assert rig.told == [Delivered("earlier", ok=True)]


async def test_the_report_of_a_text_on_its_way_proves_nothing() -> None:
    """Another text to the same number by the same SIM, whose answer the report overtakes."""
    rig = Rig("a", report_wait=600)
    slow = asyncio.Event()
    rig.radios["a"].script = [silence(), slow]
    doubtful = rig.start(job(id="doubtful"))
    await until(lambda: rig.doubts.count)
    on_its_way = rig.start(job(id="on its way"))
    await until(lambda: len(rig.radios["a"].parts) == 2)

    await rig.reports.came("sim-a", report(2))
    slow.set()
    await on_its_way
    await until(lambda: rig.told)
    rig.doubts.give_up()

    assert (await doubtful).uncertain
    assert rig.told == [Delivered("on its way", ok=True)]


async def test_a_proof_ends_the_wait_for_a_modem_too() -> None:
    rig = Rig("a", "b", policy="resend_now")
    rig.radios["a"].script = [silence()]
    rig.radios["b"].state = State.REGISTERING
    sends = rig.start(job())
    await until(lambda: rig.turns.length and rig.doubts.count)

    await rig.reports.came("sim-a", report(77))

    assert (await sends).uncertain is False
    assert not rig.radios["b"].parts
    await rig.reports.close()


async def test_nothing_is_sent_again_after_the_deadline() -> None:
    rig = Rig("a", "b", report_wait=30)
    rig.radios["a"].script = [silence()]

    with pytest.raises(Uncertain, match="deadline"):
        await rig.send(job(deadline=time.monotonic() + 2))

    assert not rig.radios["b"].parts


async def test_other_jobs_and_modems_are_undisturbed_by_a_doubt() -> None:
    rig = Rig("a", "b", report_wait=30)
    rig.radios["a"].script = [silence()]
    doubtful = rig.start(job())
    await until(lambda: rig.doubts.count)

    sent = [(await rig.send(job(to=OTHER))).modem for _ in range(4)]

    assert sorted(sent) == ["a", "a", "b", "b"]
    rig.doubts.late_result("a", 1)
    await doubtful


async def test_a_pool_that_closes_ends_the_wait() -> None:
    rig = Rig("a", "b", report_wait=30)
    rig.radios["a"].script = [silence()]
    doubtful = rig.start(job())
    await until(lambda: rig.doubts.count)

    rig.turns.close()
    rig.doubts.give_up()

    with pytest.raises(Uncertain):
        await doubtful


async def test_a_cancelled_doubt_is_forgotten() -> None:
    rig = Rig("a", "b", report_wait=30)
    rig.radios["a"].script = [silence()]
    doubtful = rig.start(job())
    await until(lambda: rig.doubts.count)

    doubtful.cancel()
    await asyncio.gather(doubtful, return_exceptions=True)

    assert not rig.doubts._open
    rig.doubts.late_result("a", 1)
    assert (await rig.send(job(to=OTHER))).uncertain is False


def test_a_number_is_the_same_with_and_without_its_country() -> None:
    assert same_number("+628123456789", "08123456789")
    assert same_number("3636", "3636")
    assert not same_number("3636", "73636")
    assert not same_number("+628123456789", "+628123456780")
