"""`/api/messages`: raw texts and mails, their deadlines, ways and keys, and what refuses them."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import Any

import pytest

from otpsvc.address import ANY, EMAIL, AddressKind, phone
from otpsvc.submit import Defaults
from tests.flows.rig import Outlet
from tests.http.conftest import NewDoor
from tests.http.door import Answer
from tests.http.gate import TO, Gate, gatekeeper, open_gate
from tests.waiting import until

TEXT = "Your parcel is here"
MAIL = "anna@home.example"


async def post(gate: Gate, key: str = "", **fields: str) -> Answer:
    headers = {"idempotency-key": key} if key else {}
    asked = {"to": TO, "text": TEXT} | fields
    return await gate.api("POST", "/api/messages", asked, headers=headers)


async def settled(gate: Gate, id: str, *states: str) -> Any:
    async def there() -> Any:
        data = (await gate.api("GET", f"/api/messages/{id}")).json["data"]
        return data if data["state"] in states else None

    return await until(there)


async def test_a_text_on_its_way(gate: Gate) -> None:
    answer = await post(gate)

    data = answer.json["data"]
    assert answer.status == 202
    assert list(data) == [
        "id", "state", "route", "parts", "tries", "uncertain", "reason", "created_at", "deadline", "repeated",
    ]  # fmt: skip
    assert (data["state"], data["route"], data["tries"], data["repeated"]) == ("queued", "sms", 0, False)
    seen = await settled(gate, data["id"], "sent")
    assert seen["tries"] == 1
    assert seen["parts"] == 1
    assert seen["created_at"] == data["created_at"]
    assert await gate.texts() == [(TO, TEXT)]


async def test_a_mail(gate: Gate) -> None:
    answer = await post(gate, to=MAIL, subject="Hello")

    assert (answer.status, answer.json["data"]["route"]) == (202, "mail")
    assert await gate.mails() == [(MAIL, "Hello", TEXT)]


async def test_parameters_come_in_any_form(gate: Gate) -> None:
    as_json = await gate.door.ask(
        "POST", "/api/messages", json={"to": TO, "text": "ü ☃", "ttl": 60, "more": 1}
    )
    as_query = await gate.api("POST", "/api/messages?to=%2B6281234567890&text=query")
    lost_plus = await gate.raw(
        b"to=+6281234567890&text=plus",
        "/api/messages",
        headers={"content-type": "application/x-www-form-urlencoded"},
    )

    assert [one.status for one in (as_json, as_query, lost_plus)] == [202] * 3
    assert sorted(await gate.texts(3)) == [(TO, "plus"), (TO, "query"), (TO, "ü ☃")]


async def test_a_lost_plus_is_no_number_of_the_country(new_door: NewDoor) -> None:
    gate = await open_gate(new_door, gatekeeper(country="US"))
    body = b"to=+6281234567890&text=x"

    await gate.raw(body, "/api/messages", headers={"content-type": "application/x-www-form-urlencoded"})

    assert await gate.texts() == [(TO, "x")]


async def test_a_failure_is_told(gate: Gate) -> None:
    gate.sms.refuses()

    data = await settled(gate, (await post(gate)).json["data"]["id"], "failed")

    assert (data["reason"], data["uncertain"]) == ("550 at RCPT", 0)


async def test_a_doubt_is_told(gate: Gate) -> None:
    gate.sms.loses_reply()
    id = (await post(gate)).json["data"]["id"]

    data = await settled(gate, id, "failed", "expired", "sent")

    assert data["uncertain"] >= 1


async def test_it_is_not_tried_again_after_its_deadline(gate: Gate) -> None:
    gate.sms.is_unavailable(times=1, retry_after=100)
    id = (await post(gate, deadline=str(int(time.time()) + 90))).json["data"]["id"]

    data = await settled(gate, id, "failed", "expired")

    assert not gate.sms.taken
    assert (data["tries"], data["reason"]) == (1, "421")


# Deadlines.


async def test_how_long_it_may_take(gate: Gate) -> None:
    gate.door.defaults = Defaults(life=600)
    lives = []
    for fields in ({}, {"ttl": "60"}, {"deadline": str(int(time.time()) + 500)}):
        data = (await post(gate, **fields)).json["data"]
        lives.append(_moment(data["deadline"]) - _moment(data["created_at"]))

    assert lives[0] == 600
    assert lives[1] == 60
    assert 60 < lives[2] <= 500


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


# Ways out.


async def test_a_modem_is_its_own_way(gate: Gate) -> None:
    gate.door.defaults = Defaults(sms="mail")
    gate.door.modems.add("one", imei="356938035643809")
    gate.door.modems.add("two", channel="mail")

    named = await post(gate, modem="356938035643809")
    both = await post(gate, modem="sms.one", channel="sms")
    no_phone = await post(gate, modem="two")

    assert [one.status for one in (named, both, no_phone)] == [202, 202, 400]
    await gate.texts(2)
    assert {message.modem for message in gate.sms.taken} == {"sms.one"}


async def test_a_way_that_the_tenant_may_not_use(new_door: NewDoor) -> None:
    gate = await open_gate(new_door, gatekeeper(channels=("mail",)))
    gate.door.modems.add("one")

    answers = [await post(gate), await post(gate, channel="sms"), await post(gate, modem="one")]

    assert [one.code for one in answers] == ["no_way_out", "unknown_provider", "unknown_provider"]


@pytest.mark.parametrize(
    ("kind", "scopes", "status"),
    [
        (ANY, {"sms"}, 202),
        (ANY, {"mail"}, 403),
        (AddressKind("pager", "Pager", ANY.parse), {"sms"}, 202),
        (AddressKind("pager", "Pager", ANY.parse), {"mail"}, 403),
        (EMAIL, {"sms"}, 403),
        (phone(), {"mail"}, 403),
    ],
)
async def test_ways_of_any_kind(kind: AddressKind, scopes: set[str], status: int, new_door: NewDoor) -> None:
    outlet = Outlet(kind)
    owner = gatekeeper(scopes=frozenset(scopes))
    gate = Gate(await new_door(owner, outlets={"hook": outlet}), outlet, outlet)

    answer = await post(gate, channel="hook")

    assert answer.status == status
    if status == 202:
        await until(lambda: outlet.taken)
    else:
        assert answer.code == "scope"


async def test_short_codes_are_numbers(gate: Gate) -> None:
    assert (await post(gate, to="12345")).status == 202
    assert (await post(gate, to="12")).status == 400
    assert await gate.texts() == [("12345", TEXT)]


# Idempotency-Key.


async def test_a_repeat_gets_the_state_of_the_first(gate: Gate) -> None:
    first = await post(gate, key="k1")
    id = first.json["data"]["id"]
    await settled(gate, id, "sent")

    again = await post(gate, key="k1")
    other = await post(gate, key="k1", text="other")
    free = await post(gate, key="k2")

    data = again.json["data"]
    assert (again.status, data["id"], data["state"], data["repeated"]) == (202, id, "sent", True)
    assert (other.status, other.code) == (422, "idempotency_mismatch")
    assert free.json["data"]["id"] != id
    assert len(await gate.texts(2)) == 2


async def test_many_at_once_under_one_key(gate: Gate) -> None:
    answers = await asyncio.gather(*(post(gate, key="k1") for _ in range(20)))

    assert {one.status for one in answers} == {202}
    assert len({one.json["data"]["id"] for one in answers}) == 1
    assert len(await gate.texts()) == 1


async def test_a_key_of_a_verification_is_another(gate: Gate) -> None:
    key = {"idempotency-key": "k1"}
    made = await gate.api("PUT", "/api/otp/user-123", {"provider": "mail", "to": MAIL}, headers=key)
    sent = await post(gate, key="k1")
    again = await gate.api("PUT", "/api/otp/user-123", {"provider": "mail", "to": MAIL}, headers=key)

    assert (made.status, sent.status, again.status) == (200, 202, 200)
    assert made.json["data"]["gen"] == again.json["data"]["gen"]


async def test_a_bad_key(gate: Gate) -> None:
    answer = await post(gate, key="x" * 256)

    assert (answer.status, answer.code) == (400, "invalid_idempotency_key")


async def test_no_text_and_no_number_in_the_log(gate: Gate) -> None:
    await post(gate, text="planted")
    await post(gate, to="+1planted")

    assert [line.route for line in gate.door.lines] == ["/api/messages"] * 2
    assert "planted" not in repr(gate.door.lines)
    assert "81234" not in repr(gate.door.lines)
