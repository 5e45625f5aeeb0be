"""USSD: what may be dialled, and what modems make of codes and answers."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpsvc.gsm import alphabet
from otpsvc.gsm.ussd import Dialect, dangerous, decode, dialable, encode, pack, unpack

ANSWERS = [
    "Saldo Anda Rp 5000, berlaku s/d 12.12.2026",
    "Your balance is $12.40. Dial *123*1# for more",
    "1. Internet\n2. Pulsa\n3. Keluar\nBalas:",
    "Ваш баланс 120.50 руб.",
    "您的余额为12.40元",
    "残高は100円です",
    "ยอดเงินคงเหลือ 25 บาท",
    "رصيدك الحالي هو 15 ريال",
    "Bakiyeniz 12,40 TL. Teşekkürler",
    "Solde: 12€ valable jusqu'à demain",
    "Υπόλοιπο 5 ευρώ",
    "आपका बैलेंस 5 रुपये है",
    "Sisa pulsa 0",
    "Kode: 992817",
    "Rückruf",
]


def may_be_dialled(code: str) -> bool:
    with suppress(ValueError):
        dialable(code)
        return True
    return False


@pytest.mark.parametrize("code", ["*123#", "#123*1#", "1", "*123*08123456789*5#", "+", "0" * 40])
def test_codes_that_may_be_dialled(code: str) -> None:
    assert may_be_dialled(code)


@pytest.mark.parametrize(
    "code",
    [
        "",
        "*123#;",
        '*123#"',
        "*123#\r",
        "*123#\x1a",
        "abc",
        "0" * 41,
        "*12 3#",
        "*１２３#",
        "*123#\n",
        "\x1b",
        "*1٣#",
    ],
)
def test_codes_that_may_not(code: str) -> None:
    with pytest.raises(ValueError, match="Not a USSD code") as refused:
        dialable(code)

    assert not code or code not in str(refused.value)


@pytest.mark.parametrize(
    "code",
    [
        *("*21*08123#", "*62*08123#", "*67#", "*61*08123**20#", "*002*08123#", "*004*08123#", "**21*08123#"),
        *("**04*1234*5678*5678#", "**05*12345678*1111*1111#", "**042*1#", "**052*1#", "*03*330*1*2*2#"),
        *("*33*0000#", "*35*0000#", "*330*0000#", "*331#", "#33*0000#", "#21#", "##002#", "##21#", "##004#"),
        *("+*21*08123#", "*+21*08123#", "**123#"),
    ],
)
def test_codes_that_forward_bar_or_change_a_pin(code: str) -> None:
    assert dangerous(code)


@pytest.mark.parametrize(
    "code", ["*123#", "*100*1#", "*888#", "*2100#", "*211#", "*#06#", "*#21#", "1", "*0021#"]
)
def test_codes_that_only_ask(code: str) -> None:
    assert not dangerous(code)


@given(st.binary(max_size=60).map(lambda octets: bytes(octet & 0x7F for octet in octets)))
def test_what_is_packed_is_unpacked(codes: bytes) -> None:
    # A filler that ends on an octet cannot be told from a last character. (23.038, 6.1.2.3.1)
    ends = codes.endswith((b"\r", b"\0"))

    assert unpack(pack(codes)).rstrip(b"\r\0") == codes.rstrip(b"\r\0")
    assert ends or unpack(pack(codes)) == codes


def test_codes_as_modems_want_them() -> None:
    assert encode("*100#", Dialect.TEXT) == "*100#"
    assert encode("*100#", Dialect.PACKED) == "AA180C3602"
    assert encode("*100#", Dialect.UCS2) == "002A0031003000300023"
    # Seven characters are filled up with a CR, not with a null that would read as `@`.
    assert encode("*1234*#", Dialect.PACKED) == "AA986C46538D1A"
    assert unpack(bytes.fromhex("AA986C46538D1A")) == b"*1234*#"


@pytest.mark.parametrize("dcs", [0, 1, 4, 15, 17, 68, 72])
@pytest.mark.parametrize("text", ANSWERS)
def test_every_dialect_is_read_whatever_the_dcs_says(text: str, dcs: int) -> None:
    codes = alphabet.encode(text)

    assert decode(text, dcs) == text
    assert decode(text.encode("utf-16-be").hex().upper(), dcs) == text
    assert decode(text.encode("utf-16-be").hex(), dcs) == text
    if codes is not None:
        assert decode(pack(codes).hex().upper(), dcs) == text
    if text.isascii():
        assert decode(text.encode("latin-1").hex().upper(), dcs) == text


def test_a_hex_answer_that_was_broken_into_lines_is_read() -> None:
    hexes = ANSWERS[0].encode("utf-16-be").hex().upper()

    assert decode(hexes[:60] + "\n" + hexes[60:], 15) == ANSWERS[0]


@pytest.mark.parametrize("number", ["5000", "1234", "12345678", "62811234567890", "20202020", "0"])
def test_a_number_stays_a_number(number: str) -> None:
    assert all(decode(number, dcs) == number for dcs in (0, 1, 15, 68, 72))


def test_text_in_the_modems_own_set_is_read() -> None:
    assert decode("Balance: \x025 \x11 \x1b\x3cok\x1b\x3e", 15) == "Balance: $5 _ [ok]"
    assert decode("Баланс 5 р.".encode().decode("latin-1"), 15) == "Баланс 5 р."
    assert decode("Rückruf", 15) == "Rückruf"
    assert decode("one\ntwo", 15) == "one\ntwo"


@given(st.text(max_size=200), st.integers(0, 255))
def test_nothing_that_comes_makes_it_fail(raw: str, dcs: int) -> None:
    assert isinstance(decode(raw, dcs), str)


@given(st.binary(max_size=160), st.integers(0, 255))
def test_no_hex_makes_it_fail(octets: bytes, dcs: int) -> None:
    assert isinstance(decode(octets.hex(), dcs), str)
