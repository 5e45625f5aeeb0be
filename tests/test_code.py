"""Codes: unbiased, stable for ever where derived, and read the way people type."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpsvc import code
from otpsvc.code import ALPHABETS, Alphabet, derived_code, fits, normalised, random_code, read_supplied
from otpsvc.errors import BadRequest

KEY = bytes(range(32))
alphabets = st.sampled_from(sorted(ALPHABETS))
each_alphabet = pytest.mark.parametrize("alphabet", sorted(ALPHABETS))

#: Chi-square at p = 0.001 for 9 and for 19 degrees of freedom.
CRITICAL = {"digits": 27.88, "letters": 43.82}


def chi_square(seen: Counter[str], letters: str) -> float:
    expected = seen.total() / len(letters)
    return sum((seen[letter] - expected) ** 2 / expected for letter in letters)


# --- making ----------------------------------------------------------------


@given(st.integers(1, 64), alphabets)
def test_random_code_has_its_length_and_alphabet(length: int, alphabet: Alphabet) -> None:
    assert fits(random_code(length, alphabet), alphabet, length)


def test_random_codes_differ() -> None:
    assert len({random_code(10, "letters") for _ in range(100)}) == 100


@each_alphabet
def test_every_kept_byte_value_is_shared_out_evenly(alphabet: Alphabet) -> None:
    """Exact, not statistical: of all 256 byte values each character gets as many."""
    seen = Counter(code._picked(bytes(range(256)), alphabet))

    assert set(seen) == set(ALPHABETS[alphabet])
    assert len(set(seen.values())) == 1


@each_alphabet
def test_derived_codes_are_uniform_at_every_place(alphabet: Alphabet) -> None:
    """20,000 fixed contexts: the answer is the same in every run."""
    codes = [derived_code(KEY, number.to_bytes(4, "big"), 6, alphabet) for number in range(20_000)]

    for place in range(6):
        assert chi_square(Counter(c[place] for c in codes), ALPHABETS[alphabet]) < CRITICAL[alphabet]
    assert chi_square(Counter("".join(codes)), ALPHABETS[alphabet]) < CRITICAL[alphabet]


def test_the_measure_would_notice_a_remainder_of_bytes() -> None:
    """What otpgateway does: byte % 10 gives 0-5 more often than 6-9."""
    biased: Counter[str] = Counter()
    for number in range(20_000):
        block = hmac.digest(KEY, number.to_bytes(8, "big"), "sha256")
        biased.update(str(byte % 10) for byte in block[:6])

    assert chi_square(biased, ALPHABETS["digits"]) > CRITICAL["digits"]


@pytest.mark.parametrize(
    ("context", "length", "alphabet", "expected"),
    [
        (b"", 6, "digits", "927541"),
        (b"shop", 6, "digits", "520738"),
        (b"shop", 10, "digits", "5207380913"),
        (b"shop", 6, "letters", "KFR6X7"),
        (b"\x00" * 64, 8, "letters", "JRMM6NMW"),
        (b"shop", 70, "digits", "5207380913538519770403580836487801987365966193894588418229906580449383"),
    ],
)
def test_derived_codes_never_change(context: bytes, length: int, alphabet: Alphabet, expected: str) -> None:
    """A resend after an upgrade must send the same code: these answers are for ever."""
    assert derived_code(KEY, context, length, alphabet) == expected


def told_again(key: bytes, context: bytes, length: int, alphabet: Alphabet) -> str:
    """The derivation written a second time, byte by byte."""
    letters, found = ALPHABETS[alphabet], ""
    for counter in count():
        message = len(context).to_bytes(4, "big") + context + counter.to_bytes(4, "big")
        for byte in hmac.new(key, message, hashlib.sha256).digest():
            if byte < 256 - 256 % len(letters):
                found += letters[byte % len(letters)]
            if len(found) == length:
                return found
    raise AssertionError


@given(st.binary(min_size=16, max_size=64), st.binary(max_size=80), st.integers(1, 100), alphabets)
def test_derived_code_is_as_it_is_described(
    key: bytes, context: bytes, length: int, alphabet: Alphabet
) -> None:
    assert derived_code(key, context, length, alphabet) == told_again(key, context, length, alphabet)


def test_derived_code_depends_on_key_and_context() -> None:
    assert derived_code(KEY, b"a", 10, "digits") != derived_code(KEY, b"b", 10, "digits")
    assert derived_code(KEY, b"a", 10, "digits") != derived_code(KEY[::-1], b"a", 10, "digits")


def test_letters_have_no_look_alikes_and_no_vowels() -> None:
    assert not set(ALPHABETS["letters"]) & set("0O1IL2Z5S8BGUVAE")
    assert len(set(ALPHABETS["letters"])) == len(ALPHABETS["letters"]) == 20


# --- reading ---------------------------------------------------------------


@pytest.mark.parametrize(
    "typed",
    [
        "123456",
        " 123 456 ",
        "123-456",
        "1.2.3.4.5.6",
        "123\u2013456",
        "123\u00a0456\r\n",
        "\u200b123\u200d456\ufeff",
        "\u202a123456\u202c",
        "١٢٣٤٥٦",
        "۱۲۳۴۵۶",
        "१२३४५६",
        "１２３　４５６",
        "123·456",
    ],
)
def test_digits_as_people_type_them(typed: str) -> None:
    assert normalised(typed, "digits") == "123456"


@pytest.mark.parametrize("typed", ["cdf-346", "CDF346", "c d f 3 4 6", "ｃｄｆ３４６", "CＤF٣٤٦"])
def test_letters_as_people_type_them(typed: str) -> None:
    assert normalised(typed, "letters") == "CDF346"


@pytest.mark.parametrize(
    "typed", ["", "12345²", "①23456", "12345a", "123,456", "1234567", "x" * 65, "1 " * 40]
)
def test_what_is_not_a_code_does_not_fit(typed: str) -> None:
    assert not fits(normalised(typed, "digits"), "digits", 6)


@given(st.text(max_size=80), alphabets)
def test_normalising_is_stable_and_never_fails(typed: str, alphabet: Alphabet) -> None:
    once = normalised(typed, alphabet)

    assert len(once) > 64 or normalised(once, alphabet) == once


@given(
    st.integers(4, 10), alphabets, st.lists(st.sampled_from(" -.\u200b\u2014\t"), max_size=10), st.randoms()
)
def test_a_code_survives_whatever_is_put_between(
    length: int, alphabet: Alphabet, fillers: list[str], random: object
) -> None:
    made = random_code(length, alphabet)
    typed = "".join(a + b for a, b in zip(made, fillers + [""] * length, strict=False))

    assert normalised(typed.lower(), alphabet) == made


def test_fits_without_a_length_takes_4_to_10() -> None:
    assert [n for n in range(15) if fits("1" * n, "digits")] == [4, 5, 6, 7, 8, 9, 10]
    assert not fits("12a34", "digits")
    assert not fits("١٢٣٤٥٦", "digits")


# --- supplied --------------------------------------------------------------


def test_supplied_code_is_taken_in_upper_case() -> None:
    assert read_supplied("0000", "digits") == "0000"
    assert read_supplied("cdf346", "letters") == "CDF346"


@pytest.mark.parametrize("alphabet", ["digits", "letters"])
@pytest.mark.parametrize(
    "text", ["", "123", "12345678901", "12-456", " 123456", "12345\n", "１２３４５６", "ABO123"]
)
def test_supplied_code_that_does_not_fit_is_refused(text: str, alphabet: Alphabet) -> None:
    with pytest.raises(BadRequest) as caught:
        read_supplied(text, alphabet)

    assert (caught.value.code, caught.value.field) == ("invalid_otp", "otp")
