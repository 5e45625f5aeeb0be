"""`request-otp` and `verify-otp` of OTP-Pi: its words, on the real attempts, guards and expiry."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from otpsvc.tenant import Codes, Limits
from tests.flows.rig import wrong
from tests.http.conftest import NewDoor
from tests.http.gate import TO, Gate, gatekeeper, open_gate
from tests.waiting import until

MAIL = "anna@home.example"
BOUND = {"param1": "100.00", "param2": "IDR", "param3": "shop 7"}


async def request(gate: Gate, reference: str = "order-1", **more: Any) -> Any:
    data = {"receiver": TO, "message": "Code: %s", "date_time": int(time.time())} | more
    return await gate.command("request-otp", "/api/otp", reference=reference, **data)


async def verify(gate: Gate, otp: str, reference: str = "order-1", **more: Any) -> Any:
    data = {"receiver": TO, "otp": otp} | more
    return await gate.command("verify-otp", "/api/otp", reference=reference, **data)


async def code_of(gate: Gate, count: int = 1) -> str:
    return (await gate.texts(count))[-1][1].removeprefix("Code: ")


async def test_request_and_verify(gate: Gate) -> None:
    asked = await request(gate, **BOUND, date_time=1_700_000_000)
    code = await code_of(gate)
    good = await verify(gate, code, **BOUND, date_time="1700000001")
    spent = await verify(gate, code, **BOUND)

    data = {"reference": "order-1", "receiver": TO, "date_time": 1_700_000_000, "id": "order-1"}
    state = asked["data"].pop("status")
    assert asked == {"command": "request-otp", "response_code": "0000", "data": data}
    assert state in {"queued", "sending"}
    assert good == {
        "command": "verify-otp",
        "response_code": "0000",
        "data": data | {"date_time": 1_700_000_001, "status": "verified"},
    }
    assert (spent["response_code"], spent["data"]["status"]) == ("1202", "wrong")
    assert gate.sms.taken[0].text == f"Code: {code}"
    assert len(code) == 6


async def test_no_answer_holds_the_code(gate: Gate) -> None:
    answer = await request(gate)
    code = await code_of(gate)

    assert code not in repr(answer)
    assert code not in repr(await verify(gate, wrong(code)))


async def test_by_mail(gate: Gate) -> None:
    await request(gate, receiver=MAIL, subject="Sign in", message="It is %s")

    ((to, subject, text),) = await gate.mails()
    assert (to, subject) == (MAIL, "Sign in")
    good = await verify(gate, text.removeprefix("It is "), receiver=MAIL)
    assert good["response_code"] == "0000"


async def test_without_a_text_ours_is_sent(gate: Gate) -> None:
    await request(gate, message="")

    text = (await gate.texts())[0][1]
    assert gate.sms.taken[0].code in text


async def test_the_last_place_is_for_the_code_alone(gate: Gate) -> None:
    await request(gate, message="{{ code }} 100% {0} %s $code")

    text = (await gate.texts())[0][1]
    assert text == f"{{{{ code }}}} 100% {{0}} {gate.sms.taken[0].code} $code"


@pytest.mark.parametrize("text", ["no place", "%s and %s", "%d"])
async def test_a_text_needs_one_place(text: str, gate: Gate) -> None:
    answer = await request(gate, message=text)

    assert (answer["response_code"], answer["error"]) == (
        "1102",
        "`message` needs one %s for the code.",
    )
    assert answer["data"]["reference"] == "order-1"
    assert gate.nothing_left()


async def test_a_reference_stands_for_one_code(gate: Gate) -> None:
    await request(gate)
    code = await code_of(gate)
    again = await request(gate)
    elsewhere = await request(gate, receiver="+6281234567891")

    for answer in (again, elsewhere):
        assert (answer["response_code"], answer["error"]) == ("1201", "duplicate reference")
        assert answer["data"]["status"] == "duplicate"
    assert (await verify(gate, code))["response_code"] == "0000"
    assert len(gate.sms.tried) == 1


async def test_a_reference_is_free_again_when_it_was_verified(gate: Gate) -> None:
    await request(gate)
    assert (await verify(gate, await code_of(gate)))["response_code"] == "0000"

    assert (await request(gate))["response_code"] == "0000"
    assert (await verify(gate, await code_of(gate, 2)))["response_code"] == "0000"


@pytest.mark.parametrize(
    "changed",
    [
        {"receiver": "+6281234567891"},
        {"param1": "1000.00"},
        {"param2": ""},
        {"param4": "x"},
        {"param1": "IDR", "param2": "100.00"},
        {"param1": "100.00I", "param2": "DR"},
        {"receiver": "junk"},
    ],
)
async def test_a_code_is_bound_to_its_receiver_and_parameters(changed: dict[str, str], gate: Gate) -> None:
    await request(gate, **BOUND)
    code = await code_of(gate)

    other = await verify(gate, code, **(BOUND | changed))
    same = await verify(gate, code, **BOUND)

    assert (other["response_code"], other["error"]) == ("1202", "invalid OTP")
    assert same["response_code"] == "0000"


async def test_other_spellings_of_a_receiver_are_the_same(gate: Gate) -> None:
    await request(gate, param1=100)

    good = await verify(gate, await code_of(gate), receiver="0812-3456-7890", param1="100")

    assert good["response_code"] == "0000"


async def test_attempts_are_counted(gate: Gate) -> None:
    await request(gate, **BOUND)
    code = await code_of(gate)

    # A guess at a parameter is one as well.
    guesses = [await verify(gate, wrong(code), **BOUND) for _ in range(2)]
    guesses += [await verify(gate, code) for _ in range(3)]
    locked = await verify(gate, code, **BOUND)
    again = await request(gate, **BOUND)

    assert {one["response_code"] for one in guesses} == {"1202"}
    assert (locked["response_code"], locked["data"]["status"]) == ("1202", "locked")
    assert again["response_code"] == "1201"


async def test_many_guesses_at_once_are_counted(gate: Gate) -> None:
    await request(gate)
    code = await code_of(gate)

    answers = await asyncio.gather(*(verify(gate, wrong(code)) for _ in range(30)))

    assert {one["response_code"] for one in answers} == {"1202"}
    assert (await verify(gate, code))["response_code"] == "1202"


async def test_an_unknown_reference_is_a_wrong_code(gate: Gate) -> None:
    unknown = await verify(gate, "123456", "never")
    await request(gate)
    guess = await verify(gate, wrong(await code_of(gate)))

    for answer in (unknown, guess):
        answer["data"] |= {"reference": "", "id": "", "date_time": 0}
    assert unknown == guess


@pytest.mark.parametrize("otp", ["", None, "x" * 65, "\0", True])
async def test_no_code_at_all(otp: object, gate: Gate) -> None:
    await request(gate)

    answer = await gate.command("verify-otp", reference="order-1", receiver=TO, otp=otp)

    assert answer["response_code"] == "1202"


async def test_an_expired_code(gate: Gate) -> None:
    now = int(time.time())
    # Long enough for its message to leave.
    await request(gate, date_time=now, expiration=now + 6)
    code = await code_of(gate)
    await asyncio.sleep(6.1)
    answer = await verify(gate, wrong(code))

    assert (answer["response_code"], answer["error"]) == ("1203", "expired")
    assert answer["data"]["status"] == "expired"
    # OTP-Pi sweeps once a minute.
    await asyncio.sleep(3.0)
    assert (await verify(gate, code))["response_code"] == "1203"


async def test_a_life_over_the_cap(gate: Gate) -> None:
    answer = await request(gate, expiration=int(time.time()) + 200_000)

    assert answer["response_code"] == "1102"
    assert "86400" in answer["error"]


async def test_a_message_that_fails_frees_the_reference(gate: Gate) -> None:
    gate.sms.refuses(times=1)
    await request(gate)
    await until(lambda: gate.sms.tried)

    async def free() -> bool:
        return bool((await request(gate))["response_code"] != "1201")

    await until(free)
    assert (await verify(gate, await code_of(gate)))["response_code"] == "0000"


async def test_guards_hold(new_door: NewDoor) -> None:
    gate = await open_gate(new_door, gatekeeper(limits=Limits()))

    answers = [await request(gate, f"order-{at}") for at in range(6)]

    assert [one["response_code"] for one in answers] == ["0000"] * 5 + ["1102"]
    assert answers[5]["data"]["status"] == "limited"


async def test_any_text_is_a_reference(gate: Gate) -> None:
    for at, reference in enumerate(("a", "ü/☃", "x" * 5000, "a b\r\nc")):
        assert (await request(gate, reference))["data"]["reference"] == reference
        assert (await verify(gate, await code_of(gate, at + 1), reference))["response_code"] == "0000"
    assert (await request(gate, "7"))["response_code"] == "0000"
    number = await gate.raw(b'{"command":"request-otp","data":{"reference":7,"receiver":"+6281234567890"}}')
    assert number.json["response_code"] == "1201"


async def test_its_ids_are_none_of_the_tenants(gate: Gate) -> None:
    await request(gate, "order-123")

    assert (await gate.api("GET", "/api/otp/order-123")).status == 404


async def test_slow_hashes_and_letters(new_door: NewDoor) -> None:
    codes = Codes(hash="argon2id", alphabet="letters", length=8)
    gate = await open_gate(new_door, gatekeeper(codes=codes))
    await request(gate)

    assert (await verify(gate, "WRONGONE"))["response_code"] == "1202"
    assert (await verify(gate, (await code_of(gate)).lower()))["response_code"] == "0000"
