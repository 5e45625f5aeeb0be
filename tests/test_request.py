"""The parameters of a create: what they mean, and how those that do not fit are refused."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpsvc.errors import BadRequest
from otpsvc.request import (
    CreateRequest,
    client_prefix,
    read_bool,
    read_client_ip,
    read_create,
    read_extra,
    read_gen,
    read_id,
    read_key,
    read_purpose,
)
from otpsvc.tenant import PURPOSES, TTL_CAP, Codes

CODES = Codes()
PLANTED = "+15550004711"


def create(**fields: str) -> CreateRequest:
    return read_create(fields, CODES, id="order-1")


def refused(**fields: str) -> tuple[str, str]:
    """The code word and the field of a refusal."""
    with pytest.raises(BadRequest) as error:
        create(**fields)
    return error.value.code, error.value.field


def test_what_was_asked_for() -> None:
    asked = create(
        provider="sms", to=PLANTED, otp="123456", ttl="60", max_attempts="3", max_generate="2",
        extra='{"a": 1}', channel_description="Shop", address_description="Your phone",
        purpose="authentication", locale="de-AT", client_ip="2001:DB8::0:1", trusted="true",
    )  # fmt: skip

    assert (asked.id, asked.provider, asked.to, asked.code) == ("order-1", "sms", PLANTED, "123456")
    assert (asked.ttl, asked.max_attempts, asked.max_sends) == (60, 3, 2)
    assert (asked.extra, asked.purpose, asked.locale) == (b'{"a": 1}', "authentication", "de-AT")
    assert (asked.channel_description, asked.address_description) == ("Shop", "Your phone")
    assert (asked.client_ip, asked.trusted) == ("2001:db8::1", True)


def test_what_was_not_said_is_the_tenants_default() -> None:
    asked = read_create({}, Codes(ttl=120, max_attempts=3, max_sends=2), id="order-1")

    assert (asked.ttl, asked.max_attempts, asked.max_sends) == (120, 3, 2)
    assert (asked.purpose, asked.trusted, asked.extra) == ("address_confirmation", False, b"")
    assert (asked.to, asked.code, asked.locale, asked.client_ip, asked.body) == ("", "", "", "", b"")


def test_nothing_of_it_is_printed() -> None:
    assert PLANTED not in f"{create(to=PLANTED)!r} {create(to=PLANTED)}"


# --- ids ---------------------------------------------------------------------


def test_without_an_id_it_is_128_random_bits() -> None:
    ids = {read_create({}, CODES).id for _ in range(1000)}

    assert len(ids) == 1000
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22}", id) for id in ids)


@pytest.mark.parametrize("id", ["order1", "a" * 128, "A.b_c~d:e@f+g=h,i-0"])
def test_an_id_of_the_documented_set(id: str) -> None:
    assert read_id(id) == id


BAD_IDS = ["", "short", "a" * 129, "order 1", "order/1", "order%1", "örder-1", "order-1\n", "order\0-1"]


@pytest.mark.parametrize("id", BAD_IDS)
def test_another_id_is_refused(id: str) -> None:
    with pytest.raises(BadRequest) as error:
        read_id(id)

    assert (error.value.code, error.value.field) == ("invalid_id", "id")


@given(st.text())
def test_an_id_is_taken_as_it_is_or_not_at_all(text: str) -> None:
    try:
        assert read_id(text) == text
    except BadRequest:
        return
    assert 6 <= len(text) <= 128
    assert text.isascii()


@pytest.mark.parametrize("text", ["0" * 31, "0" * 33, "0" * 31 + "G", "A" * 32, " " * 32, "０" * 32])
def test_a_generation_is_as_it_was_answered(text: str) -> None:
    assert (read_gen(""), read_gen("0f" * 16)) == (b"", b"\x0f" * 16)
    with pytest.raises(BadRequest) as error:
        read_gen(text)
    assert (error.value.code, error.value.field) == ("invalid_gen", "gen")


# --- numbers -----------------------------------------------------------------

NOT_NUMBERS = ["0", "-1", "+5", "1.5", "1e3", "0x10", " 5", "5 ", "five", "٥", "²", "1" * 21, "５", "\0"]


@pytest.mark.parametrize("text", NOT_NUMBERS)
@pytest.mark.parametrize("name", ["ttl", "max_attempts", "max_generate"])
def test_what_is_no_positive_number_is_refused(name: str, text: str) -> None:
    assert refused(**{name: text}) == (f"invalid_{name}", name)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_ttl_has_the_purposes_cap(purpose: str) -> None:
    cap = TTL_CAP[read_purpose(purpose)]

    assert create(purpose=purpose, ttl="1").ttl == 1
    assert create(purpose=purpose, ttl=str(cap)).ttl == cap
    assert refused(purpose=purpose, ttl=str(cap + 1)) == ("invalid_ttl", "ttl")


def test_a_default_ttl_is_cut_to_the_purposes_cap() -> None:
    codes = Codes(ttl=86_400)

    assert read_create({"purpose": "transaction"}, codes, id="order-1").ttl == 600
    assert read_create({}, codes, id="order-1").ttl == 86_400


def test_attempts_and_sends_over_their_caps_count_as_the_caps() -> None:
    asked = create(max_attempts="99999999999999999999", max_generate="999")

    assert (asked.max_attempts, asked.max_sends) == (10, 20)
    assert create(max_attempts="10").max_attempts == 10
    assert read_create({}, Codes(max_attempts=50, max_attempts_cap=7), id="order-1").max_attempts == 7


def test_a_transaction_has_at_most_five_attempts() -> None:
    assert create(purpose="transaction", max_attempts="9").max_attempts == 5
    assert create(purpose="transaction", max_attempts="2").max_attempts == 2


# --- words -------------------------------------------------------------------


@pytest.mark.parametrize("purpose", ["login", "Authentication", "authentication ", "0", "\0"])
def test_a_purpose_is_one_of_three(purpose: str) -> None:
    assert refused(purpose=purpose) == ("invalid_purpose", "purpose")


def test_a_bool_is_gos() -> None:
    read = {text: read_bool({"trusted": text}, "trusted") for text in ("1", "t", "TRUE", "0", "F", "False")}

    assert read == {"1": True, "t": True, "TRUE": True, "0": False, "F": False, "False": False}
    assert read_bool({}, "trusted") is False


@pytest.mark.parametrize("text", ["yes", "on", "2", "tRUE", " true", "١"])
def test_another_bool_is_refused(text: str) -> None:
    assert refused(trusted=text) == ("invalid_trusted", "trusted")


@pytest.mark.parametrize("locale", ["en", "fil", "de-AT", "zh_Hant_TW", "sr-Latn-RS"])
def test_a_locale_is_a_language_tag(locale: str) -> None:
    assert create(locale=locale).locale == locale


@pytest.mark.parametrize("locale", ["e", "english", "de-", "de-A", "../en", "en\n", "de" + "-AT" * 20])
def test_another_locale_is_refused(locale: str) -> None:
    assert refused(locale=locale) == ("invalid_locale", "locale")


@pytest.mark.parametrize("name", ["channel_description", "address_description"])
def test_a_description_has_a_length(name: str) -> None:
    assert getattr(create(**{name: "ü" * 1000}), name) == "ü" * 1000
    assert refused(**{name: "ü" * 1001}) == (f"invalid_{name}", name)
    assert refused(**{name: "a\0b"}) == (f"invalid_{name}", name)


# --- extra -------------------------------------------------------------------


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_extra_is_kept_as_it_came(value: Any) -> None:
    text = json.dumps(value)
    assert read_extra(f" {text}\n") == text.encode()


@pytest.mark.parametrize("text", ["", " ", "{}", " {} "])
def test_no_extra_is_empty(text: str) -> None:
    assert read_extra(text) == b""


BAD_EXTRAS = ["{", "{'a': 1}", "nul", "{} {}", "NaN", "1e999", '"\ud800"', "[" * 4000, "1" + " " * 4096 + "1"]


@pytest.mark.parametrize("text", BAD_EXTRAS, ids=range(len(BAD_EXTRAS)))
def test_extra_that_is_no_json_is_refused(text: str) -> None:
    assert refused(extra=text) == ("invalid_extra", "extra")


def test_extra_has_at_most_four_kilobytes() -> None:
    assert len(read_extra('"' + "a" * 4094 + '"')) == 4096
    assert refused(extra='"' + "a" * 4095 + '"') == ("invalid_extra", "extra")
    assert refused(extra='"' + "ü" * 2048 + '"') == ("invalid_extra", "extra")


# --- the client's address ------------------------------------------------------


BAD_IPS = ["1.2.3", "01.2.3.4", "1.2.3.4/32", "::1::", "localhost", "1.2.3.4\n", " ::1", "１.2.3.4"]


@pytest.mark.parametrize("text", BAD_IPS)
def test_a_client_ip_is_an_address(text: str) -> None:
    assert refused(client_ip=text) == ("invalid_client_ip", "client_ip")


@pytest.mark.parametrize(
    ("address", "prefix"),
    [
        ("", ""),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_a_client_is_counted_by_its_prefix(address: str, prefix: str) -> None:
    assert client_prefix(read_client_ip(address)) == prefix


@given(st.ip_addresses())
def test_every_address_has_a_prefix(address: object) -> None:
    assert client_prefix(read_client_ip(str(address)))


# --- Idempotency-Key -----------------------------------------------------------


@pytest.mark.parametrize("key", ["", "k", "k" * 255, "8e03978e-40d5-43e8-bc93-6894a57f9324", '"quoted key"'])
def test_a_key_is_printable_ascii(key: str) -> None:
    assert read_key(key) == key


@pytest.mark.parametrize("key", ["k" * 256, "ü", "a\tb", "a\nb", "\x7f", "a\0"])
def test_another_key_is_refused(key: str) -> None:
    with pytest.raises(BadRequest) as error:
        read_key(key)

    assert (error.value.code, error.value.field) == ("invalid_idempotency_key", "Idempotency-Key")


def body(id: str = "order-1", **fields: str) -> bytes:
    return read_create(fields, CODES, id=id, key="key").body


def test_a_key_is_bound_to_the_whole_request_in_any_order() -> None:
    same = body(provider="sms", to=PLANTED)

    assert body(to=PLANTED, provider="sms") == same
    others = [
        body(provider="sms"), body(provider="sms", to="+1"), body("order-2", provider="sms", to=PLANTED),
        body(provider="sms", to=PLANTED, ttl="60"), body(provider="sms", to=PLANTED, otp="123456"),
        body(provider=PLANTED, to="sms"), body("", provider="sms", to=PLANTED),
    ]  # fmt: skip
    assert len({same, *others}) == 1 + len(others)


def test_without_an_id_a_key_is_bound_to_that() -> None:
    """The random id differs each time, and the request is the same."""
    assert body("", to=PLANTED) == body("", to=PLANTED)


NAMES = st.sampled_from(["to", "ttl", "otp", "extra", "purpose", "locale", "other"])


@given(st.dictionaries(NAMES, st.text(), max_size=4))
def test_any_text_is_read_or_refused_with_its_field(fields: dict[str, str]) -> None:
    try:
        create(**fields)
    except BadRequest as error:
        refusal = error
    else:
        return
    assert refusal.code.startswith("invalid_")
    assert refusal.field in fields
