"""What relay clients are told of a message: accepted, waiting, refused, repeated; always the truth."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from otpsvc.errors import StoreUnavailable
from otpsvc.submit import Defaults
from tests.http.conftest import NewDoor
from tests.http.door import basic
from tests.http.gate import ALL_SCOPES, TO, Gate, gatekeeper, open_gate
from tests.waiting import until

TEXT = "Your parcel is here"
MAIL = "anna@home.example"


async def test_an_accepted_text(gate: Gate) -> None:
    answer = await gate.command("send-sms", id="m1", msisdn=TO, message="Grüße ☃ 🎉")

    said = "The message was accepted."
    id = answer["data"]["id"]
    assert answer == {
        "command": "send-sms",
        "response_code": "0000",
        "message": said,
        "data": {"modemID": "", "result": said, "id": id, "status": "queued"},
    }
    assert await gate.texts() == [(TO, "Grüße ☃ 🎉")]
    seen = await gate.api("GET", f"/api/messages/{id}")
    assert seen.json["data"]["route"] == "sms"


@pytest.mark.parametrize(
    ("command", "field"),
    [("send-mail", "recipient"), ("send-email", "receiver"), ("send-message", "receiver")],
)
async def test_an_accepted_mail(command: str, field: str, gate: Gate) -> None:
    answer = await gate.command(command, "/api/email", **{field: MAIL}, subject="Hello", message=TEXT)

    assert (answer["command"], answer["response_code"]) == (command, "0000")
    assert answer["message"] == "The mail was accepted."
    assert answer["data"]["status"] == "queued"
    assert await gate.mails() == [(MAIL, "Hello", TEXT)]


async def test_no_modem_is_ready(gate: Gate) -> None:
    gate.door.modems.add("one", state="registering")
    gate.door.modems.add("two", state="lost")
    waiting = await gate.command("send-sms", msisdn=TO, message=TEXT)
    gate.door.modems.add("three", state="sending")
    ready = await gate.command("send-sms", msisdn=TO, message=TEXT + "!")

    assert (waiting["response_code"], waiting["data"]["status"]) == ("0000", "waiting")
    assert waiting["message"] == waiting["data"]["result"] == "No modem is ready; it is sent when one is."
    assert ready["data"]["status"] == "queued"


async def test_an_answer_does_not_wait_for_what_is_sent(gate: Gate) -> None:
    gate.sms.hangs()

    for at in range(20):
        answer = await gate.command("send-sms", msisdn=TO, message=f"{TEXT} {at}")
        assert answer["response_code"] == "0000"

    await until(lambda: gate.sms.tried)
    assert not gate.sms.taken


async def test_no_way_out_is_no_device(new_door: NewDoor) -> None:
    gate = await open_gate(new_door, gatekeeper(channels=("mail",)))

    answer = await gate.command("send-sms", msisdn=TO, message=TEXT)

    assert answer == {
        "command": "send-sms",
        "response_code": "1101",
        "error": "No device connected",
        "data": {"id": "", "status": "refused"},
    }


async def test_the_configured_way(gate: Gate) -> None:
    gate.door.defaults = Defaults(sms="nowhere")
    nowhere = await gate.command("send-sms", msisdn=TO, message=TEXT)
    gate.door.defaults = Defaults(sms="sms")
    there = await gate.command("send-sms", msisdn=TO, message=TEXT)

    assert (nowhere["response_code"], there["response_code"]) == ("1101", "0000")


async def test_a_named_modem(gate: Gate) -> None:
    gate.door.modems.add("one", imei="356938035643809")
    gate.door.modems.add("two")
    gate.door.modems.add("two", channel="elsewhere")
    data = {"msisdn": TO, "message": TEXT}

    known = await gate.command("send-sms", **data, modem_id="356938035643809")
    unknown = await gate.command("send-sms", **data, modem_id="ten")
    twice = await gate.command("send-sms", **data, modem_id="two")
    other = await gate.command("send-sms", **data, modem_id="elsewhere.two")

    assert (known["response_code"], known["data"]["modemID"]) == ("0000", "356938035643809")
    assert [one["response_code"] for one in (unknown, twice, other)] == ["1101", "1101", "1102"]
    await gate.texts()
    assert [message.modem for message in gate.sms.taken] == ["sms.one"]


# The same once more.


async def test_a_repeat_is_sent_once_by_whatever_door(gate: Gate) -> None:
    first = await gate.command("send-sms", id="m1", msisdn=TO, message=TEXT)
    again = await gate.command("send-sms", "/api/message", id="m1", receiver=TO, message=TEXT)
    listed = await gate.ask({"command": "send-sms", "data": [{"id": "m1", "msisdn": TO, "message": TEXT}]})
    other = await gate.command("send-sms", id="m2", msisdn=TO, message=TEXT)

    assert again["data"]["id"] == first["data"]["id"] == listed["data"][0]["id"]
    assert again["response_code"] == "0000"
    assert other["data"]["id"] != first["data"]["id"]
    assert len(await gate.texts(2)) == 2


async def test_many_at_once_are_one(gate: Gate) -> None:
    frame = {"command": "send-sms", "data": {"id": "m1", "msisdn": TO, "message": TEXT}}

    answers = await asyncio.gather(*(gate.ask(frame) for _ in range(20)))

    assert len({answer["data"]["id"] for answer in answers}) == 1
    assert len(await gate.texts()) == 1


async def test_a_repeat_of_what_failed_says_so(gate: Gate) -> None:
    gate.sms.refuses()
    first = await gate.command("send-sms", msisdn=TO, message=TEXT)

    async def told() -> Any:
        again = await gate.command("send-sms", msisdn=TO, message=TEXT)
        return again if again["response_code"] != "0000" else None

    again = await until(told)
    assert (again["response_code"], again["error"]) == ("1102", "550 at RCPT")
    assert again["data"] == {"id": first["data"]["id"], "status": "failed"}


# Deadlines.


def clock(**later: float) -> dict[str, Any]:
    return {name: int(time.time() + seconds) for name, seconds in later.items()}


# Made when a test runs: collecting may be long ago.
PAST: list[Callable[[], dict[str, Any]]] = [
    lambda: clock(expiration=-1),
    lambda: clock(date_time=-7200, expiration=-6900),
    lambda: {"expiration": str(int(time.time()) - 5)},
    lambda: {"expiration": (int(time.time()) - 5) * 1000},
    lambda: clock(date_time=0, expiration=0),
]
FUTURE: list[Callable[[], dict[str, Any]]] = [
    lambda: clock(expiration=120),
    # A clock that is two minutes slow.
    lambda: clock(date_time=-120, expiration=-60),
    lambda: {"expiration": str(int(time.time()) + 120)},
    lambda: {"expiration": (int(time.time()) + 120) * 1000},
    lambda: {"expiration": 0},
    lambda: {"expiration": ""},
    lambda: {"expiration": None},
    lambda: {"expiration": "soon"},
    lambda: {"expiration": True},
    lambda: {"expiration": 10**18},
]


@pytest.mark.parametrize("when", PAST)
@pytest.mark.parametrize("command", ["send-sms", "request-otp"])
async def test_what_comes_too_late_is_not_sent(
    command: str, when: Callable[[], dict[str, Any]], gate: Gate
) -> None:
    answer = await gate.command(command, reference="r1", receiver=TO, message="%s", **when())

    assert (answer["response_code"], answer["error"]) == ("1102", "expired")
    assert answer["data"]["status"] == "expired"
    assert gate.nothing_left()


@pytest.mark.parametrize("when", FUTURE)
async def test_what_comes_in_time_is_sent(when: Callable[[], dict[str, Any]], gate: Gate) -> None:
    answer = await gate.command("send-sms", receiver=TO, message=TEXT, **when())

    assert answer["response_code"] == "0000"
    assert await gate.texts() == [(TO, TEXT)]


async def test_a_store_that_is_away_is_a_503(new_door: NewDoor) -> None:
    gate = await open_gate(new_door, url="unix:///nowhere/at/all", start=False)
    frame = {"command": "send-sms", "data": {"msisdn": TO, "message": TEXT}}

    answer = await gate.raw(json.dumps(frame).encode())

    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.json == {
        "command": "send-sms",
        "response_code": "1102",
        "error": "Unable to reach store.",
        "data": {},
    }
    assert gate.door.lines[-1].code == "store_unavailable"


async def test_a_doubt_about_modems_keeps_no_text_back(gate: Gate) -> None:
    gate.door.modems.fault = StoreUnavailable()

    answer = await gate.command("send-sms", msisdn=TO, message=TEXT)

    assert (answer["response_code"], answer["data"]["status"]) == ("0000", "queued")


async def test_a_bug_says_nothing(gate: Gate) -> None:
    gate.door.modems.fault = RuntimeError(f"planted {TEXT}")
    frame = {"command": "send-sms", "data": {"msisdn": TO, "message": TEXT}}

    answer = await gate.raw(json.dumps(frame).encode())

    assert (answer.status, answer.json["response_code"]) == (500, "1102")
    line = gate.door.lines[-1]
    assert line.failure.startswith("RuntimeError at ")
    assert "parcel" not in line.failure + answer.body.decode()


async def test_two_tenants_do_not_meet(new_door: NewDoor) -> None:
    other = gatekeeper(name="bank")
    gate = await open_gate(new_door, gatekeeper(), other)
    frame = json.dumps({"command": "send-sms", "data": {"id": "1", "msisdn": TO, "message": TEXT}}).encode()

    mine = (await gate.raw(frame)).json["data"]["id"]
    theirs = (await gate.raw(frame, auth=basic("bank"))).json["data"]["id"]

    assert mine != theirs
    assert len(await gate.texts(2)) == 2
    assert (await gate.api("GET", f"/api/messages/{mine}", auth=basic("bank"))).status == 404
    assert set(ALL_SCOPES) == other.scopes
