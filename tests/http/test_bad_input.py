"""Every refusal names its field, and nothing is stored or sent."""

from __future__ import annotations

import pytest

from tests.far_ends.valkey import ValkeyServer
from tests.flows.rig import Outlet
from tests.http.conftest import NewDoor
from tests.http.door import FORM, Door, basic, call

ADDRESS = "anna@home.example"


def outlet_of(door: Door) -> Outlet:
    outlet = door.node.courier._routes["mail"].channels[0][1]
    assert isinstance(outlet, Outlet)
    return outlet


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
