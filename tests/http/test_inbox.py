"""`/api/inbox` and `/api/modems`: texts that came in, modems, USSD."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import structs

from otpsvc.errors import BadRequest, NotFound, Unanswered
from otpsvc.lines import Answered
from otpsvc.message import Incoming
from tests.http.conftest import NewDoor
from tests.http.gate import Gate, gatekeeper, open_gate


def incoming(number: int, **more: Any) -> Incoming:
    usual = {"id": f"id{number}", "line": "one", "sender": "+62811", "tenant": "shop"}
    usual["text"] = f"text {number}"
    return Incoming(**(usual | more))


async def take(gate: Gate, count: int) -> None:
    for at in range(count):
        assert await gate.door.inbox.take(incoming(at))
        # Each in a millisecond of its own, as texts come.
        await asyncio.sleep(0.002)


async def test_the_newest_first(gate: Gate) -> None:
    await take(gate, 2)
    await gate.door.inbox.take(
        incoming(7, text="ü\x1b[31m<b>", sender="BANK", to="+62855", at=1_700_000_000.0, complete=False)
    )

    data = (await gate.api("GET", "/api/inbox")).json["data"]

    assert [one["text"] for one in data["texts"]] == ["ü\x1b[31m<b>", "text 1", "text 0"]
    assert data["next"] == 0
    newest = data["texts"][0]
    assert list(newest) == ["id", "modem", "sender", "text", "to", "received_at", "sent_at", "complete"]
    assert (newest["modem"], newest["sender"], newest["to"]) == ("one", "BANK", "+62855")
    assert (newest["sent_at"], newest["complete"]) == ("2023-11-14T22:13:20+00:00", False)
    assert data["texts"][1]["sent_at"] == ""


async def test_page_by_page(gate: Gate) -> None:
    await take(gate, 5)
    seen, before = [], 0
    for _ in range(3):
        data = (await gate.api("GET", f"/api/inbox?limit=2&before={before}")).json["data"]
        seen += [one["text"] for one in data["texts"]]
        before = data["next"]

    assert seen == [f"text {at}" for at in (4, 3, 2, 1, 0)]
    assert before == 0


async def test_only_the_tenants_own(gate: Gate) -> None:
    await gate.door.inbox.take(incoming(1, tenant="bank"))
    await gate.door.inbox.take(incoming(2, tenant=""))

    assert (await gate.api("GET", "/api/inbox")).json["data"] == {"texts": [], "next": 0}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=0", "invalid_limit"),
        ("limit=201", "invalid_limit"),
        ("limit=x", "invalid_limit"),
        ("limit=-1", "invalid_limit"),
        ("before=-1", "invalid_before"),
        ("before=x", "invalid_before"),
        ("before=nan", "invalid_before"),
        ("before=" + "9" * 20, "invalid_before"),
    ],
)
async def test_bad_bounds(query: str, code: str, gate: Gate) -> None:
    answer = await gate.api("GET", f"/api/inbox?{query}")

    assert (answer.status, answer.code) == (400, code)


async def test_scopes(new_door: NewDoor) -> None:
    gate = await open_gate(new_door, gatekeeper(scopes=frozenset({"otp", "sms", "mail", "blocks:global"})))
    gate.door.modems.add("one")

    for method, path in (("GET", "/api/inbox"), ("GET", "/api/modems"), ("POST", "/api/modems/one/ussd")):
        answer = await gate.api(method, path)
        assert (answer.status, answer.code) == (403, "scope")
    assert gate.door.modems.asked == []


async def test_modems(gate: Gate) -> None:
    gate.door.modems.add(
        "one",
        node="host-1",
        state="degraded",
        reason="no network",
        since=1_700_000_000.0,
        told=1_700_000_005.0,
        imei="356938035643809",
        signal=-71,
        used={"1h": (7, 100), "1d": (9, 0)},
        sent=5,
        failed=2,
        uncertain=1,
    )
    gate.door.modems.add("two", told=1.0)

    one, two = (await gate.api("GET", "/api/modems")).json["data"]

    assert one == {
        "id": "sms.one",
        "name": "one",
        "channel": "sms",
        "node": "host-1",
        "state": "degraded",
        "ready": False,
        "reason": "no network",
        "since": "2023-11-14T22:13:20+00:00",
        "told_at": "2023-11-14T22:13:25+00:00",
        "port": "",
        "imei": "356938035643809",
        "imsi": "",
        "iccid": "",
        "number": "",
        "operator": "",
        "signal": -71,
        "manufacturer": "",
        "model": "",
        "firmware": "",
        "smsc": "",
        "used": {"1h": {"parts": 7, "limit": 100}, "1d": {"parts": 9, "limit": 0}},
        "sent": 5,
        "failed": 2,
        "uncertain": 1,
    }
    assert (two["id"], two["ready"], two["since"], two["signal"]) == ("sms.two", True, "", None)


async def test_ussd(gate: Gate) -> None:
    gate.door.modems.add("one")
    gate.door.modems.answers = {
        "*123#": Answered(text="Balance: 5\x1b", raw="00", more=True, status=1),
        "1": Answered(text="Done"),
    }

    first = await gate.api("POST", "/api/modems/sms.one/ussd", {"code": "*123#"})
    reply = await gate.door.ask("POST", "/api/modems/one/ussd", json={"code": "1", "reply": True})

    assert first.json["data"] == {"text": "Balance: 5\x1b", "raw": "00", "more": True, "status": 1}
    assert reply.json["data"]["text"] == "Done"
    assert gate.door.modems.asked == [("sms.one", "*123#", False), ("sms.one", "1", True)]
    assert gate.door.lines[-1].route == "/api/modems/{id}/ussd"


async def test_ussd_of_a_modem_whose_channel_is_another_tenants(gate: Gate) -> None:
    gate.door.modems.add("one")
    gate.door.modems.answers = {"*123#": Answered(text="Balance: 5")}
    owner = gate.door.node.tenants["shop"]
    gate.door.node.tenants["shop"] = structs.replace(owner, channels=("mail",))

    answer = await gate.api("POST", "/api/modems/sms.one/ussd", {"code": "*123#"})

    assert (answer.status, answer.code) == (404, "unknown_modem")
    assert gate.door.modems.asked == []


@pytest.mark.parametrize(
    "code", ["", '*1#"', "*1#;", "*1#\r\nAT+CMGD=1", "\x1a", "'", "*" * 183, "*1#\x85", "*1\u2028#"]
)
async def test_ussd_codes_that_reach_no_modem(code: str, gate: Gate) -> None:
    gate.door.modems.add("one")

    answer = await gate.api("POST", "/api/modems/one/ussd", {"code": code})

    assert (answer.status, answer.code, answer.json["field"]) == (400, "invalid_ussd", "code")
    assert gate.door.modems.asked == []


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (BadRequest("Not allowed.", code="ussd_not_allowed"), 400, "ussd_not_allowed"),
        (NotFound("None.", code="unknown_modem"), 404, "unknown_modem"),
        (Unanswered("No answer."), 503, "modem_silent"),
    ],
)
async def test_ussd_that_is_refused(fault: Exception, status: int, code: str, gate: Gate) -> None:
    gate.door.modems.fault = fault

    answer = await gate.api("POST", "/api/modems/one/ussd", {"code": "*123#"})

    assert (answer.status, answer.code) == (status, code)
    assert not gate.door.lines[-1].failure


async def test_ussd_of_an_unknown_modem(gate: Gate) -> None:
    answer = await gate.api("POST", "/api/modems/%22one/ussd", {"code": "*123#"})

    assert (answer.status, answer.code) == (404, "unknown_modem")


async def test_a_reply_is_yes_or_no(gate: Gate) -> None:
    answer = await gate.api("POST", "/api/modems/one/ussd", {"code": "*123#", "reply": "maybe"})

    assert (answer.status, answer.code) == (400, "invalid_reply")


async def test_the_store_is_away(new_door: NewDoor) -> None:
    gate = await open_gate(new_door, url="unix:///nowhere/at/all", start=False)

    answer = await gate.api("GET", "/api/inbox")

    assert (answer.status, answer.code) == (503, "store_unavailable")
