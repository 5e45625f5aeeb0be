"""GSM 7-bit: the tables of 23.038, escapes, and codes that mean nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpsvc.gsm import alphabet, national
from otpsvc.gsm.alphabet import ESCAPE, decode, encode

#: Written down from 23.038, 6.2.1.1, once more and by hand.
EXTENSION = {
    "\f": 0x0A,
    "^": 0x14,
    "{": 0x28,
    "}": 0x29,
    "\\": 0x2F,
    "[": 0x3C,
    "~": 0x3D,
    "]": 0x3E,
    "|": 0x40,
    "€": 0x65,
}
#: Where tables in use differ from the standard, or are mistaken for ASCII or Latin-1.
TELLING = {
    0x00: "@",
    0x02: "$",
    0x09: "Ç",
    0x0A: "\n",
    0x0D: "\r",
    0x10: "Δ",
    0x11: "_",
    0x1A: "Ξ",
    0x1C: "Æ",
    0x1F: "É",
    0x24: "¤",
    0x40: "¡",
    0x5B: "Ä",
    0x5C: "Ö",
    0x5D: "Ñ",
    0x5E: "Ü",
    0x5F: "§",
    0x60: "¿",
    0x7B: "ä",
    0x7C: "ö",
    0x7D: "ñ",
    0x7E: "ü",
    0x7F: "à",
}
tables = st.integers(0, 14)


@pytest.mark.parametrize(("code", "letter"), TELLING.items())
def test_telling_codes(code: int, letter: str) -> None:
    assert decode(bytes((code,))) == letter
    assert encode(letter) == bytes((code,))


def test_printable_ascii_has_the_codes_of_ascii_but_for_some() -> None:
    moved = {"$", "@", "[", "\\", "]", "^", "_", "`", "{", "|", "}", "~"}

    for code in range(0x20, 0x7F):
        assert (encode(chr(code)) == bytes((code,))) is (chr(code) not in moved), chr(code)


def test_every_code_but_the_escape_is_one_character_and_back() -> None:
    letters = [decode(bytes((code,))) for code in range(128) if code != ESCAPE]

    assert len(set(letters)) == 127
    assert encode("".join(letters)) == bytes(code for code in range(128) if code != ESCAPE)


@pytest.mark.parametrize(("letter", "code"), EXTENSION.items())
def test_extension(letter: str, code: int) -> None:
    assert encode(letter) == bytes((ESCAPE, code))
    assert decode(bytes((ESCAPE, code))) == letter


@pytest.mark.parametrize("letter", ["`", "ç", "ê", "\x1b", "\t", "\x00", "ș", "’", "😀", "\ud83d", "Я"])
def test_what_is_not_in_the_alphabet_is_not_replaced(letter: str) -> None:
    assert encode(f"a{letter}b") is None


def test_no_text_is_no_septets() -> None:
    assert encode("") == b""
    assert decode(b"") == ""


@pytest.mark.parametrize("code", [code for code in range(128) if code not in {*EXTENSION.values(), ESCAPE}])
def test_an_unknown_escaped_code_shows_as_the_default_alphabet_has_it(code: int) -> None:
    assert decode(bytes((ESCAPE, code))) == decode(bytes((code,)))


def test_an_escape_before_an_escape_is_a_blank() -> None:
    assert decode(bytes((ESCAPE, ESCAPE, 0x65))) == " e"


def test_an_escape_at_the_end_is_a_blank() -> None:
    assert decode(b"a\x1b") == "a "


def test_the_eighth_bit_is_ignored() -> None:
    assert decode(bytes((0x80, 0x9B, 0xE5))) == "@€"


@given(st.binary(), tables, tables)
def test_decoding_never_raises_and_gives_clean_text(septets: bytes, locking: int, single: int) -> None:
    text = decode(septets, locking, single)

    assert len(text) <= len(septets)
    assert national.NONE not in text
    assert "\x1b" not in text


@given(st.data(), tables, tables)
def test_what_can_be_encoded_comes_back(data: st.DataObject, locking: int, single: int) -> None:
    letters = sorted(alphabet._codes(locking, single))
    text = data.draw(st.text(st.sampled_from(letters)))

    septets = encode(text, locking, single)

    assert septets is not None
    assert len(text) <= len(septets) <= 2 * len(text)
    assert max(septets, default=0) < 128
    assert decode(septets, locking, single) == text
