"""Quotas, soft limits and gaps of SIMs."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from itertools import pairwise

import pytest

from otpsvc.errors import Unavailable
from otpsvc.gsm.allowance import Allowance
from otpsvc.gsm.settings import ModemSettings
from otpsvc.gsm.types import Quota, State
from tests.gsm.scripted import Rig, job
from tests.waiting import until


def modem(name: str, **fields: object) -> ModemSettings:
    return ModemSettings(name=name, path="", **fields)  # type: ignore[arg-type]


async def test_a_full_sim_leaves_the_job_to_another() -> None:
    full = modem("a", quotas=(Quota(2, "day"),))
    rig = Rig(full, "b")

    sent = [(await rig.send(job())).modem for _ in range(6)]

    assert Counter(sent) == {"a": 2, "b": 4}
    assert await rig.used("a") == 2


async def test_all_quotas_used_up_says_when_to_come_again() -> None:
    rig = Rig(modem("a", quotas=(Quota(1, "day"),)), modem("b", quotas=(Quota(1, "month"),)))
    await rig.send(job())
    await rig.send(job())

    with pytest.raises(Unavailable, match="quota") as refused:
        await rig.send(job())

    assert refused.value.retry_after is not None
    assert 0 < refused.value.retry_after <= 86_400


async def test_a_full_sim_does_not_refuse_what_one_that_is_pulled_out_may_send() -> None:
    rig = Rig(modem("a", quotas=(Quota(1, "day"),)), "b")
    rig.radios["b"].state = State.ABSENT
    await rig.send(job())
    waits = rig.start(job())
    await until(lambda: rig.turns.length)

    rig.radios["b"].state = State.READY
    rig.turns.rouse()

    assert (await waits).modem == "b"


async def test_a_quota_too_small_for_a_long_text_still_takes_a_short_one() -> None:
    rig = Rig(modem("a", quotas=(Quota(2, "day"),)))
    with pytest.raises(Unavailable, match="quota"):
        await rig.send(job("x" * 400))

    assert (await rig.send(job("x" * 200))).parts == 2


async def test_above_its_soft_limit_a_sim_goes_last() -> None:
    rig = Rig(modem("a", quotas=(Quota(10, "day"),), soft=0.2), "b")

    sent = [(await rig.send(job())).modem for _ in range(10)]

    # One part more than the limit tells that it is reached.
    assert Counter(sent) == {"a": 3, "b": 7}
    rig.radios["b"].state = State.ABSENT
    assert (await rig.send(job())).modem == "a"


async def test_a_gap_lies_between_the_parts_of_a_sim(monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[float] = []
    note = Allowance.note_part

    def noted(self: Allowance, settings: ModemSettings, now: float) -> None:
        # The times that the gaps lie between: a radio's own clock looks a little later.
        times.append(now)
        note(self, settings, now)

    monkeypatch.setattr(Allowance, "note_part", noted)
    rig = Rig(modem("a", gap=0.05, jitter=0.02))

    await asyncio.gather(rig.send(job("x" * 400)), rig.send(job()))

    assert len(times) == len(rig.radios["a"].parts) == 4
    assert all(later - earlier >= 0.05 for earlier, later in pairwise(times))


async def test_a_gap_sends_the_next_text_elsewhere() -> None:
    rig = Rig(modem("a", gap=3000), modem("b", gap=3000), patience=0.05)

    assert [(await rig.send(job())).modem for _ in range(2)] == ["a", "b"]
    with pytest.raises(Unavailable, match="no modem is ready"):
        await rig.send(job())


async def test_parts_given_back_make_room_again() -> None:
    rig = Rig(modem("a", quotas=(Quota(1, "day"),)), "b")
    member = rig.members[0]
    member.allowance.note_full(1, 3000, time.monotonic())
    assert member.allowance.full(1, time.monotonic())

    await rig.desk.account.give_back(member, "sim-a", 1)

    assert not member.allowance.full(1, time.monotonic())
