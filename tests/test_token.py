"""Signed capabilities: valid for what they were made for, until they end, and nothing else."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpsvc.keyring import KeyEntry, Keyring
from otpsvc.token import RECEIPT_LIFE, Label, Subject, Token, read, same, sign

NOW, EXPIRES = 1_800_000_000, 1_800_000_060
GEN, OP = bytes(range(16)), b"12345678"
ONE, TWO = "11111111", "22222222"
ORDER = Subject("shop", "order-1")
BASE64 = string.ascii_letters + string.digits + "-_"


def ring(*states: tuple[str, str]) -> Keyring:
    return Keyring(b"i" * 32, [KeyEntry(id=name, state=state, secret=name * 8) for name, state in states])


KEYRING = ring((ONE, "active"), (TWO, "accept"))


def signed(label: Label = "receipt", *, keyring: Keyring = KEYRING) -> str:
    return sign(keyring, label, ORDER, gen=GEN, expires=EXPIRES, op=OP)


def reads(
    token: str,
    *,
    label: Label = "receipt",
    of: Subject = ORDER,
    now: float = NOW,
    keyring: Keyring = KEYRING,
) -> Token | None:
    return read(keyring, label, of, token, now=now)


def test_a_token_says_what_was_signed() -> None:
    assert reads(signed()) == Token(GEN, OP, EXPIRES)
    assert RECEIPT_LIFE == 60


def test_without_an_operation_it_holds_zeros() -> None:
    token = sign(KEYRING, "view", ORDER, gen=GEN, expires=EXPIRES)

    assert reads(token, label="view") == Token(GEN, bytes(8), EXPIRES)


@given(st.binary(min_size=16, max_size=16), st.integers(0, 2**32 - 1), st.binary(min_size=8, max_size=8))
def test_every_token_is_64_characters_that_need_no_escape(gen: bytes, expires: int, op: bytes) -> None:
    token = sign(KEYRING, "view", ORDER, gen=gen, expires=expires, op=op)

    assert len(token) == 64
    assert set(token) <= set(BASE64)
    assert reads(token, label="view", now=expires - 1) == Token(gen, op, expires)


@pytest.mark.parametrize("of", [Subject("bank", "order-1"), Subject("shop", "order-2"), Subject("shop", "")])
def test_it_is_bound_to_tenant_and_id(of: Subject) -> None:
    assert reads(signed(), of=of) is None


@pytest.mark.parametrize("label", ["view", "link"])
def test_it_is_bound_to_its_use(label: Label) -> None:
    assert reads(signed(), label=label) is None


def test_tenant_and_id_do_not_run_into_each_other() -> None:
    token = sign(KEYRING, "view", Subject("shop", "aorder"), gen=GEN, expires=EXPIRES)

    assert read(KEYRING, "view", Subject("shopa", "order"), token, now=NOW) is None


@pytest.mark.parametrize(
    ("now", "valid"), [(NOW, True), (EXPIRES - 0.001, True), (EXPIRES, False), (EXPIRES + 1, False)]
)
def test_it_ends(now: float, valid: bool) -> None:
    assert (reads(signed(), now=now) is not None) == valid


def test_any_changed_character_breaks_it() -> None:
    token = signed()
    for at, character in enumerate(token):
        for other in BASE64[(BASE64.index(character) + 1) % 64], BASE64[(BASE64.index(character) + 32) % 64]:
            assert reads(token[:at] + other + token[at + 1 :]) is None


@given(st.text(max_size=100))
def test_what_is_no_token_is_none(text: str) -> None:
    assert reads(text) is None


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 80, 81, 100_000])
@pytest.mark.parametrize("character", ["A", "=", "ü"])
def test_other_text_of_any_length_is_none(character: str, length: int) -> None:
    assert reads(character * length) is None


@pytest.mark.parametrize("cut", range(1, 64, 7))
def test_a_shortened_or_prolonged_token_is_none(cut: int) -> None:
    assert reads(signed()[:-cut]) is None
    assert reads(signed() + "A" * cut) is None


def test_it_outlives_a_rotation_and_dies_with_its_key() -> None:
    token = signed(keyring=ring((ONE, "active")))

    assert reads(token, keyring=ring((ONE, "accept"), (TWO, "active"))) is not None
    assert reads(token, keyring=ring((TWO, "active"))) is None


def test_another_secret_under_the_same_name_does_not_read_it() -> None:
    other = Keyring(b"i" * 32, [KeyEntry(id=ONE, state="active", secret="ab" * 32)])

    assert reads(signed(keyring=other)) is None


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_same_compares(one: bytes, other: bytes) -> None:
    assert same(one, other) == (one == other)
    assert same(one, bytes(one))
