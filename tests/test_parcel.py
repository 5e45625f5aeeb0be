"""Commands between nodes: read by who knows the secret, changed by nobody, refused after their end."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpsvc.errors import BadRequest
from otpsvc.parcel import RAW_MAX, Parcels, is_parcel

SECRET = "a secret of the shop, 32 letters"
BODY = b'{"command":"send-sms","data":{"message":"739164"}}'
NOW = 1_800_000_000.0
LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"


def parcel(**other: Any) -> bytes:
    return Parcels(SECRET).close(BODY, **{"id": "m1", "until": NOW + 60, **other})


def refusal(raw: bytes, *, secret: str = SECRET, now: float = NOW) -> str:
    with pytest.raises(BadRequest) as refused:
        Parcels(secret).open(raw, now=now)
    return refused.value.code


def changed(raw: bytes, **other: object) -> bytes:
    return json.dumps({**json.loads(raw), **other}).encode()


def test_what_was_closed_is_opened() -> None:
    raw = parcel()

    assert Parcels(SECRET).open(raw, now=NOW) == BODY
    assert is_parcel(raw)


def test_it_is_one_object_of_strings_and_numbers() -> None:
    found = json.loads(parcel())

    assert list(found) == ["otpsvc", "key", "id", "until", "body"]
    assert (found["otpsvc"], found["id"], found["until"]) == ("sealed-1", "m1", NOW + 60)
    assert len(bytes.fromhex(found["key"])) == 4


def test_nothing_of_the_body_shows_and_no_two_are_alike() -> None:
    one, two = parcel(), parcel()

    assert b"739164" not in one
    assert json.loads(one)["body"] != json.loads(two)["body"]


def test_a_broker_may_write_the_json_in_its_own_way() -> None:
    raw = json.dumps(json.loads(parcel(until=NOW + 60.25)), indent=2).encode()

    assert Parcels(SECRET).open(raw, now=NOW) == BODY


def test_another_secret_is_told_from_plain_text() -> None:
    assert refusal(parcel(), secret="b secret of the shop, 32 letters") == "sealed_otherwise"
    assert refusal(BODY) == "not_sealed"


def test_another_secret_under_the_same_name_opens_nothing() -> None:
    other = Parcels("b secret of the shop, 32 letters").close(BODY, id="m1", until=NOW + 60)

    assert refusal(changed(other, key=json.loads(parcel())["key"])) == "sealed_otherwise"


@pytest.mark.parametrize("other", [{"id": "m2"}, {"until": NOW + 61}, {"until": -1}, {"key": "00000000"}])
def test_no_field_can_be_changed(other: dict[str, object]) -> None:
    assert refusal(changed(parcel(), **other)) == "sealed_otherwise"


@given(st.integers(0, 80), st.integers(1, 63))
def test_no_byte_of_the_body_can_be_changed(at: int, shift: int) -> None:
    sealed = json.loads(parcel())["body"]
    letter = LETTERS[(LETTERS.index(sealed[at]) + shift) % 64]

    assert refusal(changed(parcel(), body=sealed[:at] + letter + sealed[at + 1 :])) == "sealed_otherwise"


@pytest.mark.parametrize("body", ["", "AAAA", "A", "*" * 80, "ä" * 80, "A" * 80])
def test_a_broken_body_is_refused(body: str) -> None:
    assert refusal(changed(parcel(), body=body)) == "sealed_otherwise"


def test_it_is_not_opened_after_its_end() -> None:
    assert refusal(parcel(), now=NOW + 60) == "expired"
    assert Parcels(SECRET).open(parcel(), now=NOW + 59.9) == BODY


def test_the_end_of_a_forged_one_is_not_believed() -> None:
    """What its maker says counts only when it is surely the maker's."""
    assert refusal(changed(parcel(), until=NOW - 1), now=NOW) == "sealed_otherwise"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"\xff",
        b'{"otpsvc":"sealed-1"}',
        b'{"otpsvc":"sealed-1","key":1,"id":"m","until":1,"body":""}',
        b'{"otpsvc":"sealed-1","key":"","id":"m","until":"soon","body":""}',
        b'{"otpsvc":"sealed-1","key":' + b"[" * 50_000,
        b'{"otpsvc":"sealed-2","key":"","id":"m","until":1,"body":""}',
        b'{"command":"send-sms","data":{"message":"\\"otpsvc\\":\\"sealed-1\\""}}',
        b'["otpsvc","sealed-1"]',
    ],
)
def test_what_is_no_parcel_is_not_sealed(raw: bytes) -> None:
    assert refusal(raw) == "not_sealed"


def test_a_larger_one_is_not_read() -> None:
    assert Parcels(SECRET).open(parcel() + b" " * (RAW_MAX - len(parcel())), now=NOW) == BODY
    assert refusal(parcel() + b" " * RAW_MAX) == "not_sealed"


def test_the_largest_command_fits() -> None:
    raw = Parcels(SECRET).close(b"x" * 65_536, id="i" * 200, until=NOW + 60)

    assert len(Parcels(SECRET).open(raw, now=NOW)) == 65_536


def test_only_what_says_so_is_a_parcel() -> None:
    assert is_parcel(b'\n{ "otpsvc" : "sealed-1", ?')
    assert not is_parcel(BODY)
    assert not is_parcel(b'{"command":"echo","otpsvc":"sealed-1"}')


def test_its_mark_comes_first() -> None:
    """So that a look at the beginning tells: whoever finds no parcel there opens none."""
    found = json.loads(parcel())
    turned = json.dumps(dict(reversed(found.items()))).encode()

    assert not is_parcel(turned)
    assert refusal(turned) == "not_sealed"


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 32 characters"):
        Parcels(SECRET[:31])


def test_the_secret_is_in_no_repr() -> None:
    assert SECRET not in repr(Parcels(SECRET))
    assert repr(Parcels(SECRET)) == f"Parcels({json.loads(parcel())['key']})"
