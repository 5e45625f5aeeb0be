"""The calls of the API beyond the table of docs/wire.md: forms of bodies, keys, races, faults, logs."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import Any

import pytest

from otpsvc.errors import StoreUnavailable
from otpsvc.http import api
from otpsvc.http.parts import RequestLine
from otpsvc.tenant import Codes, Secret
from otpsvc.view import View
from tests.far_ends.cut_proxy import CutProxy
from tests.far_ends.valkey import ValkeyServer
from tests.flows.rig import Outlet, wrong
from tests.http.conftest import NewDoor, shop
from tests.http.door import FORM, RARE_FORM, Door, Wire, basic, call

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


BAD = {
    "ttl": ["0", "86401", "x", "1e2", "-1", "9" * 30, "１２"],
    "max_attempts": ["0", "x", "9" * 30],
    "max_generate": ["0", "-1", "1.5"],
    "extra": ["{", '"' + "x" * 5000 + '"', "[" * 3000, "nope"],
    "to": [
        "anna",
        "a@b@c",
        "anna@home.example\r\nBcc: x@y.example",
        "a" * 300 + "@home.example",
        "ä@home.example",
    ],
    "otp": ["123", "12345x", "1" * 11, "１２３４５６"],
    "provider": ["", "pigeon", "callback", "mail\0"],
    "purpose": ["fun", "AUTHENTICATION"],
    "locale": ["!", "x" * 40],
    "client_ip": ["me", "1.2.3", "300.1.1.1"],
    "trusted": ["maybe", "yes"],
    "channel_description": ["x" * 1001],
    "address_description": ["x" * 1001],
}
CASES = [(field, value) for field, values in BAD.items() for value in values]


@pytest.mark.parametrize(("field", "value"), CASES, ids=[f"{field}-{value[:12]!r}" for field, value in CASES])
async def test_bad_input_names_its_field_and_leaves_nothing(
    field: str, value: str, door: Door, server: ValkeyServer
) -> None:
    answer = await door.put(**{field: value})

    assert (answer.status, answer.json["status"], answer.json["field"]) == (400, "error", field)
    assert answer.json["message"]
    assert answer.code
    assert [
        key for key in server.ask("KEYS", "*") if b"otp:" in key or b"due:" in key or b"guard:" in key
    ] == []
    assert outlet_of(door).tried == []


@pytest.mark.parametrize(
    "id", ["short", "x" * 129, "user%20123", "user%2f12", "user%00123", "us%C3%BCer12", "a%"]
)
@pytest.mark.parametrize(
    "what", [("PUT", ""), ("POST", ""), ("POST", "/status"), ("GET", ""), ("DELETE", "")]
)
async def test_bad_ids(id: str, what: tuple[str, str], door: Door) -> None:
    method, more = what
    fields = {"provider": "mail", "otp": "1"} if method in {"PUT", "POST"} else None

    answer = await door.ask(method, f"/api/otp/{id}{more}", fields)

    assert (answer.status, answer.code in {"invalid_id", "bad_encoding"}) == (400, True)


async def test_phone_numbers_survive_an_unescaped_plus(new_door: NewDoor) -> None:
    from otpsvc.address import phone

    door = await new_door(outlets={"sms": Outlet(phone())})
    body = b"provider=sms&to=+6281234567890"
    headers = {"authorization": basic(), "content-type": FORM}

    assert (await call(door.app, "PUT", "/api/otp/user-123", headers, body)).json["data"][
        "to"
    ] == "+6281234567890"


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
    two = api.build(one.parts)
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


# Faults


class Failing:
    """A verifier's store with a bug that quotes what nobody should read."""

    async def read(self, *_: object) -> View:
        planted_local = "code 246810"
        raise RuntimeError(f"planted {ADDRESS} {planted_local}")


async def test_a_bug_is_a_500_that_says_nothing(plain_door: Door) -> None:
    plain_door.node.verifier.store = Failing()  # type: ignore[assignment]

    answer = await plain_door.ask("GET", "/api/otp/user-123")

    line = plain_door.lines[-1]
    assert (answer.status, answer.code) == (500, "internal")
    assert (
        answer.json["data"]
        == {"request_id": line.request_id}
        == {"request_id": answer.headers["x-request-id"]}
    )
    assert line.failure.startswith("RuntimeError at test_api.py:")
    assert "calls.py" in line.failure
    for secret in (ADDRESS, "246810", "planted", "user-123"):
        assert secret not in answer.body.decode() + repr(line)


async def test_a_silent_store_is_a_503_within_a_second(new_door: NewDoor, server: ValkeyServer) -> None:
    async with CutProxy(server.path) as proxy:
        door = await new_door(url=proxy.url, start=False)
        await door.put(otp="246810")
        await proxy.misbehave("hangs", times=None)
        began = time.monotonic()

        answer = await door.check("000000")

        assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "store_unavailable", "1")
        assert time.monotonic() - began < 1.5
        await proxy.behave()
        proxy.cut()
        assert (await door.check("246810")).status == 200


async def test_a_full_hash_pool_is_a_503_that_counts_nothing(new_door: NewDoor) -> None:
    door = await new_door(shop(codes=Codes(hash="argon2id")))
    await door.put(otp="246810")
    door.node.pool._most = 0

    full = await door.check("000000")
    door.node.pool._most = 256

    assert (full.status, full.code) == (503, "hash_pool_full")
    assert (await door.check("000000")).json["data"]["attempts"] == 1


async def test_failed_logins_end_in_429(plain_door: Door) -> None:
    for _ in range(30):
        assert (await plain_door.ask("GET", "/api/providers", auth=basic(secret="no"))).status == 401

    answer = await plain_door.ask("GET", "/api/providers", auth=basic(secret="no"))
    elsewhere = await plain_door.ask(
        "GET", "/api/providers", auth=basic(secret="no"), client=("192.0.2.9", 5)
    )

    assert (answer.status, answer.code) == (429, "too_many_logins")
    assert int(answer.headers["retry-after"]) in {1, 2}
    assert elsewhere.status == 401


# Logs


async def test_one_line_a_request_that_names_nobody(door: Door) -> None:
    await door.put()
    await door.check("000000")
    await door.ask("POST", "/api/otp/user-123/status", {})
    await door.ask("GET", "/api/otp/user-123?t=planted-query")
    await door.ask("GET", "/otp/shop/user-123?t=planted-query", auth="")
    await door.ask("GET", "/planted/path", auth="")

    shown = [(line.method, line.route, line.status, line.code, line.tenant) for line in door.lines]
    assert shown == [
        ("PUT", "/api/otp/{id}", 200, "", "shop"),
        ("POST", "/api/otp/{id}", 400, "wrong_code", "shop"),
        ("POST", "/api/otp/{id}/status", 400, "not_verified", "shop"),
        ("GET", "/api/otp/{id}", 200, "", "shop"),
        ("GET", "/otp/{ns}/{id}", 404, "", ""),
        ("GET", "?", 404, "unknown_route", ""),
    ]
    assert {line.client for line in door.lines} == {"127.0.0.0/24"}
    assert len({line.request_id for line in door.lines}) == 6
    assert all(0 < line.seconds < 5 and not line.failure for line in door.lines)
    assert "planted" not in repr(door.lines)
    assert "user-123" not in repr(door.lines)


async def test_the_client_behind_our_proxy_is_what_is_logged(new_door: NewDoor) -> None:
    door = await new_door(trusted_proxies=("127.0.0.0/8", "unix"))
    forwarded = {"x-forwarded-for": "6.6.6.6, 203.0.113.77"}

    await door.ask("GET", "/", headers=forwarded)
    await door.ask("GET", "/", headers=forwarded, client=None)
    await door.ask("GET", "/", headers=forwarded, client=("192.0.2.1", 5))

    assert [line.client for line in door.lines] == ["203.0.113.0/24", "203.0.113.0/24", "192.0.2.0/24"]


# Over a socket


async def said(wire: Wire, raw: bytes) -> tuple[int, bytes]:
    answer = await wire.say(raw)
    return int(answer.split(b" ")[1]), answer


def head(method: str, target: str, *lines: str) -> bytes:
    login = base64.b64encode(b"shop:planted-secret").decode()
    every = (f"{method} {target} HTTP/1.1", "Host: localhost", f"Authorization: Basic {login}", *lines)
    return "\r\n".join(every).encode() + b"\r\n\r\n"


@pytest.mark.parametrize("form", [FORM, RARE_FORM], ids=["hot", "litestar"])
async def test_a_large_body_is_refused_before_it_is_sent(
    form: str, plain_door: Door, session_wire: Wire
) -> None:
    session_wire.app = plain_door.app
    lines = (f"Content-Type: {form}", "Content-Length: 65537")

    status, answer = await said(session_wire, head("PUT", "/api/otp/user-123", *lines) + b"a=1")

    assert (status, b'"code":"body_too_large"' in answer, b"\r\nconnection: close\r\n" in answer) == (
        400,
        True,
        True,
    )


async def test_a_chunked_body_is_counted(plain_door: Door, session_wire: Wire) -> None:
    session_wire.app = plain_door.app
    lines = (f"Content-Type: {FORM}", "Transfer-Encoding: chunked")
    chunk = b"4000\r\n" + b"a" * 0x4000 + b"\r\n"

    fits = await said(session_wire, head("PUT", "/api/otp/user-123", *lines) + chunk + b"0\r\n\r\n")
    large = await said(session_wire, head("PUT", "/api/otp/user-123", *lines) + chunk * 5 + b"0\r\n\r\n")

    assert b'"code":"unknown_provider"' in fits[1]
    assert b'"code":"body_too_large"' in large[1]


async def test_no_body_is_read_from_strangers(plain_door: Door, session_wire: Wire) -> None:
    session_wire.app = plain_door.app
    raw = (
        b"PUT /api/otp/user-123 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 60000\r\n\r\n"
    )

    status, answer = await said(session_wire, raw)

    assert (status, answer.count(b"HTTP/1.1")) == (401, 1)


async def test_ids_are_read_from_the_raw_path(plain_door: Door, session_wire: Wire) -> None:
    session_wire.app = plain_door.app
    for target, status in (
        ("/api/otp/user%2F123", 400),
        ("/api/otp/user%252F123", 400),
        ("/api/otp/a%40b:c+d", 404),
        ("/api/otp/..%2f..%2fapi", 400),
        ("//api/otp/user-123", 404),
    ):
        assert (await said(session_wire, head("GET", target)))[0] == status, target


def test_lines_hold_nothing_by_default() -> None:
    line = RequestLine(request_id="x", method="GET", route="/", status=200, seconds=0.1)
    assert (line.tenant, line.client, line.code, line.failure) == ("", "", "", "")


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


def test_a_secret_is_shown_nowhere() -> None:
    assert "planted" not in repr(shop(secrets=(Secret("planted-secret", plain=True),)))
    assert StoreUnavailable.message == "Unable to reach store."
