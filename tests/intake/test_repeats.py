"""Repeats over doors that deliver twice, or to several at once: every command is run once."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import pytest

from otpsvc.errors import StillRunning
from otpsvc.feeder import Frame, Taken
from otpsvc.parcel import Parcels
from otpsvc.tenant import Codes, Limits
from tests.far_ends.valkey import ValkeyServer
from tests.intake.rig import NUMBER, Rig, answered, frame, owner, sms

ADDRESS = "anna@home.example"


async def ask(rig: Rig, one: Frame) -> dict[str, object]:
    return answered(await rig.intake().take(one))


def create(id: str = "user-123", **more: object) -> Frame:
    own = {"id": more.pop("frame_id", ""), "again": more.pop("again", False)}
    data = {"id": id, "provider": "mail", "to": ADDRESS} | more
    return frame("create-verification", data, asked=True, **own)


def check(code: str, id: str = "user-123", **more: object) -> Frame:
    own = {"id": more.pop("frame_id", ""), "again": more.pop("again", False)}
    return frame("check-verification", {"id": id, "otp": code}, asked=True, **own)


async def wrong(rig: Rig) -> str:
    return "111111" if await rig.code() != "111111" else "222222"


async def test_a_text_at_three_doors_at_once_is_one(rig: Rig) -> None:
    doors = [rig.intake() for _ in range(3)]

    taken = await asyncio.gather(*(door.take(sms(asked=True)) for door in doors))

    assert len({one.notes[0].message for one in taken}) == 1
    assert {answered(one)["response_code"] for one in taken} == {"0000"}


async def test_another_text_under_the_same_id_is_another_command(rig: Rig) -> None:
    notes = [(await rig.intake().take(sms(text))).notes[0].message for text in ("one", "two")]

    assert len(set(notes)) == 2


async def test_what_is_sealed_is_known_as_long_as_it_lives(rig: Rig, server: ValkeyServer) -> None:
    body = {"command": "send-sms", "data": {"receiver": NUMBER, "message": "x", "expiration": 4_000_000_000}}
    raw = Parcels("s" * 32).close(frame(body=body).body, id="1", until=4_000_000_000.0)
    await rig.intake(secret="s" * 32).take(Frame(body=raw))

    (key,) = [key for key in server.ask("KEYS", "once:*") if b"feed" not in key]
    assert server.ask("PTTL", key) > 3_600_000


async def test_create_and_check_by_a_broker(rig: Rig) -> None:
    made = await ask(rig, create())
    wrongly = await ask(rig, check(await wrong(rig)))
    right = await ask(rig, check(await rig.code()))
    used = await ask(rig, check(await rig.code()))
    unknown = await ask(rig, check("123456", "nothere"))

    said = [(one["response_code"], one["data"]["status"]) for one in (made, wrongly, right, used, unknown)]  # type: ignore[index]
    assert said == [
        ("0000", said[0][1]),
        ("1202", "wrong"),
        ("0000", "verified"),
        ("1202", "used"),
        ("1202", "unknown"),
    ]
    assert made["data"]["state"] == "pending"  # type: ignore[index]
    shown = str([made, wrongly, right, used])
    for secret in (ADDRESS, await rig.code(), "http://", "receipt"):
        assert secret not in shown


async def test_a_code_of_a_check_is_never_dead(rig: Rig) -> None:
    await ask(rig, create())
    taken = await rig.intake().take(check(await wrong(rig)))

    assert taken.refusals == {}


@pytest.mark.parametrize(("frame_id", "said"), [("m-1", True), ("m-1", False), ("", True)])
async def test_a_redelivered_create_sends_once(rig: Rig, frame_id: str, said: bool) -> None:
    """By the id that its publisher gave it, or by the broker's word."""
    rig.shop = owner(limits=Limits())
    first = await ask(rig, create(frame_id=frame_id))
    again = await ask(rig, create(frame_id=frame_id, again=said))
    await rig.code()

    assert first["data"]["gen"] == again["data"]["gen"]  # type: ignore[index]
    assert again["data"]["generate"] == 1  # type: ignore[index]
    assert again["response_code"] == "0000"
    assert len(rig.mail.taken) == 1


async def test_a_create_too_soon_is_refused(rig: Rig) -> None:
    rig.shop = owner(limits=Limits())
    await ask(rig, create())
    taken = await rig.intake().take(create())

    assert taken.refused == "resend_too_soon"
    assert answered(taken)["data"]["status"] == "limited"


async def test_a_create_that_is_running_is_waited_for(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    real, running = rig.node.verifier.create, 2

    async def creating(*args: Any, **more: Any) -> Any:
        nonlocal running
        running -= 1
        if running >= 0:
            raise StillRunning("planted")
        return await real(*args, **more)

    monkeypatch.setattr(rig.node.verifier, "create", creating)

    assert (await ask(rig, create()))["response_code"] == "0000"
    assert rig.counted == ["later", "later", "done"]


async def test_a_create_that_is_asked_again_on_purpose_sends_again(rig: Rig) -> None:
    rig.shop = owner(limits=Limits(enabled=False))
    await ask(rig, create())
    await ask(rig, create())

    assert (await ask(rig, create(frame_id="m-2")))["data"]["generate"] == 3  # type: ignore[index]


@pytest.mark.parametrize("frame_id", ["m-1", ""])
async def test_a_redelivered_check_has_its_first_answer(rig: Rig, frame_id: str) -> None:
    await ask(rig, create())
    code = await rig.code()
    asked = [check(code, frame_id=frame_id, again=again) for again in (False, True, True)]

    said = [(await ask(rig, one))["response_code"] for one in asked]

    assert said == ["0000"] * 3


async def test_a_redelivered_wrong_check_counts_once(rig: Rig) -> None:
    await ask(rig, create())
    bad = await wrong(rig)
    for again in (False, True, True, True):
        last = await ask(rig, check(bad, again=again))

    assert last["data"]["attempts"] == 1  # type: ignore[index]


async def test_a_right_code_that_others_send_again_is_used(rig: Rig) -> None:
    """Without the broker's word, and without an id, the same words are another guess."""
    await ask(rig, create())
    one = check(await rig.code())

    assert [(await ask(rig, one))["response_code"] for _ in range(2)] == ["0000", "1202"]


async def test_a_redelivered_request_otp_is_no_duplicate(rig: Rig) -> None:
    data = {"reference": "r-1", "receiver": ADDRESS, "message": "%s is your code"}
    said = [
        (await ask(rig, frame("request-otp", data | more, asked=True, again=again)))["response_code"]
        for again, more in (
            (False, {}),
            (True, {}),
            (False, {}),
            (False, {"param1": "other"}),
            (True, {"param1": "other"}),
        )
    ]

    assert said == ["0000", "0000", "1201", "1201", "1201"]
    await rig.code()
    assert len(rig.mail.taken) == 1


async def test_a_redelivered_verify_otp_has_its_first_answer(rig: Rig) -> None:
    data = {"reference": "r-1", "receiver": ADDRESS, "message": "%s is your code"}
    await ask(rig, frame("request-otp", data, asked=True))
    typed = {"reference": "r-1", "receiver": ADDRESS, "otp": await rig.code()}

    said = [
        (await ask(rig, frame("verify-otp", typed, asked=True, again=again)))["response_code"]
        for again in (False, True, False)
    ]

    assert said == ["0000", "0000", "1202"]


async def test_ussd_is_never_asked_twice(rig: Rig) -> None:
    data = {"modem_id": "m1", "ussd_code": "*123#"}

    # That it may have been delivered before does not mean that it was run.
    first = await ask(rig, frame("request-ussd", data, asked=True, again=True))
    again = await ask(rig, frame("request-ussd", data, asked=True, again=True))
    later = await ask(rig, frame("request-ussd", data, asked=True))

    assert [one["response_code"] for one in (first, again, later)] == ["0000", "1102", "0000"]
    assert len(rig.lines.asked) == 2


@pytest.mark.parametrize(
    "one",
    [
        frame("echo", {"a": 1}, asked=True, shared=True),
        frame("get-modem-list", {}, asked=True, shared=True),
        frame("request-ussd", {"modem_id": "m1", "ussd_code": "*123#"}, asked=True, shared=True),
        frame("create-verification", {"id": "user-123", "provider": "mail", "to": ADDRESS}, shared=True),
    ],
    ids=["echo", "list", "ussd", "create"],
)
async def test_one_of_several_consumers_runs_a_question(rig: Rig, one: Frame) -> None:
    doors = [rig.intake() for _ in range(3)]

    taken: list[Taken] = await asyncio.gather(*(door.take(one) for door in doors))

    assert sorted(rig.counted) == ["done", "elsewhere", "elsewhere"]
    assert sum(bool(one.answer) for one in taken) == one.asked


async def test_slow_hashes_are_repeated_as_well(rig: Rig) -> None:
    rig.shop = owner(codes=Codes(hash="argon2id"))
    rig.node.tenants["shop"] = rig.shop
    await ask(rig, create())
    code = await rig.code()

    said = [(await ask(rig, check(code, again=again)))["response_code"] for again in (False, True)]

    assert said == ["0000", "0000"]


async def test_random_ids_of_frames_do_not_meet(rig: Rig) -> None:
    await ask(rig, create())
    bad = await wrong(rig)
    for _ in range(3):
        last = await ask(
            rig,
            check(bad, frame_id=secrets.token_hex(4)),
        )

    assert last["data"]["attempts"] == 3  # type: ignore[index]
