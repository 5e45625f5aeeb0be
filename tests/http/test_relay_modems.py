"""What relay clients ask besides sending: the block list, modems, USSD, an echo."""

from __future__ import annotations

import json

import pytest

from otpsvc.errors import BadRequest, NotFound, Unanswered
from otpsvc.lines import Answered
from tests.http.conftest import NewDoor
from tests.http.door import basic
from tests.http.gate import TO, Gate, gatekeeper, open_gate

TEXT = "Your parcel is here"


async def test_block_and_unblock(gate: Gate) -> None:
    blocked = await gate.raw(b'{"command":"block-msisdn","data":{"msisdn":"081234567890",}}', "/api/block")
    refused = await gate.command("send-sms", msisdn=TO, message=TEXT)
    rows = await gate.ask({"data": [{"receiver": TO, "message": TEXT}]})
    code = await gate.command("request-otp", reference="r", receiver=TO, message="%s")
    api = await gate.door.ask("PUT", "/api/otp/user-123", {"provider": "sms", "to": TO})
    unblocked = await gate.command("unblock-msisdn", "/api/unblock", receiver=TO)
    sent = await gate.command("send-sms", msisdn=TO, message=TEXT)

    assert blocked.json == {
        "command": "block-msisdn",
        "response_code": "0000",
        "data": {"status": "blocked"},
    }
    assert refused == {
        "command": "send-sms",
        "response_code": "1102",
        "error": "blocked",
        "data": {"id": "", "status": "blocked"},
    }
    assert (rows["response_code"], rows["data"][0]["status"]) == ("1102", "blocked")
    assert (code["response_code"], code["error"], code["data"]["status"]) == ("1102", "blocked", "blocked")
    assert (api.status, api.code) == (400, "blocked")
    assert unblocked["data"] == {"status": "unblocked"}
    assert sent["response_code"] == "0000"
    assert len(await gate.texts()) == 1


async def test_a_list_of_numbers_to_block(gate: Gate) -> None:
    rows = [{"msisdn": TO}, {"receiver": "081234567891"}, {"msisdn": "12345"}]

    answer = await gate.ask({"command": "block-msisdn", "data": rows})

    assert (answer["response_code"], len(answer["data"])) == ("0000", 3)
    listed = [one["number"] for one in (await gate.api("GET", "/api/blocks")).json["data"]]
    assert listed == [TO, "+6281234567891", "12345"]


async def test_blocking_is_the_tenants_own(new_door: NewDoor) -> None:
    gate = await open_gate(new_door, gatekeeper(), gatekeeper(name="bank"))
    frame = json.dumps({"command": "send-sms", "data": {"msisdn": TO, "message": TEXT}}).encode()

    await gate.command("block-msisdn", msisdn=TO)

    assert (await gate.raw(frame)).json["response_code"] == "1102"
    assert (await gate.raw(frame, auth=basic("bank"))).json["response_code"] == "0000"


async def test_the_list_of_all_holds_for_relay_clients(gate: Gate) -> None:
    await gate.api("PUT", f"/api/blocks/{TO}?everywhere=true")

    assert (await gate.command("send-sms", msisdn=TO, message=TEXT))["error"] == "blocked"
    assert (await gate.command("request-otp", reference="r", receiver=TO, message="%s"))["error"] == "blocked"
    assert (await gate.command("unblock-msisdn", msisdn=TO))["response_code"] == "0000"
    assert (await gate.command("send-sms", msisdn=TO, message=TEXT))["error"] == "blocked"


async def test_the_list_of_modems(gate: Gate) -> None:
    gate.door.modems.add(
        "one",
        port="/dev/ttyUSB0",
        imei="356938035643809",
        imsi="510101234567890",
        iccid="8962100",
        number="+62811",
        operator="TELKOMSEL",
        smsc="+62855",
        signal=-71,
        told=1_700_000_000.0,
    )
    gate.door.modems.add("one", channel="spare", state="disabled")

    answer = await gate.command("get-modem-list", date_time=1_700_000_000)
    php = await gate.ask({"command": "get-modem-list", "data": []})

    modems = answer["data"]["modem_list"]
    assert (answer["response_code"], answer["data"]["date_time"]) == ("0000", 1_700_000_000)
    assert list(modems) == ["sms.one", "spare.one"] == list(php["data"]["modem_list"])
    assert modems["sms.one"] == {
        "id": "sms.one",
        "name": "one",
        "port": "/dev/ttyUSB0",
        "imei": "356938035643809",
        "imsi": "510101234567890",
        "iccid": "8962100",
        "msisdn": "+62811",
        "copsOperator": "TELKOMSEL",
        "smsCenter": "+62855",
        "active": True,
        "connected": True,
        "defaultModem": False,
        "internetAccess": False,
        "internetConnected": False,
        "state": "ready",
        "signal": -71,
        "told": "2023-11-14T22:13:20+00:00",
    }
    assert (modems["spare.one"]["active"], modems["spare.one"]["connected"]) == (False, False)


async def test_ussd(gate: Gate) -> None:
    gate.door.modems.add("away", state="lost")
    gate.door.modems.add("one", imei="356938035643809")
    gate.door.modems.answers = {"*123#": Answered(text="Pulsa ☃", raw="0050", more=True)}

    answer = await gate.command("request-ussd", modem_id="356938035643809", ussd_code="*123#")
    unnamed = await gate.command("request-ussd", ussd_code="*123#")

    assert answer == {
        "command": "request-ussd",
        "response_code": "0000",
        "data": {
            "modem_id": "356938035643809",
            "ussd_code": "*123#",
            "ussd_content": "Pulsa ☃",
            "ussd_content_raw": "0050",
            "ussd_response": "Pulsa ☃",
            "replyable": True,
        },
    }
    assert unnamed["data"]["modem_id"] == "sms.one"
    assert gate.door.modems.asked == [("sms.one", "*123#", False)] * 2


async def test_ussd_without_a_modem(gate: Gate) -> None:
    gate.door.modems.add("away", state="lost")

    unnamed = await gate.command("request-ussd", ussd_code="*123#")
    unknown = await gate.command("request-ussd", modem_id="ten", ussd_code="*123#")

    for answer in (unnamed, unknown):
        assert (answer["response_code"], answer["error"]) == ("1101", "No device connected")


@pytest.mark.parametrize("code", ['*1#"', "*1#;+CMGD=1", "*1#\r\nAT", "*1#\x1a", "'", "*" * 183])
async def test_ussd_codes_that_reach_no_modem(code: str, gate: Gate) -> None:
    gate.door.modems.add("one")

    answer = await gate.command("request-ussd", modem_id="one", ussd_code=code)

    assert (answer["command"], answer["response_code"]) == ("request-ussd", "1102")
    assert "USSD" in answer["error"]
    assert gate.door.modems.asked == []


async def test_ussd_that_nobody_answers(gate: Gate) -> None:
    gate.door.modems.fault = Unanswered("no answer in time.")

    answer = await gate.command("request-ussd", modem_id="one", ussd_code="*123#")

    assert (answer["response_code"], answer["error"]) == ("1102", "no answer in time.")
    assert answer["data"] == {"modem_id": "one", "ussd_code": "*123#", "status": "unanswered"}


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (BadRequest("This USSD code is not allowed.", code="ussd_not_allowed"), "1102"),
        (NotFound("There is no such modem.", code="unknown_modem"), "1101"),
    ],
)
async def test_ussd_that_the_owner_refuses(fault: Exception, code: str, gate: Gate) -> None:
    gate.door.modems.fault = fault

    answer = await gate.command("request-ussd", modem_id="one", ussd_code="*21#")

    assert (answer["response_code"], answer["data"]["status"]) == (code, "refused")


async def test_an_echo(gate: Gate) -> None:
    body = '{"command":"echo","data":[1,-2,1.5,1e3,true,null,"ü",{"a":[]}],"x":12345678901234567890,}'

    answer = await gate.raw(body.encode())

    wanted = json.loads(body.replace(",}", "}"))
    assert answer.json == wanted
    assert answer.body.decode() == json.dumps(wanted, indent=4, ensure_ascii=False)
    assert int(answer.headers["content-length"]) == len(answer.body) > len(answer.body.decode())


async def test_an_echo_needs_no_scope(new_door: NewDoor) -> None:
    gate = await open_gate(new_door, gatekeeper(scopes=frozenset({"mail"})))

    assert await gate.command("echo", x=1) == {"command": "echo", "data": {"x": 1}}
