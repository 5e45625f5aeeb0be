"""Keys, subkeys, digests and seals: each for one use, each bound to what it belongs to."""

from __future__ import annotations

import hmac
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpsvc.errors import KeyNotOffered, KeyringError
from otpsvc.keyring import LABELS, Key, KeyEntry, Keyring, lp, subkey

INDEX = bytes(range(32, 64))
ONE, TWO, OLD = "11111111", "22222222", "33333333"


def entry(name: str, state: str) -> KeyEntry:
    return KeyEntry(id=name, state=state, secret="" if state == "retired" else (name * 8))


def ring(*states: tuple[str, str], index: bytes = INDEX) -> Keyring:
    return Keyring(index, [entry(name, state) for name, state in states or ((ONE, "active"),)])


def test_it_holds_one_active_key_and_those_that_are_accepted() -> None:
    keyring = ring((ONE, "accept"), (TWO, "active"), (OLD, "retired"))

    assert keyring.active.name == TWO
    assert list(keyring.keys) == [bytes.fromhex(ONE), bytes.fromhex(TWO)]
    assert keyring.key(bytes.fromhex(ONE)).state == "accept"


@pytest.mark.parametrize(
    "states", [[(ONE, "accept")], [(ONE, "retired")], [(ONE, "active"), (TWO, "active")]]
)
def test_it_must_have_exactly_one_active_key(states: list[tuple[str, str]]) -> None:
    with pytest.raises(KeyringError, match="exactly one"):
        ring(*states)


@pytest.mark.parametrize("kid", [bytes.fromhex(OLD), bytes.fromhex(TWO), b"", b"long enough"])
def test_a_key_that_is_not_held_is_not_offered(kid: bytes) -> None:
    with pytest.raises(KeyNotOffered):
        ring((ONE, "active"), (OLD, "retired")).key(kid)


# --- parts and subkeys -------------------------------------------------------


@given(st.lists(st.binary(max_size=6), max_size=4), st.lists(st.binary(max_size=6), max_size=4))
def test_no_two_lists_of_parts_are_joined_alike(one: list[bytes], other: list[bytes]) -> None:
    assert (lp(*one) == lp(*other)) == (one == other)


def test_text_and_bytes_are_joined_alike() -> None:
    assert lp("ü", b"a") == lp("ü".encode(), "a") == b"\0\0\0\2\xc3\xbc\0\0\0\1a"


def test_a_subkey_is_hkdf_expand_by_its_label() -> None:
    """RFC 5869, 2.3: T(1) = HMAC(PRK, info | 0x01). Whoever changes this loses every record."""
    secret = bytes(range(32))

    assert subkey(secret, "code") == hmac.digest(secret, b"otpsvc/1/code\x01", "sha256")


def test_every_label_has_its_own_subkey() -> None:
    key = Key(ONE, bytes(range(32)), "active")
    subkeys = {key.subkey(label) for label in LABELS}

    assert len(subkeys) == len(LABELS)
    assert {len(one) for one in subkeys} == {32}
    assert len({key.mac(label, b"data") for label in LABELS}) == len(LABELS)
    with pytest.raises(KeyError):
        key.subkey("another use")


def test_check_values_tell_secrets_apart() -> None:
    one = Key(ONE, b"a" * 32, "active")
    values = [
        key.check_value() for key in (one, Key(ONE, b"b" * 32, "active"), Key(TWO, b"a" * 32, "active"))
    ]

    assert len(set(values)) == 3
    assert one.check_value() == Key(ONE, b"a" * 32, "accept").check_value()
    assert ring().index_check_value() != ring(index=b"x" * 32).index_check_value()


# --- digests -----------------------------------------------------------------


def test_digests_and_names_stay_the_same_for_ever() -> None:
    """They are keys in the store: another value and a block list is empty."""
    keyring = ring()

    assert keyring.digest("dest", "+15550001111").hex() == "c092d880afee9ad4d9f070dad739192f"
    assert keyring.name("id", "shop", "order-1") == "TlJPaURkGoy4mCml4xbDgA"
    code = keyring.code_digest(keyring.active, "shop", "order-1", "123456")
    assert code.hex() == "7f5475eb5d499d613d96f17f099b446f"


def test_a_name_is_a_digest_that_fits_a_key() -> None:
    keyring = ring()

    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", keyring.name("id", "shop", "order-1"))
    assert len({keyring.name("id", "shop", f"order-{at}") for at in range(1000)}) == 1000
    assert keyring.digest("a", "bc") != keyring.digest("ab", "c")


def test_digests_do_not_move_with_the_active_key() -> None:
    assert ring((ONE, "active")).digest("dest", "x") == ring((TWO, "active")).digest("dest", "x")
    assert ring().digest("dest", "x") != ring(index=b"x" * 32).digest("dest", "x")


def test_a_codes_digest_belongs_to_key_tenant_id_and_code() -> None:
    keyring = ring((ONE, "active"), (TWO, "accept"))
    one, two = keyring.keys.values()
    digests = [
        keyring.code_digest(key, tenant, challenge, code)
        for key in (one, two)
        for tenant, challenge, code in (
            ("shop", "order-1", "123456"),
            ("bank", "order-1", "123456"),
            ("shop", "order-2", "123456"),
            ("shop", "order-1", "123457"),
            ("shop", "order-11", "23456"),
        )
    ]

    assert len(set(digests)) == 10
    assert {len(digest) for digest in digests} == {16}


def test_a_guess_is_offered_under_every_live_key() -> None:
    keyring = ring((ONE, "active"), (TWO, "accept"), (OLD, "retired"))

    assert keyring.code_digests("shop", "order-1", "123456") == [
        (key.kid, keyring.code_digest(key, "shop", "order-1", "123456")) for key in keyring.keys.values()
    ]


# --- seals -------------------------------------------------------------------


@given(st.binary(max_size=200), st.lists(st.text(max_size=5), max_size=3))
def test_what_is_sealed_is_opened_where_it_belongs(plain: bytes, aad: list[str]) -> None:
    keyring = ring()
    sealed = keyring.seal(plain, *aad)

    assert keyring.unseal(sealed, *aad) == plain
    assert len(sealed) == len(plain) + 4 + 12 + 16
    with pytest.raises(KeyringError, match="moved"):
        keyring.unseal(sealed, *aad, "elsewhere")


def test_one_text_is_sealed_differently_each_time() -> None:
    keyring = ring()

    assert len({keyring.seal(b"text", "blob") for _ in range(100)}) == 100


def test_a_changed_seal_is_refused_wherever_it_was_changed() -> None:
    keyring = ring()
    sealed = keyring.seal(b"text", "blob", "shop")
    for at in range(len(sealed)):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(KeyNotOffered if at < 4 else KeyringError):
            keyring.unseal(changed, "blob", "shop")


def test_a_seal_under_another_keys_name_is_refused() -> None:
    keyring = ring((ONE, "active"), (TWO, "accept"))
    sealed = keyring.seal(b"text", "blob")

    with pytest.raises(KeyringError):
        keyring.unseal(bytes.fromhex(TWO) + sealed[4:], "blob")


def test_an_older_seal_opens_after_a_rotation_and_not_without_its_key() -> None:
    sealed = ring((ONE, "active")).seal(b"text", "blob")

    assert ring((ONE, "accept"), (TWO, "active")).unseal(sealed, "blob") == b"text"
    with pytest.raises(KeyNotOffered):
        ring((ONE, "retired"), (TWO, "active")).unseal(sealed, "blob")


def test_nothing_shows_a_secret() -> None:
    one = entry(ONE, "active")
    shown = " ".join(f"{thing!r} {thing}" for thing in (one, Key(ONE, b"s" * 32, "active"), ring()))

    assert ONE in shown
    assert one.secret not in shown
    assert "s" * 32 not in shown
