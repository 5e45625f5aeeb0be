"""The national tables: they were compared cell by cell with independent transcriptions of
23.038, Annex A (two for every table, three for the first three), and are pinned since.
"""

from __future__ import annotations

from zlib import crc32

import pytest

from otpsvc.gsm import alphabet, national

PINNED = {
    1: (0xE3B406DE, 0x66914858),
    2: (0x00000000, 0x2A70F6FC),
    3: (0x46538026, 0xABF6345F),
    4: (0x26E612E5, 0x3EAC8F77),
    5: (0x905DAE80, 0x901F8206),
    6: (0x8DC50511, 0xDD1AEC38),
    7: (0xD8227AF8, 0x19B1887B),
    8: (0x58329438, 0x813197AC),
    9: (0x8A84BF9A, 0x93A4CE95),
    10: (0x1CAB841F, 0x029474E1),
    11: (0x1B486DF7, 0xB6E03AAC),
    12: (0x7DC37502, 0x39F7C323),
    13: (0x83E33E83, 0xE069D9FC),
}
#: (language, code, character): something of each locking table, from its own row of the standard.
LOCKED = [
    (1, 0x0B, "Ğ"),
    (1, 0x07, "ı"),
    (1, 0x40, "İ"),
    (3, 0x15, "∞"),
    (3, 0x18, "€"),
    (4, 0x60, "\u09ce"),
    (5, 0x0C, "\u0a8d"),
    (6, 0x7B, "\u0972"),
    (7, 0x24, "\u0ca1"),
    (8, 0x7F, "\u0d79"),
    (9, 0x60, "\u0b56"),
    (10, 0x7F, "\u0a74"),
    (11, 0x3C, "\u0ba9"),
    (12, 0x60, "\u0c55"),
    (13, 0x00, "\u0627"),
]
SHIFTED = [
    (1, 0x73, "ş"),
    (2, 0x09, "ç"),
    (2, 0x75, "ú"),
    (3, 0x05, "ê"),
    (3, 0x7F, "â"),
    (4, 0x19, "\u09e6"),
    (5, 0x25, "\u0aef"),
    (6, 0x3A, "\u0971"),
    (7, 0x26, "\u0cde"),
    (8, 0x34, "\u0d7f"),
    (9, 0x20, "\u0b6a"),
    (10, 0x2D, "\u0a75"),
    (11, 0x24, "\u0bee"),
    (12, 0x1C, "\u0c66"),
    (13, 0x3F, "\u06d4"),
]


@pytest.mark.parametrize("language", national.LANGUAGES)
def test_pinned(language: int) -> None:
    locking, single = national.locking(language), national.single(language)
    shifted = "".join(single.get(code, national.NONE) for code in range(128))

    assert (crc32(locking.encode()), crc32(shifted.encode())) == PINNED[language]


@pytest.mark.parametrize("language", national.LANGUAGES)
def test_all_but_spanish_have_a_locking_table(language: int) -> None:
    assert len(national.locking(language)) == (0 if language == 2 else 128)


@pytest.mark.parametrize("language", [n for n in national.LANGUAGES if n != 2])
def test_what_all_locking_tables_share(language: int) -> None:
    table = national.locking(language)

    assert (table[0x0A], table[0x0D], table[0x1B], table[0x20]) == ("\n", "\r", "\x1b", " ")
    assert table[0x30:0x3C] == "0123456789:;"
    assert table[0x61:0x7B] == "abcdefghijklmnopqrstuvwxyz"
    letters = table.replace(national.NONE, "")
    assert len(set(letters)) == len(letters)


@pytest.mark.parametrize("language", national.LANGUAGES)
def test_what_all_single_shift_tables_share(language: int) -> None:
    """A text with the default extension alone reads the same under every single shift table."""
    default = alphabet.encode("\f^{}\\[~]|€")

    assert default is not None
    assert alphabet.decode(default, 0, language) == "\f^{}\\[~]|€"
    assert not {0x0D, 0x1B} & national.single(language).keys()


@pytest.mark.parametrize(("language", "code", "letter"), LOCKED)
def test_locked(language: int, code: int, letter: str) -> None:
    assert alphabet.decode(bytes((code,)), language) == letter
    assert alphabet.encode(letter, language) == bytes((code,))


@pytest.mark.parametrize(("language", "code", "letter"), SHIFTED)
def test_shifted(language: int, code: int, letter: str) -> None:
    assert alphabet.decode(bytes((0x1B, code)), 0, language) == letter
    assert alphabet.encode(letter, 0, language) == bytes((0x1B, code))


@pytest.mark.parametrize("language", [-1, 0, 14, 255])
def test_unknown_languages_are_the_default_alphabet(language: int) -> None:
    assert national.locking(language) == ""
    assert national.single(language) == {}
    assert alphabet.decode(b"\x00\x1b\x65", language, language) == "@€"


def test_a_code_without_a_character_is_a_blank_and_a_blank_keeps_its_own_code() -> None:
    assert alphabet.decode(b"\x0c", 4) == " "
    assert alphabet.decode(b"\x1b\x0c", 4) == " "
    assert alphabet.encode(" ", 4) == b"\x20"
