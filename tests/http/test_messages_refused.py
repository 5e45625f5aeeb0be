"""Raw messages that are refused: each with a word of its own, nothing sent and nothing kept."""

from __future__ import annotations

import time

import pytest

from otpsvc.tenant import Limits, Rate
from tests.http.conftest import NewDoor
from tests.http.door import Answer, basic
from tests.http.gate import TO, Gate, gatekeeper, open_gate

TEXT = "Your parcel is here"
MAIL = "anna@home.example"


async def post(gate: Gate, **fields: str) -> Answer:
    return await gate.api("POST", "/api/messages", {"to": TO, "text": TEXT} | fields)


BAD_TIMES = [
    ({"deadline": "1"}, "deadline_passed"),
    ({"deadline": "0"}, "deadline_passed"),
    ({"deadline": str(int(time.time()) - 1)}, "deadline_passed"),
    ({"deadline": "-5"}, "invalid_deadline"),
    ({"deadline": "soon"}, "invalid_deadline"),
    ({"deadline": "9" * 20}, "invalid_deadline"),
    ({"deadline": str(int(time.time()) * 1000)}, "invalid_deadline"),
    ({"deadline": str(int(time.time()) + 300_000)}, "invalid_deadline"),
    ({"deadline": "1e9"}, "invalid_deadline"),
    ({"deadline": "nan"}, "invalid_deadline"),
    ({"deadline": str(int(time.time()) + 60), "ttl": "60"}, "invalid_deadline"),
    ({"ttl": "0"}, "invalid_ttl"),
    ({"ttl": "259201"}, "invalid_ttl"),
    ({"ttl": "1.5"}, "invalid_ttl"),
    ({"ttl": "１２"}, "invalid_ttl"),
]
BAD = [
    *BAD_TIMES,
    ({"to": ""}, "invalid_address"),
    ({"to": "abc"}, "invalid_address"),
    ({"to": '+6281234567890"'}, "invalid_address"),
    ({"to": "+6281234567890\r\nAT"}, "invalid_address"),
    ({"to": "+6281234567890\x1a"}, "invalid_address"),
    ({"to": "+6281234567890\0"}, "invalid_character"),
    ({"to": "+628123456789012345"}, "invalid_address"),
    ({"to": "a@b@c", "channel": "mail"}, "invalid_address"),
    ({"to": MAIL, "channel": "sms"}, "invalid_address"),
    ({"channel": "mail"}, "invalid_address"),
    ({"text": ""}, "empty_text"),
    ({"text": "x" * 10_001}, "text_too_long"),
    ({"text": "a\x1ab"}, "invalid_text"),
    ({"to": MAIL, "subject": "a\r\nBcc: x"}, "invalid_subject"),
    ({"to": MAIL, "subject": "a" * 201}, "invalid_subject"),
    ({"channel": "pigeon"}, "unknown_provider"),
    ({"route": "callback"}, "unknown_provider"),
    ({"channel": "sms", "route": "mail"}, "invalid_channel"),
    ({"modem": "ten"}, "unknown_modem"),
    ({"modem": "one", "channel": "mail"}, "unknown_modem"),
]


@pytest.mark.parametrize(("fields", "code"), BAD, ids=[f"{at}-{code}" for at, (_, code) in enumerate(BAD)])
async def test_bad_input(fields: dict[str, str], code: str, gate: Gate) -> None:
    gate.door.modems.add("one")

    answer = await post(gate, **fields)

    assert (answer.status, answer.code) == (400, code), answer
    assert answer.json["message"]
    assert gate.nothing_left()


async def test_half_a_character(gate: Gate) -> None:
    answer = await gate.door.ask("POST", "/api/messages", json=b'{"to":"%s","text":"a\\ud800"}' % TO.encode())

    assert (answer.status, answer.code) == (400, "broken_json")


# Guards, and what is somebody else's.


@pytest.mark.parametrize("scopes", [set(), {"otp"}, {"inbox", "modems", "ussd", "blocks:global"}])
async def test_scopes(scopes: set[str], new_door: NewDoor) -> None:
    gate = await open_gate(new_door, gatekeeper(scopes=frozenset(scopes)))

    answers = [await post(gate), await gate.api("GET", "/api/messages/x")]

    assert [(one.status, one.code) for one in answers] == [(403, "scope")] * 2


async def test_each_way_has_its_scope(new_door: NewDoor) -> None:
    texts = await open_gate(new_door, gatekeeper(scopes=frozenset({"sms"})))
    mails = await open_gate(new_door, gatekeeper(scopes=frozenset({"mail"})))

    assert [(await post(texts)).status, (await post(texts, to=MAIL)).status] == [202, 403]
    assert [(await post(mails)).status, (await post(mails, to=MAIL)).status] == [403, 202]


async def test_a_budget_that_is_used_up(new_door: NewDoor) -> None:
    gate = await open_gate(new_door, gatekeeper(limits=Limits(sends=Rate(1, 3600))))

    first, second = await post(gate), await post(gate)

    assert first.status == 202
    assert (second.status, second.code) == (429, "send_budget")
    assert 60 < int(second.headers["retry-after"]) <= 3600


async def test_blocked(gate: Gate) -> None:
    await gate.api("PUT", f"/api/blocks/{TO}")

    answer = await post(gate)

    assert (answer.status, answer.code) == (400, "blocked")
    assert gate.nothing_left()


async def test_another_tenants_message(new_door: NewDoor) -> None:
    gate = await open_gate(new_door, gatekeeper(), gatekeeper(name="bank"))
    id = (await post(gate)).json["data"]["id"]

    theirs = await gate.api("GET", f"/api/messages/{id}", auth=basic("bank"))
    unknown = await gate.api("GET", "/api/messages/" + "x" * 22)
    odd = await gate.api("GET", "/api/messages/%C3%BC%00" + "x" * 200)

    assert [(one.status, one.code) for one in (theirs, unknown, odd)] == [(404, "not_found")] * 3


async def test_the_store_is_away(new_door: NewDoor) -> None:
    gate = await open_gate(new_door, url="unix:///nowhere/at/all", start=False)

    answer = await post(gate)

    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "store_unavailable", "1")
