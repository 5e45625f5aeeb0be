from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import pytest

from otpsvc.errors import LineLost, NoAnswer, NotReady, Refused, Unavailable
from otpsvc.gsm import pdu
from otpsvc.gsm.cause import Cause
from otpsvc.gsm.settings import ModemSettings
from otpsvc.gsm.types import State
from tests.gsm.scripted import Rig, ScriptedRadio, cms, job, silence

LONG = "A long text. " * 30


def references(radio: ScriptedRadio) -> list[int]:
    """Of the concatenation, of each part that it was handed."""
    return [concat.reference for part in radio.parts if (concat := part.data.concat)]


async def test_parts_go_in_order_by_one_modem_under_one_reference() -> None:
    rig = Rig("a", "b")

    sent = await rig.send(job(LONG))

    radio = rig.radios["a"]
    assert (sent.parts, sent.references) == (3, (1, 2, 3))
    assert [part.data.concat.number for part in radio.parts if part.data.concat] == [1, 2, 3]
    assert len(set(references(radio))) == 1
    assert pdu.whole(radio.parts) == LONG
    assert not rig.radios["b"].parts


async def test_texts_of_one_sim_have_references_of_their_own() -> None:
    rig = Rig("a")

    for _ in range(3):
        await rig.send(job(LONG))

    assert len(set(references(rig.radios["a"]))) == 3


async def test_every_part_may_wait_in_the_network_as_long_as_the_job_lives() -> None:
    rig = Rig("a")

    await rig.send(job(LONG, deadline=time.monotonic() + 1000))

    validities = [part.validity for part in rig.radios["a"].parts]
    assert all(v is not None and 900 < v <= 1000 for v in validities)


@pytest.mark.parametrize("reports", [True, False])
async def test_reports_are_asked_for_as_set(reports: bool) -> None:
    rig = Rig("a", reports=reports)

    await rig.send(job())

    assert [part.report for part in rig.radios["a"].parts] == [reports]


async def test_a_flash_text_is_one() -> None:
    rig = Rig("a")

    await rig.send(job(flash=True))

    assert rig.radios["a"].parts[0].flash


async def test_a_definite_failure_goes_to_the_next_modem_at_once() -> None:
    rig = Rig("a", "b")
    rig.radios["a"].script = [cms(42)]

    sends = rig.start(job())
    # Steps of the loop: nothing waits for a time to pass.
    for _ in range(50):
        await asyncio.sleep(0)

    assert sends.done()
    assert ((await sends).modem, (await sends).uncertain) == ("b", False)
    assert rig.radios["a"].strikes == [Cause.NETWORK]
    assert (await rig.used("a"), await rig.used("b")) == (0, 1)


async def test_no_prompt_is_a_definite_failure() -> None:
    rig = Rig("a", "b")
    rig.radios["a"].script = [NoAnswer("AT+CMGS", "prompt")]

    assert (await rig.send(job())).modem == "b"
    assert await rig.used("a") == 0
    assert rig.doubts.count == 0


async def test_a_part_that_fails_takes_the_whole_text_elsewhere_under_a_new_reference() -> None:
    rig = Rig("a", "b")
    await rig.send(job(LONG, modem="b"))
    rig.radios["b"].parts.clear()
    never = asyncio.Event()
    never.set()
    rig.radios["a"].script = [never, never, cms(500)]

    sent = await rig.send(job(LONG))

    assert (sent.modem, sent.parts, sent.uncertain) == ("b", 3, False)
    assert pdu.whole(rig.radios["b"].parts) == LONG
    assert set(references(rig.radios["a"])).isdisjoint(references(rig.radios["b"]))
    # Two of its parts went out and stay counted, the third did not.
    assert await rig.used("a") == 2


async def test_a_doubt_about_an_earlier_part_is_none_about_the_text() -> None:
    rig = Rig("a", "b", policy="never_resend")
    rig.radios["a"].script = [silence()]

    sent = await rig.send(job(LONG))

    assert (sent.modem, sent.uncertain, rig.doubts.count) == ("b", False, 0)
    assert await rig.used("a") == 1


async def test_every_modem_failed() -> None:
    rig = Rig("a", "b")
    rig.radios["a"].script = [cms(42)]
    rig.radios["b"].script = [cms(500)]

    with pytest.raises(Unavailable, match="CMS ERROR 500"):
        await rig.send(job())

    assert (len(rig.radios["a"].parts), len(rig.radios["b"].parts)) == (1, 1)


async def test_the_only_modem_is_tried_again_after_a_while() -> None:
    rig = Rig("a")
    rig.radios["a"].script = [cms(42)]

    await rig.send(job())

    earlier, later = rig.radios["a"].times
    assert later - earlier >= 0.9


async def test_the_only_modem_is_not_tried_beyond_the_patience() -> None:
    rig = Rig("a", patience=0.2)
    rig.radios["a"].script = [cms(42)]

    with pytest.raises(Unavailable, match="CMS ERROR 42"):
        await rig.send(job())


async def test_the_patience_is_for_all_waits_of_a_job_together() -> None:
    rig = Rig("a", patience=2.9)
    rig.radios["a"].script = [cms(42)] * 5

    with pytest.raises(Unavailable):
        await rig.send(job())

    # It waits one second, and then would have to wait two.
    assert len(rig.radios["a"].parts) == 2


async def test_a_busy_modem_is_asked_once_more() -> None:
    rig = Rig("a", ModemSettings(name="b", path="", prefixes=("+1",)))
    rig.radios["a"].script = [cms(314)]

    assert (await rig.send(job())).modem == "a"

    (earlier, later) = rig.radios["a"].times
    assert later - earlier >= 0.5


async def test_the_only_modem_that_stays_busy_is_given_up_after_the_patience() -> None:
    rig = Rig("a", "b", patience=5)
    rig.radios["a"].script = [cms(515)] * 20
    rig.radios["b"].script = [cms(42)] * 20

    with pytest.raises(Unavailable, match="CMS ERROR 515"):
        await rig.send(job())

    # Once more after a while, and no third time.
    assert (len(rig.radios["a"].parts), len(rig.radios["b"].parts)) == (2, 1)


async def test_another_modem_goes_before_a_busy_one() -> None:
    rig = Rig("a", "b")
    rig.radios["a"].script = [cms(515)]

    assert (await rig.send(job())).modem == "b"


async def test_a_number_refused_by_one_modem_is_tried_on_another() -> None:
    rig = Rig("a", "b")
    rig.radios["a"].script = [cms(28)]

    assert (await rig.send(job())).modem == "b"


async def test_the_only_modem_refuses_alone() -> None:
    rig = Rig("a")
    rig.radios["a"].script = [cms(1)]

    with pytest.raises(Refused, match="CMS ERROR 1"):
        await rig.send(job())


async def test_one_refusal_is_not_enough_while_another_modem_may_come_back() -> None:
    rig = Rig("a", "b", patience=0.1)
    rig.radios["a"].script = [cms(1)]
    rig.radios["b"].state = State.ABSENT

    with pytest.raises(Unavailable, match="CMS ERROR 1"):
        await rig.send(job())

    # It is not asked twice for an opinion.
    assert len(rig.radios["a"].parts) == 1


async def test_a_refusal_is_not_repeated_by_the_same_modem() -> None:
    rig = Rig("a", "b", patience=3)
    rig.radios["a"].script = [cms(1), cms(1)]
    rig.radios["b"].state = State.ABSENT

    with pytest.raises(Unavailable):
        await rig.send(job())

    assert len(rig.radios["a"].parts) == 1


async def test_our_own_fault_is_not_tried_again() -> None:
    rig = Rig("a", "b")
    rig.radios["a"].script = [cms(304)]

    with pytest.raises(Refused, match=r"^pdu"):
        await rig.send(job())

    assert not rig.radios["b"].parts
    assert not rig.radios["a"].strikes


@pytest.mark.parametrize("error", [NotReady("no"), LineLost("gone")], ids=type)
async def test_a_modem_that_went_away_may_have_the_text_when_it_is_back(error: LineLost | NotReady) -> None:
    rig = Rig("a", "b")
    rig.radios["b"].state = State.ABSENT
    rig.radios["a"].script = [error]

    assert (await rig.send(job())).modem == "a"
    assert not rig.radios["a"].strikes


async def test_a_modem_that_went_away_is_asked_again_though_others_failed() -> None:
    rig = Rig("a", "b")
    rig.radios["a"].script = [LineLost("gone")]
    rig.radios["b"].script = [cms(42)]

    assert (await rig.send(job())).modem == "a"


async def test_a_part_that_may_have_left_stays_counted() -> None:
    rig = Rig("a", policy="resend_now")
    rig.radios["a"].script = [silence()]

    await rig.send(job())

    assert await rig.used("a") == 2


async def test_many_jobs_over_failing_modems_all_leave_once() -> None:
    rig = Rig("a", "b", "c", "d")
    for name, radio in rig.radios.items():
        radio.script = [cms(515) if name == "d" else cms(42)] * 3

    sent = await asyncio.gather(*(rig.send(job(str(n))) for n in range(100)), return_exceptions=True)

    assert all(not isinstance(each, BaseException) or isinstance(each, Unavailable) for each in sent)
    done = sum(not isinstance(each, BaseException) for each in sent)
    total = sum([await rig.used(name) for name in rig.radios])
    assert total == done
    assert done >= 97
    assert not rig.tasks
    assert all(b >= a for a, b in pairwise(rig.radios["a"].times))
