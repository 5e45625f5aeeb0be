"""The calls of the API beyond the table of docs/wire.md: forms of bodies, keys, races, faults, logs."""

from __future__ import annotations

import asyncio
from typing import Any

from otpsvc.http import hot
from tests.flows.rig import Outlet, wrong
from tests.http.conftest import NewDoor
from tests.http.door import FORM, Door, basic, call

ADDRESS = "anna@home.example"


def outlet_of(door: Door) -> Outlet:
    outlet = door.node.courier._routes["mail"].channels[0][1]
    assert isinstance(outlet, Outlet)
    return outlet


async def code_of(door: Door, id: str = "user-123") -> str:
    await door.node.settled(id)
    return outlet_of(door).taken[-1].code


async def test_create_check_status(door: Door) -> None:
    made = await door.put()
    code = await code_of(door)

    assert made.status == 200
    assert (await door.check(wrong(code))).code == "wrong_code"
    good = await door.check(code)
    assert (good.status, good.json["data"]["state"]) == (200, "verified")
    status = await door.ask("POST", "/api/otp/user-123/status", {"receipt": good.json["data"]["receipt"]})
    assert (status.status, status.json["data"]["closed"]) == (200, True)


async def test_a_consuming_status_forgets(door: Door) -> None:
    await door.put(otp="246810")
    await door.check("246810")

    first = await door.ask("DELETE", "/api/otp/user-123/status")

    assert (first.status, first.json["data"]["closed"]) == (200, True)
    assert (await door.ask("POST", "/api/otp/user-123/status", {})).code == "not_found"
    assert (await door.ask("GET", "/api/otp/user-123")).status == 404


async def test_a_generated_code_is_in_no_answer(door: Door) -> None:
    answers = [await door.put()]
    code = await code_of(door)
    answers += [
        await door.check(wrong(code)),
        await door.ask("GET", "/api/otp/user-123"),
        await door.check(code),
    ]
    answers += [await door.ask("POST", "/api/otp/user-123/status", {})]

    assert not any(f'"{code}"'.encode() in answer.body for answer in answers)


async def test_parameters_come_in_any_form(plain_door: Door) -> None:
    fields = {"provider": "mail", "to": ADDRESS, "otp": "246810"}
    boundary = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    multipart = {"content-type": "multipart/form-data; boundary=x"}

    answers = [
        await plain_door.ask("PUT", "/api/otp/form-1", fields),
        await plain_door.ask("PUT", "/api/otp/json-1", json=fields),
        await plain_door.ask(
            "PUT", "/api/otp/parts-1", body=(boundary + "--x--\r\n").encode(), headers=multipart
        ),
        await plain_door.ask("PUT", f"/api/otp/query-1?provider=mail&to={ADDRESS}&otp=246810"),
        await plain_door.ask("PUT", f"/api/otp/both-1?to={ADDRESS}", {"provider": "mail", "otp": "246810"}),
    ]

    assert [answer.status for answer in answers] == [200] * 5
    for id in ("form-1", "json-1", "parts-1", "query-1", "both-1"):
        assert (await plain_door.ask("POST", f"/api/otp/{id}", json={"otp": 246810})).status == 200


async def test_extra_comes_back_as_it_was(door: Door) -> None:
    made = await door.ask(
        "PUT", "/api/otp/user-123", json={"provider": "mail", "extra": {"n": 1.10, "ü": "☃"}}
    )
    assert b'"extra":{"n": 1.1, "\\u00fc": "\\u2603"}' in made.body


async def test_a_body_in_pieces(door: Door) -> None:
    headers = {"authorization": basic(), "content-type": door.form}
    body = f"provider=mail&to={ADDRESS}".encode()

    assert (await call(door.app, "PUT", "/api/otp/user-123", headers, body, pieces=7)).status == 200


async def test_the_same_key_gives_the_first_answer_even_without_an_id(plain_door: Door) -> None:
    fields, key = {"provider": "mail", "to": ADDRESS}, {"idempotency-key": "k1"}

    first = await plain_door.ask("PUT", "/api/otp", fields, headers=key)
    again = await plain_door.ask("PUT", "/api/otp", fields, headers=key)
    other = await plain_door.ask("PUT", "/api/otp", {**fields, "ttl": "9"}, headers=key)

    data = first.json["data"]
    assert (again.status, again.json["data"]["id"], again.json["data"]["gen"]) == (
        200,
        data["id"],
        data["gen"],
    )
    assert again.json["data"]["url"] == data["url"]
    assert (other.status, other.code) == (422, "idempotency_mismatch")
    await plain_door.node.settled(data["id"])
    assert len(outlet_of(plain_door).tried) == 1


async def test_a_repeated_check_is_counted_once(plain_door: Door) -> None:
    await plain_door.put(otp="246810")
    key = {"idempotency-key": "c1"}

    for _ in range(3):
        answer = await plain_door.ask("POST", "/api/otp/user-123", {"otp": "000000"}, headers=key)
    assert answer.json["data"]["attempts"] == 1
    other = await plain_door.ask("POST", "/api/otp/user-123", {"otp": "000001"}, headers=key)
    assert other.json["data"]["attempts"] == 2


async def test_a_repeated_right_check_gets_its_answer_again(plain_door: Door) -> None:
    await plain_door.put(otp="246810")
    key = {"idempotency-key": "c1"}

    first = await plain_door.ask("POST", "/api/otp/user-123", {"otp": "246810"}, headers=key)
    again = await plain_door.ask("POST", "/api/otp/user-123", {"otp": "246810"}, headers=key)
    late = await plain_door.ask(
        "POST", "/api/otp/user-123", {"otp": "246810"}, headers={"idempotency-key": "c2"}
    )

    assert (first.status, again.status, late.status) == (200, 200, 400)


async def test_two_requests_with_one_key_at_once(plain_door: Door) -> None:
    fields, key = {"provider": "mail", "to": ADDRESS}, {"idempotency-key": "k1"}

    answers = await asyncio.gather(
        *(plain_door.ask("PUT", "/api/otp/user-123", fields, headers=key) for _ in range(5))
    )

    assert {answer.status for answer in answers} <= {200, 409}
    for answer in answers:
        if answer.status == 409:
            assert (answer.code, answer.headers["retry-after"]) == ("idempotency_running", "1")
    await plain_door.node.settled()
    assert len(outlet_of(plain_door).tried) == 1


async def test_a_bad_key_is_refused(plain_door: Door) -> None:
    fields = {"provider": "mail", "to": ADDRESS}
    for key in ("x" * 256, "caf\xe9"):
        answer = await plain_door.ask("PUT", "/api/otp/user-123", fields, headers={"idempotency-key": key})
        assert (answer.status, answer.json["field"]) == (400, "Idempotency-Key")


async def test_500_wrong_guesses_at_two_doors_are_evaluated_5_times(new_door: NewDoor) -> None:
    one = await new_door()
    two, _ = hot.build(one.parts)
    await one.put(otp="246810")
    headers = {"authorization": basic(), "content-type": FORM}

    answers = await asyncio.gather(
        *(
            call((one.app, two)[n % 2], "POST", "/api/otp/user-123", headers, f"otp={n:06d}".encode())
            for n in range(500)
        )
    )

    codes = [answer.code for answer in answers]
    assert (codes.count("wrong_code"), codes.count("locked")) == (5, 495)


async def test_100_right_answers_at_once_are_right_once(door: Door) -> None:
    await door.put(otp="246810")

    answers = await asyncio.gather(*(door.check("246810") for _ in range(100)))

    assert sorted(answer.status for answer in answers) == [200] + [400] * 99


async def test_every_unknown_path_and_method_is_an_envelope(plain_door: Door) -> None:
    for method, path, status in (
        ("GET", "/nothing", 404),
        ("GET", "/api", 404),
        ("GET", "/api/otp/user-123/", 404),
        ("GET", "/api/otp/user-123/status/more", 404),
        ("GET", "/openapi.json", 404),
        ("GET", "/docs", 404),
        ("GET", "/metrics", 404),
        ("PUT", "/api/health", 405),
        ("HEAD", "/api/otp/user-123", 405),
        ("TRACE", "/api/otp/user-123", 405),
    ):
        answer = await plain_door.ask(method, path)
        if path.endswith("-123/"):
            assert answer.code == "not_found"
            continue
        assert (answer.status, answer.json["status"]) == (status, "error"), (method, path)
        assert ("allow" in answer.headers) == (status == 405)


async def test_the_front_passes_what_is_no_http(plain_door: Door) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "path": "/api/otp",
        "raw_path": b"/api/otp",
        "headers": [],
        "query_string": b"",
    }
    await plain_door.app(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]
