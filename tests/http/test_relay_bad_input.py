"""What relay clients get wrong: each is refused in words, nothing is sent and nothing is kept."""

from __future__ import annotations

import pytest

from otpsvc.tenant import Limits, Rate
from tests.http.conftest import NewDoor
from tests.http.gate import TO, Gate, gatekeeper, open_gate

TEXT = "Your parcel is here"
MAIL = "anna@home.example"

NUMBERS = [
    "abc",
    "0812345x7890",
    '+6281234567890"',
    '+628123";\rAT+CMGD=1,4\r"',
    "+6281234567890\r\n",
    "+6281234567890\n",
    "+6281234567890\x1a",
    "+6281234567890\0",
    "+62812345678901234567",
    "081234567890;",
    "1" * 400,
    "+62812345678\ud800",
    "anna@-home.example",
    "012",
    "-7",
    " ",
]
TEXTS = {"x" * 10_001: "longer", "a\ud800": "half", "a\0b": "control", "a\x1ab": "control"}


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("command", ["send-sms", "block-msisdn", "request-otp"])
async def test_bad_numbers(command: str, number: str, gate: Gate) -> None:
    answer = await gate.command(command, reference="r1", receiver=number, message="%s")

    assert (answer["command"], answer["response_code"]) == (command, "1102")
    assert answer["error"]
    assert answer["data"]["status"] == "refused"
    assert gate.nothing_left()
    assert (await gate.api("GET", "/api/blocks")).json["data"] == []


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize("command", ["send-sms", "send-message", "request-otp"])
async def test_bad_texts(command: str, text: str, gate: Gate) -> None:
    word = TEXTS[text]
    answer = await gate.command(command, reference="r1", receiver=TO, message=text + "%s")

    assert (answer["response_code"], answer["data"]["status"]) == ("1102", "refused")
    assert word in answer["error"]
    assert gate.nothing_left()


async def test_an_empty_text_and_a_bad_subject(gate: Gate) -> None:
    empty = await gate.command("send-sms", msisdn=TO, message="")
    nothing = await gate.command("send-sms", msisdn=TO, message=None)
    header = await gate.command("send-mail", recipient=MAIL, subject="a\r\nBcc: x@y.example", message="x")
    long = await gate.command("send-mail", recipient=MAIL, subject="a" * 201, message="x")
    half = await gate.command("send-mail", recipient=MAIL, subject="a\ud800", message="x")

    assert {one["response_code"] for one in (empty, nothing, header, long, half)} == {"1102"}
    assert empty["error"] == "`text` is empty."
    assert gate.nothing_left()


async def test_halves_of_characters_elsewhere_do_no_harm(gate: Gate) -> None:
    sent = await gate.command("send-sms", id="\ud800", msisdn=TO, message=TEXT)
    wrong = await gate.command("verify-otp", reference="\udfff", receiver=TO, otp="\ud800", param1="\ud800")
    echo = await gate.raw(b'{"command":"echo","data":{"x":"\\ud800 \\u00fc"}}')

    assert (sent["response_code"], wrong["response_code"]) == ("0000", "1202")
    assert echo.json["data"] == {"x": "\ud800 ü"}
    assert b'"\\ud800 \\u00fc"' in echo.body


@pytest.mark.parametrize(
    ("scopes", "command"),
    [
        ({"sms"}, "send-mail"),
        ({"mail"}, "send-sms"),
        ({"mail"}, "block-msisdn"),
        ({"sms"}, "request-otp"),
        ({"sms"}, "verify-otp"),
        ({"sms"}, "request-ussd"),
        ({"sms"}, "get-modem-list"),
        ({"sms", "blocks:global"}, "request-ussd"),
    ],
)
async def test_scopes(scopes: set[str], command: str, new_door: NewDoor) -> None:
    gate = await open_gate(new_door, gatekeeper(scopes=frozenset(scopes)))
    to = MAIL if command == "send-mail" else TO
    answer = await gate.command(
        command, reference="r", receiver=to, message="%s", otp="1", ussd_code="*1#", modem_id="one"
    )

    assert (answer["command"], answer["response_code"]) == (command, "1100")
    assert answer["data"]["status"] == "forbidden"
    assert gate.nothing_left()


async def test_a_quota_that_is_used_up(new_door: NewDoor) -> None:
    limits = Limits(sends=Rate(2, 3600))
    gate = await open_gate(new_door, gatekeeper(limits=limits))

    answers = [await gate.command("send-sms", msisdn=TO, message=f"{TEXT} {at}") for at in range(3)]

    assert [one["response_code"] for one in answers] == ["0000", "0000", "1102"]
    assert answers[2]["data"] == {"id": "", "status": "limited"}
    assert "used up" in answers[2]["error"]
