"""Numbers in PDUs, and the last look at one before it is dialled."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpsvc.errors import BadPdu
from otpsvc.gsm import address
from otpsvc.gsm.octets import Octets

digits = st.text(st.sampled_from("0123456789"), min_size=1, max_size=20)


def may_be_dialled(number: str) -> bool:
    with suppress(ValueError):
        address.dialled(number)
        return True
    return False


def read(hexes: str) -> str:
    return address.read(Octets(bytes.fromhex(hexes)))


@pytest.mark.parametrize("number", ["+46708251358", "+123", "+999999999999999", "123", "50131", "00000000"])
def test_dialled(number: str) -> None:
    assert may_be_dialled(number)


@pytest.mark.parametrize(
    "number",
    [
        "",
        "+",
        "12",
        "+12",
        "123456789",
        "+1234567890123456",
        "+0123456",
        "++12345",
        "12345+",
        " 12345",
        "12345\n",
        "12345\x1a",
        "+123;456",
        '123"',
        "*100#",
        "+62 812",
        "+62-812",
        "12a45",
        "١٢٣٤٥",
        "１２３４５",
        "²³¹",
    ],
)
def test_not_dialled(number: str) -> None:
    with pytest.raises(ValueError, match="Not a number that can be dialled") as caught:
        address.dialled(number)

    assert len(number) < 2 or number not in str(caught.value)


@pytest.mark.parametrize(
    ("number", "field"),
    [
        ("+46708251358", "0B916407281553F8"),
        ("+628123456789", "0C91261832547698"),
        ("50131", "05810531F1"),
        ("123", "038121F3"),
        ("0708251358", "0A817080523185"),
        ("*100#", "05811A00FB"),
    ],
)
def test_known_fields(number: str, field: str) -> None:
    assert address.encode(number).hex().upper() == field
    assert read(field) == number


@given(st.booleans(), digits)
def test_numbers_come_back(international: bool, written: str) -> None:
    number = "+" * international + written

    assert read(address.encode(number).hex()) == number
    assert address.read_smsc(Octets(address.encode_smsc(number))) == number


@pytest.mark.parametrize("number", ["", "+", "1" * 21, "BANK", "1 2", "12\n"])
def test_what_is_no_number_is_not_encoded(number: str) -> None:
    with pytest.raises(ValueError, match="Not a number"):
        address.encode(number)


@pytest.mark.parametrize(
    ("field", "number"),
    [
        # Types of number: unknown, national, network specific, subscriber, abbreviated.
        ("0481" + "2143", "1234"),
        ("04A1" + "2143", "1234"),
        ("04B1" + "2143", "1234"),
        ("0BC8" + "7238880900F1", "27838890001"),
        ("04E1" + "2143", "1234"),
        # International in plans other than E.164, and without the extension bit.
        ("0490" + "2143", "+1234"),
        ("0411" + "2143", "+1234"),
        # Every nibble that a number may hold.
        ("0F81" + "1032547698BADCFE", "0123456789*#abc"),
        # The filler counted as a digit, and no filler where one is due.
        ("0491" + "21F3", "+123"),
        ("0391" + "2143", "+123"),
        # Fillers alone, and no digits at all.
        ("0491" + "FFFF", ""),
        ("0091", ""),
        ("0081", ""),
    ],
)
def test_numbers_as_networks_write_them(field: str, number: str) -> None:
    assert read(field) == number


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("FONIC", "09D0C6A7333904"),
        ("FONIC", "09D1C6A7333904"),
        ("www.tim.it", "12D0F7FBDD454FB75D693A"),
        # Seven septets: the seven bits left over are no `@`.
        ("Service", "0DD0D3B2DC9E1E9701"),
    ],
)
def test_alphanumeric_senders(name: str, field: str) -> None:
    assert read(field) == name
    assert address.encode_sender(name).hex().upper() == field.replace("D1", "D0")


@given(st.text(st.sampled_from("ABCxyz 019@_&.-€[|"), min_size=1, max_size=11))
def test_alphanumeric_senders_come_back(name: str) -> None:
    try:
        field = address.encode_sender(name)
    except ValueError:
        assert len(name) + sum(c in "€[|" for c in name) > 11
        return

    assert len(field) <= 12
    assert read(field.hex()) == name


@pytest.mark.parametrize("name", ["", "twelve chars", "€€€€€€", "Банк", "a\x1bb"])
def test_what_is_no_sender_is_not_encoded(name: str) -> None:
    with pytest.raises(ValueError, match="Not a sender"):
        address.encode_sender(name)


@pytest.mark.parametrize(
    "field", ["", "04", "0491", "049121", "0B916407281553", "15912143658709214365870921"]
)
def test_too_short_or_too_long(field: str) -> None:
    with pytest.raises(BadPdu):
        read(field)


@pytest.mark.parametrize(
    ("field", "smsc"),
    [
        ("00", ""),
        ("0191", ""),
        ("0681214365F7", None),
        ("0791538375000075", "+353857000057"),
        ("07917283010010F5", "+27381000015"),
        ("0591214365F7", "+1234567"),
        ("04812143F5", "12345"),
        ("0291FF", ""),
        # A type that is for names says nothing here.
        ("03D12143", "1234"),
    ],
)
def test_smsc(field: str, smsc: str | None) -> None:
    octets = Octets(bytes.fromhex(field))
    if smsc is None:
        with pytest.raises(BadPdu):
            address.read_smsc(octets)
    else:
        assert address.read_smsc(octets) == smsc
