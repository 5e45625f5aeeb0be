"""Phone numbers: read to E.164 from whatever people and old clients write."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpsvc.address import canonical, phone
from otpsvc.errors import BadAddress


def refusal(country: str, address: str) -> str:
    with pytest.raises(BadAddress) as caught:
        phone(country).parse(address)
    return caught.value.message


@pytest.mark.parametrize(
    "written",
    [
        "08126666666",
        "+628126666666",
        "628126666666",
        "8126666666",
        "+62 812-6666-666",
        "(0812) 666.6666",
        "0812/6666666 ",
        "٠٨١٢٦٦٦٦٦٦٦",
        "０８１２６６６６６６６",
        "\u202a+62\u00a0812\u20116666\u2011666\u202c",
    ],
)
def test_phone_reads_to_e164(written: str) -> None:
    assert phone("ID").parse(written) == "+628126666666"


def test_plus_that_a_form_turned_into_a_blank_comes_back() -> None:
    assert phone("ID").parse(" 628126666666") == "+628126666666"
    assert phone().parse(" 628126666666") == "+628126666666"
    assert phone("US").parse(" 628126666666") == "+628126666666"


def test_leading_blank_before_a_national_number_is_a_blank() -> None:
    assert phone("ID").parse(" 08126666666") == "+628126666666"


def test_number_with_country_code_and_no_plus_is_not_read_as_a_national_one() -> None:
    """The number library alone reads it as +62 62812666666, which is another one's."""
    assert phone("ID").parse("62812666666") == "+62812666666"


@pytest.mark.parametrize("written", ["12025550123", "1 (202) 555-0123", "447911123456"])
def test_number_of_another_country_without_a_plus_is_read_as_old_relays_read_it(written: str) -> None:
    digits = "".join(c for c in written if c.isdecimal())
    assert phone("ID").parse(written) == f"+{digits}"
    assert "begin with +" in refusal("", written)


@pytest.mark.parametrize(
    ("country", "written", "number"),
    [
        ("", "+447700900123", "+447700900123"),
        ("GB", "07700 900123", "+447700900123"),
        ("GB", "447700900123", "+447700900123"),
        ("ID", "+1 555 000 1111", "+15550001111"),
        ("", " 15550001111", "+15550001111"),
    ],
)
def test_number_of_a_range_that_no_plan_knows_is_taken_where_it_has_one_reading(
    country: str, written: str, number: str
) -> None:
    """Plans change each month. (Ofcom's and NANPA's numbers for films stand for new ranges.)"""
    assert phone(country).parse(written) == number


def test_number_of_an_unknown_range_that_may_be_read_in_two_ways_is_refused() -> None:
    assert "Not a valid phone number of ID" in refusal("ID", "15550001111")


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("\u200b", "empty"),
        ("+", "Not a phone number"),
        ("0" * 65, "longer than 64"),
        ("0812\r\n6666666", "control characters"),
        ("0812666\u20286666", "control characters"),
        ("08126666666;ext=5", "Not a phone number"),
        ("tel:+628126666666", "Not a phone number"),
        ("1-800-FLOWERS", "Not a phone number"),
        ("0812²666666", "Not a phone number"),
        ("++628126666666", "Not a phone number"),
        ("0812+6666666", "Not a phone number"),
        ("12", "Not a valid phone number of ID"),
        ("()", "Not a valid phone number of ID"),
        ("+6281", "Not a valid phone number."),
        ("+6281234567890123", "Not a valid phone number."),
        ("+62812345678901234", "Not a valid phone number."),
    ],
)
def test_phone_refuses(written: str, reason: str) -> None:
    assert reason in refusal("ID", written)


def test_national_number_without_a_country_says_what_to_do() -> None:
    assert "begin with +" in refusal("", "08126666666")


@pytest.mark.parametrize("country", ["XX", "id", "IDN", "+62", "I D"])
def test_unknown_country_is_found_at_start(country: str) -> None:
    with pytest.raises(ValueError, match="country: expected two upper-case letters"):
        phone(country)


@pytest.mark.parametrize("country", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_every_country_reads_its_own_numbers(country: str) -> None:
    example_number = phonenumbers.example_number_for_type(country, phonenumbers.PhoneNumberType.MOBILE)
    number = example_number or phonenumbers.example_number(country)
    assert number is not None
    written = (phonenumbers.format_number(number, form) for form in (0, 1, 2))
    expected = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)

    assert {phone(country).parse(form) for form in written} == {expected}
    assert phone().parse(expected) == expected


@given(st.text(alphabet="0123456789+ -().\u202a٣", max_size=20))
def test_phone_answers_e164_and_reading_it_again_changes_nothing(written: str) -> None:
    try:
        number = phone("ID").parse(written)
    except BadAddress:
        return

    assert number[0] == "+"
    assert number[1:].isascii()
    assert number[1:].isdecimal()
    assert 6 <= len(number) <= 16
    assert phone("ID").parse(number) == number
    assert canonical(number) == number
