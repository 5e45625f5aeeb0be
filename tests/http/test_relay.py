"""The doors of relay clients: who is let in, every shape that is read, every answer they know."""

from __future__ import annotations

import json
from typing import Any

import pytest

from otpsvc.http import hot
from tests.http.conftest import NewDoor
from tests.http.door import RELAY_PATHS, basic
from tests.http.gate import TO, Gate, gatekeeper, open_gate

TEXT = "Your parcel is here"


def sent(answer: Any) -> bool:
    return bool(
        answer["response_code"] == "0000" and answer["data"]["status"] == "queued" and answer["data"]["id"]
    )


# Who is let in.


@pytest.mark.parametrize("auth", ["", "Basic !", basic(secret="wrong"), basic("mallory"), "Bearer x"])
@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
async def test_strangers_get_an_empty_401_without_a_window(auth: str, method: str, gate: Gate) -> None:
    answer = await gate.raw(b"{}", method=method, auth=auth)

    assert (answer.status, answer.body) == (401, b"")
    assert "www-authenticate" not in answer.headers
    assert "content-type" not in answer.headers
    assert answer.headers["content-length"] == "0"


async def test_too_many_failed_logins_are_an_empty_429(gate: Gate) -> None:
    for _ in range(30):
        assert (await gate.raw(b"{}", auth=basic(secret="no"))).status == 401

    answer = await gate.raw(b"{}", auth=basic(secret="no"))

    assert (answer.status, answer.body) == (429, b"")
    assert int(answer.headers["retry-after"]) > 0
    assert (await gate.raw(b"{}", client=("192.0.2.9", 5))).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_405_after_the_login(method: str, gate: Gate) -> None:
    answer = await gate.raw(b"", method=method)

    assert (answer.status, answer.body, answer.headers["allow"]) == (405, b"", "POST, PUT")


async def test_every_answer_has_the_standard_headers(gate: Gate) -> None:
    answers = [await gate.raw(b"{}"), await gate.raw(b"{}", auth=""), await gate.raw(b"", method="GET")]

    for answer, line in zip(answers, gate.door.lines, strict=True):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-request-id"] == line.request_id


async def test_paths_are_the_operators_choice(new_door: NewDoor) -> None:
    gate = await open_gate(new_door, relay_paths=("/old/door",))
    body = json.dumps({"command": "send-sms", "data": {"msisdn": TO, "message": TEXT}}).encode()

    assert (await gate.raw(body)).code == "unknown_route"
    assert (await gate.raw(body, "/old/door")).json["response_code"] == "0000"
    assert (await gate.raw(body, "/old/door/")).json["response_code"] == "0000"
    assert (await gate.raw(body, "/old/door/x")).code == "unknown_route"


async def test_the_command_decides_not_the_path(gate: Gate) -> None:
    for at, path in enumerate((*RELAY_PATHS, "/api/otp")):
        for method in ("POST", "PUT"):
            answer = await gate.ask(
                {"command": "send-sms", "data": {"id": f"{at}{method}", "msisdn": TO, "message": TEXT}},
                path,
                method=method,
            )
            assert sent(answer), (path, method)
    assert len(await gate.texts(12)) == 12


@pytest.mark.parametrize(
    "kind", ["application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
@pytest.mark.parametrize("path", ["/api/sms", "/api/otp"])
async def test_any_content_type(kind: str, path: str, gate: Gate) -> None:
    body = json.dumps({"command": "send-sms", "data": {"msisdn": TO, "message": TEXT}}).encode()
    headers = {"content-type": kind} if kind else {}

    assert sent((await gate.raw(body, path, headers=headers)).json)
    assert await gate.texts() == [(TO, TEXT)]


async def test_they_do_not_wait_for_what_is_made_later(new_door: NewDoor) -> None:
    gate = await open_gate(new_door)
    front, framed = hot.build(gate.door.parts)
    gate.door.app = front

    for path in ("/api/sms", "/api/otp"):
        assert await gate.command("echo", path, x=1) == {"command": "echo", "data": {"x": 1}}
    assert framed._making is None


# The shapes of section "drop-in": whoever wrote to OTP-Broker, OTP-Pi or WSMessageBroker.

SHAPES = {
    "readme": b'{"command":"send-sms","data":{"id":123,"msisdn":"081234567890","message":"%s"}}',
    "code": b'{"command":"send-sms","data":{"receiver":"081234567890","message":"%s","date_time":1}}',
    "trailing commas": b'{"command":"send-sms","data":{"msisdn":"081234567890","message":"%s",},}',
    "a number as number": b'{"command":"send-sms","data":{"id":12345678901234567890,"msisdn":6281234567890,'
    b'"message":"%s"}}',
    "a number with its zero": b'{"command":"send-sms","data":{"msisdn":081234567890,"message":"%s"}}',
    "a number with its plus": b'{"command":"send-sms","data":{"msisdn": +6281234567890 ,"message":"%s"}}',
    "a byte order mark": b'\xef\xbb\xbf{"command":"send-sms",'
    b'"data":{"msisdn":"081234567890","message":"%s"}}',
    "by message": b'{"command":"send-message",'
    b'"data":{"receiver":"081234567890","message":"%s","subject":"S"}}',
    "with blanks around": b' \n{"command":" SEND-SMS ",'
    b'"data":{"msisdn":"0812 3456 7890","message":"%s"}}\r\n',
}
ROWS = {
    "rows": b'{"data":[{"receiver":"081234567890","message":"%s","id":7,"time":"x"}]}',
    "rows of a command": b'{"command":"send-sms","data":[{"msisdn":"081234567890","message":"%s"},]}',
    "envelope of messages": b'{"command":"send-message","channel":"sms","data":[{"id":1,"receiver":'
    b'"081234567890","message":"%s"}],"number_of_receiver":1}',
    "envelope of commands": b'{"command":"send-message","channel":"sms","data":[{"command":"send-sms","data":'
    b'{"msisdn":"081234567890","message":"%s"}}]}',
}


@pytest.mark.parametrize("name", SHAPES)
async def test_every_shape_of_one_message(name: str, gate: Gate) -> None:
    answer = await gate.raw(SHAPES[name] % TEXT.encode())

    assert sent(answer.json), answer
    assert await gate.texts() == [(TO, TEXT)]


@pytest.mark.parametrize("name", ROWS)
async def test_every_shape_of_many(name: str, gate: Gate) -> None:
    answer = (await gate.raw(ROWS[name] % TEXT.encode())).json

    assert answer["response_code"] == "0000"
    (row,) = answer["data"]
    assert (row["status"], bool(row["id"])) == ("queued", True)
    assert await gate.texts() == [(TO, TEXT)]


async def test_a_list_says_what_became_of_each(gate: Gate) -> None:
    rows = [
        {"receiver": TO, "message": "one"},
        {"receiver": "+1", "message": "two"},
        {"receiver": "", "message": "three"},
        "junk",
        {"command": "ping"},
        {"command": "echo", "data": {"x": 1}},
        {"receiver": "anna@home.example", "message": "four"},
    ]
    answer = await gate.ask({"command": "send-message", "data": rows})

    assert (answer["command"], answer["response_code"]) == ("send-message", "1102")
    states = [row.get("status") for row in answer["data"]]
    assert states == ["queued", "refused", None, None, None, None, "queued"]
    codes = [row.get("response_code") for row in answer["data"]]
    assert codes == ["0000", "1102", None, None, None, None, "0000"]
    assert answer["data"][1]["error"] == "Not a valid phone number."
    assert answer["data"][5] == {"x": 1}
    assert await gate.texts() == [(TO, "one")]
    assert await gate.mails() == [("anna@home.example", "", "four")]


async def test_a_list_has_bounds(gate: Gate) -> None:
    answer = await gate.ask({"data": [{"receiver": TO, "message": "x"}] * 101})

    assert (answer["response_code"], answer["error"]) == ("1102", "More than 100 rows.")
    assert gate.nothing_left()


@pytest.mark.parametrize("frame", ["ping", "connect", "receive-message"])
async def test_frames_that_ask_for_nothing(frame: str, gate: Gate) -> None:
    rows = [{"receiver": TO, "message": TEXT}]

    assert await gate.ask({"command": frame, "channel": "sms", "data": []}) == {}
    assert await gate.ask({"command": frame, "channel": "sms", "data": rows}) == {}
    assert gate.nothing_left()


JUNK: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"hello",
    "broken JSON": b'{"command":"send-sms","data":{',
    "a list": b"[]",
    "a number": b"7",
    "NaN": b'{"command":"echo","data":NaN}',
    "a number of 30 digits": b'{"command":"echo","data":%s}' % (b"9" * 30),
    "a number that is infinite": b'{"command":"echo","data":1e999}',
    "too deep": b'{"command":"echo","data":' + b"[" * 60 + b"]" * 60 + b"}",
    "much too deep": b"[" * 60_000,
    "a string without end": b'{"command":"' + b'\\"' * 30_000,
    "many commas": b'{"command":' + b", " * 30_000,
    "no UTF-8": b'{"command":"\xff"}',
    "no command": b"{}",
    "an unknown command": b'{"command":"reboot","data":{"x":1}}',
    "a command that is no text": b'{"command":5,"data":{"msisdn":"+6281234567890","message":"x"}}',
    "no data": b'{"command":"send-sms"}',
    "data that is no object": b'{"command":"send-sms","data":"x"}',
    "no message": b'{"command":"send-sms","data":{"msisdn":"+6281234567890"}}',
    "no number": b'{"command":"send-sms","data":{"message":"x"}}',
    "an empty number": b'{"command":"send-sms","data":{"msisdn":"","message":"x"}}',
    "an empty number to block": b'{"command":"block-msisdn","data":{"msisdn":""}}',
    "no number to block": b'{"command":"unblock-msisdn","data":{}}',
    "no reference": b'{"command":"request-otp","data":{"receiver":"+6281234567890"}}',
    "no receiver": b'{"command":"verify-otp","data":{"reference":"r","otp":"123456"}}',
    "no USSD code": b'{"command":"request-ussd","data":{"modem_id":"one"}}',
    "an empty list": b'{"command":"send-message","data":[]}',
}


@pytest.mark.parametrize("name", JUNK)
async def test_junk_is_answered_as_ever(name: str, gate: Gate) -> None:
    answer = await gate.raw(JUNK[name])

    assert (answer.status, answer.body) == (200, b"{}")
    assert gate.nothing_left()
    assert not gate.door.lines[-1].failure


async def test_a_body_over_the_limit_is_413(gate: Gate) -> None:
    answer = await gate.raw(b'{"command":"echo","data":"%s"}' % (b"x" * 65_536))

    assert (answer.status, answer.json["response_code"], answer.json["data"]) == (413, "1102", {})
    assert answer.headers["connection"] == "close"


async def test_what_does_not_look_like_a_command_is_a_verification(gate: Gate) -> None:
    made = await gate.door.ask("POST", "/api/otp", json={"provider": "mail", "to": "anna@home.example"})
    form = await gate.door.ask("POST", "/api/otp", {"command": "send-sms"})
    number = await gate.door.ask("POST", "/api/otp", json={"command": 5})
    broken = await gate.door.ask("POST", "/api/otp", json=b'{"provider":"mail"')

    assert made.json["data"]["state"] == "pending"
    assert [one.code for one in (form, number, broken)] == [
        "unknown_command",
        "unknown_command",
        "broken_json",
    ]


async def test_a_broken_command_at_the_door_of_verifications_is_answered_as_ever(gate: Gate) -> None:
    answer = await gate.raw(b'{"command":"send-sms","data":{"msisdn":}}', "/api/otp")

    assert (answer.status, answer.body) == (200, b"{}")


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_strangers_at_the_door_of_verifications_hear_what_they_asked_for(
    method: str, gate: Gate
) -> None:
    command = await gate.raw(b'{"command":"send-sms",}', "/api/otp", method, auth=basic(secret="wrong"))
    other = await gate.raw(b'{"provider":"mail"}', "/api/otp", method, auth=basic(secret="wrong"))

    assert (command.status, command.body) == (401, b"")
    assert "www-authenticate" not in command.headers
    assert (other.status, other.code) == (401, "unauthorized")
    assert other.headers["www-authenticate"].startswith("Basic")


async def test_commands_need_no_scope_of_verifications(new_door: NewDoor) -> None:
    gate = await open_gate(new_door, gatekeeper(scopes=frozenset({"sms"})))

    assert sent(await gate.command("send-sms", "/api/otp", msisdn=TO, message=TEXT))
    refused = await gate.door.ask("POST", "/api/otp", {"provider": "mail"})
    assert (refused.status, refused.code) == (403, "scope")


async def test_the_log_names_the_door_and_nobody(gate: Gate) -> None:
    await gate.command("send-sms", msisdn=TO, message="planted-text")
    await gate.command("send-sms", "/api/otp", msisdn="+1", message="planted-text")
    await gate.raw(b"{", auth="")
    await gate.raw(b"planted-body")
    await gate.raw(b"", "/api/block", "GET")

    shown = [(line.method, line.route, line.status, line.code, line.tenant) for line in gate.door.lines]
    assert shown == [
        ("POST", "/api/sms", 200, "", "shop"),
        ("POST", "/api/otp", 200, "1102", "shop"),
        ("POST", "/api/sms", 401, "unauthorized", ""),
        ("POST", "/api/sms", 200, "broken_json", "shop"),
        ("GET", "/api/block", 405, "unknown_method", "shop"),
    ]
    assert "planted" not in repr(gate.door.lines)
    assert "81234" not in repr(gate.door.lines)
