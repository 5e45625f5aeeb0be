"""Secrets of tenants: made, kept in three forms, compared."""

from __future__ import annotations

import pytest

from otpsvc.credential import hash_chosen, is_slow, matches, new_secret
from otpsvc.hashpool import Cost
from otpsvc.tenant import Secret

CHEAP = Cost(memory=64, passes=1)


def test_a_new_secret_matches_its_hash_and_no_other() -> None:
    secret, kept = new_secret()
    other, _ = new_secret()

    assert matches(Secret(kept), secret)
    assert not matches(Secret(kept), other)
    assert not matches(Secret(kept), kept)


def test_a_new_secret_has_256_bits_and_its_hash_a_salt() -> None:
    made = [new_secret() for _ in range(50)]

    assert {len(secret) for secret, _ in made} == {43}
    assert len({kept.split("$")[1] for _, kept in made}) == 50
    assert all(kept.startswith("otpsvc1$") and secret not in kept for secret, kept in made)


def test_a_chosen_secret_is_argon2id() -> None:
    kept = hash_chosen("correct horse", cost=CHEAP)

    assert kept.startswith("$argon2id$v=19$m=64,t=1,p=1$")
    assert is_slow(Secret(kept))
    assert matches(Secret(kept), "correct horse")
    assert not matches(Secret(kept), "correct horse ")


def test_a_plain_secret_is_never_read_as_a_hash() -> None:
    kept = hash_chosen("inner", cost=CHEAP)

    assert matches(Secret("plain-secret", plain=True), "plain-secret")
    assert not matches(Secret("plain-secret", plain=True), "plain-secreT")
    assert matches(Secret(kept, plain=True), kept)
    assert not matches(Secret(kept, plain=True), "inner")


@pytest.mark.parametrize(
    "kept", ["otpsvc1$", "otpsvc1$a$b$c", "otpsvc1$a", "otpsvc1$!$!", "$argon2id$", "$argon2id$v=19$m=64$x$y"]
)
def test_a_broken_hash_matches_nothing(kept: str) -> None:
    assert not matches(Secret(kept), "")
    assert not matches(Secret(kept), kept)


def test_secrets_beyond_ascii() -> None:
    assert matches(Secret("pässwörd-☃", plain=True), "pässwörd-☃")
    assert matches(Secret(hash_chosen("pässwörd-☃", cost=CHEAP)), "pässwörd-☃")
