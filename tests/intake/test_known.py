"""Which questions are the same: by id for ten minutes, by the broker's word for a day, else none."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from otpsvc import command
from otpsvc.intake import _aged
from otpsvc.stores.redis import RedisStore
from otpsvc.tenant import Limits
from tests.intake.rig import NUMBER, Rig, answered, frame, owner, sms

ADDRESS = "anna@home.example"
REPEAT = "otpsvc.intake.REPEAT"


async def ask(rig: Rig, command: str, data: dict[str, Any], **more: Any) -> dict[str, Any]:
    return answered(await rig.intake().take(frame(command, data, asked=True, **more)))


CREATE = {"id": "user-123", "provider": "mail", "to": ADDRESS}
USSD = {"modem_id": "m1", "ussd_code": "*123#"}
REQUEST = {"reference": "r-1", "receiver": ADDRESS, "message": "%s is your code"}


async def test_an_id_that_is_used_again_later_is_another_question(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some publishers have one id for all they ask: a day later nobody may be left without a code."""
    first = await ask(rig, "create-verification", CREATE, id="rpc")
    soon = await ask(rig, "create-verification", CREATE, id="rpc")
    monkeypatch.setattr(REPEAT, 1)
    await asyncio.sleep(0.01)
    later = await ask(rig, "create-verification", CREATE, id="rpc")
    asked = []
    for _ in range(2):
        asked.append(await ask(rig, "request-ussd", USSD, id="rpc"))
        await asyncio.sleep(0.01)

    assert [one["data"]["generate"] for one in (first, soon, later)] == [1, 1, 2]
    assert [one["response_code"] for one in asked] == ["0000", "0000"]


async def test_the_brokers_word_counts_longer_than_the_id(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(REPEAT, 1)
    first = await ask(rig, "create-verification", CREATE, id="m-1")
    await asyncio.sleep(0.01)
    again = await ask(rig, "create-verification", CREATE, id="m-1", again=True)

    assert [one["data"]["generate"] for one in (first, again)] == [1, 1]


async def test_of_the_same_words_the_last_question_is_the_one_that_comes_again(rig: Rig) -> None:
    """A code that was tried before there was anything to try it on, and then again."""
    await ask(rig, "create-verification", CREATE)
    guess = {"id": "user-123", "otp": await rig.code()}
    await rig.node.verifier.cancel(rig.shop, "user-123")
    early = await ask(rig, "check-verification", guess)
    wrong = {"id": "user-456", "otp": "x11111"}
    before = await ask(rig, "check-verification", wrong)
    await ask(rig, "create-verification", CREATE | {"id": "user-456"})
    said = [await ask(rig, "check-verification", wrong, again=again) for again in (False, True, True)]

    assert early["data"]["status"] != "verified"
    assert before["data"]["status"] == "unknown"
    assert [one["data"]["attempts"] for one in said] == [1, 1, 1]


async def test_a_right_code_comes_again_with_its_own_answer(rig: Rig) -> None:
    await ask(rig, "check-verification", {"id": "user-123", "otp": "123456"})
    await ask(rig, "create-verification", CREATE)
    guess = {"id": "user-123", "otp": await rig.code()}
    said = [
        (await ask(rig, "check-verification", guess, again=again))["response_code"]
        for again in (False, True, False, True)
    ]

    # The third is a question of its own, and the fourth is that one again.
    assert said == ["0000", "0000", "1202", "1202"]


async def test_another_body_under_the_same_id_is_another_question(rig: Rig) -> None:
    first = await ask(rig, "create-verification", CREATE, id="m-1", again=True)
    other = await ask(rig, "create-verification", CREATE | {"id": "user-456"}, id="m-1", again=True)
    mine = await ask(rig, "create-verification", CREATE, id="m-2", again=True)

    assert (first["data"]["id"], other["data"]["id"]) == ("user-123", "user-456")
    assert mine["data"]["generate"] == 2


async def test_a_tenants_frames_are_its_own(rig: Rig) -> None:
    await ask(rig, "request-ussd", USSD, id="m-1")
    rig.shop = owner(name="bank", limits=Limits(enabled=False))

    assert (await ask(rig, "request-ussd", USSD, id="m-1"))["response_code"] == "0000"


async def test_a_code_that_was_used_meanwhile_is_not_sent_again(rig: Rig) -> None:
    await ask(rig, "request-otp", REQUEST)
    typed = {"reference": "r-1", "receiver": ADDRESS, "otp": await rig.code()}
    await ask(rig, "verify-otp", typed)
    again = await ask(rig, "request-otp", REQUEST, again=True)
    anew = await ask(rig, "request-otp", REQUEST)
    await rig.code(2)

    assert (again["response_code"], anew["response_code"]) == ("0000", "0000")
    assert len(rig.mail.taken) == 2


# --- several consumers -------------------------------------------------------


async def test_a_consumer_answers_the_same_words_each_time(rig: Rig) -> None:
    one, other = rig.intake(), rig.intake()
    asked = frame("echo", {"a": 1}, asked=True, shared=True)
    said = [bool((await door.take(asked)).answer) for door in (one, other, one, other)]

    assert said == [True, False, True, False]


async def test_who_runs_it_stays_so_while_it_comes(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the other one would find the name free, and run the frame that the first has just run."""
    monkeypatch.setattr("otpsvc.intake.SHARED", 3_600_000)
    one, other = rig.intake(), rig.intake()
    asked = frame("request-ussd", USSD, asked=True, shared=True)
    await one.take(asked)
    (key,) = await keys(rig, "feeder:*lease*")
    await call(rig, "PEXPIRE", key, 60_000)
    await one.take(asked)

    assert await call(rig, "PTTL", key) > 1_000_000
    assert (await other.take(asked)).answer == b""
    assert len(rig.lines.asked) == 2


async def keys(rig: Rig, pattern: str) -> list[str]:
    return [key.decode() for key in await call(rig, "KEYS", pattern)]


async def call(rig: Rig, *words: str | int) -> Any:
    assert isinstance(rig.store, RedisStore)
    return await rig.store.call(*words)


# --- how old it is -----------------------------------------------------------


@pytest.mark.parametrize(
    ("life", "waited", "ended", "left"),
    [(0.0, 100.0, False, 0.0), (60.0, 20.0, False, 40.0), (60.0, 60.0, False, -1.0),
     (60.0, 100.0, False, -1.0), (-1.0, 0.0, False, -1.0), (0.0, 0.0, True, -1.0), (60.0, 0.0, True, -1.0)],
)  # fmt: skip
def test_a_life_grows_shorter(life: float, waited: float, ended: bool, left: float) -> None:
    one = command.Send(word="send-sms", to=NUMBER, text="x", life=life)
    aged = _aged(one, time.monotonic() - waited, ended=ended)

    assert isinstance(aged, command.Send)
    assert aged.life == pytest.approx(left, abs=5)
    assert (aged.life < 0) == (left < 0)


async def test_no_answer_asks_for_the_modems_twice_a_second(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otpsvc.relay.LOOK", 3600.0)
    real, looked = rig.lines.lines, 0

    async def lines() -> Any:
        nonlocal looked
        looked += 1
        return await real()

    monkeypatch.setattr(rig.lines, "lines", lines)
    said = [answered(await rig.intake().take(sms(id=str(at), asked=True))) for at in range(5)]

    assert (looked, [one["data"]["status"] for one in said]) == (1, ["queued"] * 5)
    rig.lines.all = []
    rig.lines.add("m1", state="starting")
    monkeypatch.setattr("otpsvc.relay.LOOK", -1.0)
    assert answered(await rig.intake().take(sms(id="6", asked=True)))["data"]["status"] == "waiting"


async def test_a_modem_of_a_channel_that_the_tenant_may_not_use(rig: Rig) -> None:
    rig.shop = owner(channels=("mail",))
    for modem in ("m1", "sms.m1", ""):
        said = await ask(rig, "request-ussd", USSD | {"modem_id": modem})
        assert said["response_code"] == "1101"
    assert rig.lines.asked == []


async def test_a_text_that_was_taken_is_not_refused_since_its_number_was_blocked(rig: Rig) -> None:
    """A node dies before it acknowledged both: the broker brings the text and the block again."""
    first = await rig.intake().take(sms(asked=True))
    await rig.intake().take(frame("block-msisdn", {"msisdn": NUMBER}))
    again = await rig.intake().take(sms(asked=True, again=True))
    other = await rig.intake().take(sms("other", asked=True))

    assert (again.refusals, again.notes[0].message) == ({}, first.notes[0].message)
    assert other.refused == "blocked"


async def test_an_id_may_be_anything(rig: Rig) -> None:
    for id in ("\ud800", "m" * 100_000, "\0"):
        assert (await ask(rig, "request-ussd", USSD, id=id))["response_code"] == "0000"


@pytest.mark.parametrize("field", ["to", "otp", "extra", "locale", "\ud800"])
async def test_half_a_character_is_the_senders_fault(rig: Rig, field: str) -> None:
    for word in ("create-verification", "check-verification"):
        taken = await rig.intake().take(frame(word, CREATE | {"otp": "123456", field: "\ud800"}))
        assert taken.refused == "invalid_text"
