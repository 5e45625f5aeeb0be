"""Packing septets: known octets, fill bits, and what 8n-1 septets leave over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpsvc.gsm.septets import pack, unpack

fills = st.integers(0, 6)
septets = st.binary(max_size=170).map(lambda octets: bytes(octet & 0x7F for octet in octets))


@pytest.mark.parametrize(
    ("text", "packed"),
    [
        ("", ""),
        ("1", "31"),
        ("hellohello", "e8329bfd4697d9ec37"),
        ("How are you?", "c8f71d14969741f977fd07"),
        ("1234567", "31d98c56b3dd00"),
        ("12345678", "31d98c56b3dd70"),
    ],
)
def test_known_octets(text: str, packed: str) -> None:
    codes = text.encode()

    assert pack(codes).hex() == packed
    assert unpack(bytes.fromhex(packed), len(codes)) == codes


@given(septets, fills)
def test_packed_septets_come_back(codes: bytes, fill: int) -> None:
    packed = pack(codes, fill)

    assert len(packed) == ((len(codes) * 7 + fill + 7) // 8 if codes else 0)
    assert unpack(packed, len(codes), fill) == codes


@given(septets, fills)
def test_bit_by_bit(codes: bytes, fill: int) -> None:
    """The same by the definition: bit 0 of the first septet is the lowest bit after the fill bits."""
    bits = [0] * fill + [code >> place & 1 for code in codes for place in range(7)]
    bits += [0] * (-len(bits) % 8)
    octets = [
        sum(bit << place for place, bit in enumerate(bits[at : at + 8])) for at in range(0, len(bits), 8)
    ]

    assert pack(codes, fill) == (bytes(octets) if codes else b"")


@given(st.binary(max_size=40), st.integers(0, 60), fills)
def test_unpacking_gives_what_is_there(octets: bytes, count: int, fill: int) -> None:
    codes = unpack(octets, count, fill)

    assert len(codes) == min(count, max(0, len(octets) * 8 - fill) // 7)
    assert all(code < 128 for code in codes)


def test_seven_septets_are_not_eight() -> None:
    """The seven bits left over look like an `@`: only the count tells them apart."""
    packed = pack(b"1234567")

    assert packed != pack(b"1234567\r")
    assert packed == pack(b"1234567\x00")
    assert unpack(packed, 7) == b"1234567"
    assert unpack(packed, 8) == b"1234567\x00"


def test_fill_bits_are_zero() -> None:
    assert pack(b"\x7f", 1) == b"\xfe"
    assert pack(b"\x7f", 6) == b"\xc0\x1f"
