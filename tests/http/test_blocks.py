"""`/api/blocks`: a tenant's own list, and the list of all for who has the scope."""

from __future__ import annotations

import asyncio

import pytest

from tests.http.conftest import NewDoor
from tests.http.door import basic
from tests.http.gate import TO, Gate, gatekeeper, open_gate

OTHER = "+6281234567891"


async def numbers(gate: Gate, query: str = "") -> list[str]:
    answer = await gate.api("GET", "/api/blocks" + query)
    assert answer.status == 200
    return [one["number"] for one in answer.json["data"]]


async def test_an_entry_comes_and_goes(gate: Gate) -> None:
    missing = await gate.api("GET", f"/api/blocks/{TO}")
    made = await gate.api("PUT", f"/api/blocks/{TO}")
    # Until another millisecond.
    await asyncio.sleep(0.01)
    again = await gate.api("PUT", f"/api/blocks/{TO}")
    found = await gate.api("GET", f"/api/blocks/{TO}")
    listed = await gate.api("GET", "/api/blocks")
    gone = await gate.api("DELETE", f"/api/blocks/{TO}")
    twice = await gate.api("DELETE", f"/api/blocks/{TO}")

    assert (missing.status, missing.code) == (404, "not_found")
    assert made.status == 200
    assert list(made.json["data"]) == ["number", "since", "everywhere"]
    assert (made.json["data"]["number"], made.json["data"]["everywhere"]) == (TO, False)
    # The first one counts.
    assert again.json == made.json == found.json
    assert listed.json["data"] == [made.json["data"]]
    assert (gone.status, gone.json["data"]) == (200, "OK")
    assert (twice.status, twice.code) == (404, "not_found")
    assert await numbers(gate) == []


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("+6281234567890", TO),
        ("%2B6281234567890", TO),
        ("081234567890", TO),
        ("0812%203456-7890", TO),
        ("12345", "12345"),
        ("anna@home.example", "anna@home.example"),
        ("anna%40home.example", "anna@home.example"),
    ],
)
async def test_every_spelling_is_one_entry(written: str, number: str, gate: Gate) -> None:
    made = await gate.api("PUT", f"/api/blocks/{written}")

    assert (made.status, made.json["data"]["number"]) == (200, number)
    assert (await gate.api("GET", f"/api/blocks/{written}")).status == 200
    assert await numbers(gate) == [number]
    assert (await gate.api("DELETE", f"/api/blocks/{written}")).status == 200


async def test_variants_of_a_mailbox_are_one(gate: Gate) -> None:
    await gate.api("PUT", "/api/blocks/Anna+shop@home.example")

    answer = await gate.api("POST", "/api/messages", {"to": "anna@home.example", "text": "x"})

    assert (answer.status, answer.code) == (400, "blocked")


@pytest.mark.parametrize(
    "written",
    [
        "abc",
        "TELKOMSEL",
        "12",
        "012345",
        "+1",
        "1" * 30,
        "+62812%0D%0AAT",
        "%1A",
        "+6281234567890%00",
        "a@b@c",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_bad_numbers(method: str, written: str, gate: Gate) -> None:
    answer = await gate.api(method, f"/api/blocks/{written}")

    assert (answer.status, answer.code, answer.json["field"]) == (400, "invalid_address", "to")
    assert await numbers(gate) == []


async def test_the_list_of_all(new_door: NewDoor) -> None:
    gate = await open_gate(new_door, gatekeeper(), gatekeeper(name="bank", scopes=frozenset({"sms"})))
    bank = basic("bank")

    made = await gate.api("PUT", f"/api/blocks/{TO}", {"everywhere": "true"})
    await gate.api("PUT", f"/api/blocks/{OTHER}")

    assert made.json["data"]["everywhere"] is True
    assert await numbers(gate) == [OTHER]
    assert await numbers(gate, "?everywhere=true") == [TO]
    seen = await gate.api("GET", f"/api/blocks/{TO}", auth=bank)
    assert seen.json["data"]["everywhere"] is True
    refused = await gate.api("POST", "/api/messages", {"to": TO, "text": "x"}, auth=bank)
    assert refused.code == "blocked"
    assert (await gate.api("POST", "/api/messages", {"to": OTHER, "text": "x"}, auth=bank)).status == 202
    # It is not the tenant's to take back.
    assert (await gate.api("DELETE", f"/api/blocks/{TO}", auth=bank)).status == 404
    assert (await gate.api("DELETE", f"/api/blocks/{TO}?everywhere=true")).status == 200
    assert (await gate.api("GET", f"/api/blocks/{TO}", auth=bank)).status == 404


async def test_scopes(new_door: NewDoor) -> None:
    nobody = gatekeeper(name="nobody", scopes=frozenset({"otp", "mail"}))
    own = gatekeeper(name="own", scopes=frozenset({"sms"}))
    wide = gatekeeper(name="wide", scopes=frozenset({"blocks:global"}))
    gate = await open_gate(new_door, nobody, own, wide)
    asked = [("GET", ""), ("PUT", f"/{TO}"), ("DELETE", f"/{TO}")]

    async def statuses(name: str, query: str) -> list[int]:
        return [
            (await gate.api(method, f"/api/blocks{path}{query}", auth=basic(name))).status
            for method, path in asked
        ]

    assert await statuses("nobody", "") == [403] * 3 == await statuses("nobody", "?everywhere=1")
    assert await statuses("own", "") == [200] * 3
    assert await statuses("own", "?everywhere=true") == [403] * 3
    assert await statuses("wide", "") == [403] * 3
    assert await statuses("wide", "?everywhere=true") == [200] * 3


async def test_everywhere_is_yes_or_no(gate: Gate) -> None:
    answer = await gate.api("GET", "/api/blocks?everywhere=maybe")

    assert (answer.status, answer.code) == (400, "invalid_everywhere")


async def test_the_log_has_no_number(gate: Gate) -> None:
    await gate.api("PUT", f"/api/blocks/{TO}")

    assert gate.door.lines[-1].route == "/api/blocks/{number}"
    assert "81234" not in repr(gate.door.lines)


async def test_the_store_is_away(new_door: NewDoor) -> None:
    gate = await open_gate(new_door, url="unix:///nowhere/at/all", start=False)

    for method, path in (("GET", ""), ("GET", f"/{TO}"), ("PUT", f"/{TO}"), ("DELETE", f"/{TO}")):
        answer = await gate.api(method, "/api/blocks" + path)
        assert (answer.status, answer.code) == (503, "store_unavailable")
