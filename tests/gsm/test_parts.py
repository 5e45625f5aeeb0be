"""Cutting a text into parts: how many, where, in which coding, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpsvc.gsm import alphabet
from otpsvc.gsm.octets import Octets
from otpsvc.gsm.parts import Part, count, split
from otpsvc.gsm.pdu import whole
from otpsvc.gsm.userdata import Concat, UserData, read_user_data

EXTENSION = "\f^{}\\[~]|€"
TURKISH, SPANISH, PORTUGUESE, BENGALI, HINDI, URDU = 1, 2, 3, 4, 6, 13
DEFAULT = alphabet._letters(0).replace("\x1b", "")


class Sent:
    """A part, read as a receiver reads it."""

    def __init__(self, part: Part) -> None:
        self.part = part
        octets = Octets(bytes((part.length,)) + part.header + part.data)
        self.data: UserData = read_user_data(octets, part.dcs, has_header=bool(part.header))
        assert octets.left == 0


def sent(text: str, *, reference: int = 0, wide: bool = False, national: Sequence[int] = ()) -> list[Sent]:
    return [Sent(part) for part in split(text, reference=reference, wide=wide, national=national)]


@pytest.mark.parametrize(
    ("text", "parts", "wide"),
    [
        ("x", 1, 1),
        ("x" * 160, 1, 1),
        ("x" * 161, 2, 2),
        ("x" * 304, 2, 2),
        ("x" * 306, 2, 3),
        ("x" * 307, 3, 3),
        ("x" * 459, 3, 4),
        ("€" * 80, 1, 1),
        ("€" * 79 + "xx", 1, 1),
        ("€" * 80 + "x", 2, 2),
        # 76 pairs leave one septet of 153 unused.
        ("€" * 152, 2, 2),
        ("€" * 153, 3, 3),
        ("x" + "€" * 152, 2, 3),
        ("ж" * 70, 1, 1),
        ("ж" * 71, 2, 2),
        ("ж" * 132, 2, 2),
        ("ж" * 134, 2, 3),
        ("ж" * 135, 3, 3),
        ("😀" * 35, 1, 1),
        ("😀" * 36, 2, 2),
        # 33 pairs leave one unit of 67 unused.
        ("😀" * 66, 2, 2),
        ("😀" * 67, 3, 3),
        ("ж" + "😀" * 66, 2, 3),
        # One character outside the alphabet makes all of it UCS-2.
        ("x" * 69 + "`", 1, 1),
        ("x" * 70 + "`", 2, 2),
    ],
)
def test_counts(text: str, parts: int, wide: int) -> None:
    assert count(text) == len(split(text, reference=1)) == parts
    assert len(split(text, reference=1, wide=True)) == wide


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("letter", [*EXTENSION, "😀", "\U00010000", "\U0010fffd"])
@pytest.mark.parametrize("before", range(8))
def test_no_pair_is_cut(letter: str, before: int, wide: bool) -> None:
    text = "x" * before + letter * 200

    pieces = sent(text, wide=wide)

    assert "".join(piece.data.text for piece in pieces) == text
    assert all(piece.data.text.strip("x") == letter * len(piece.data.text.strip("x")) for piece in pieces)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=700), st.booleans())
def test_any_text_comes_back(text: str, wide: bool) -> None:
    pieces = sent(text, reference=0xABCD, wide=wide, national=range(1, 14))

    assert "".join(piece.data.text for piece in pieces) == text
    assert whole(pieces) == text
    assert all(len(piece.part.header) + len(piece.part.data) <= 140 for piece in pieces)


@given(st.text(st.sampled_from(DEFAULT + EXTENSION * 4), min_size=1, max_size=700), st.booleans())
def test_texts_of_the_alphabet_come_back(text: str, wide: bool) -> None:
    pieces = sent(text, wide=wide)

    assert "".join(piece.data.text for piece in pieces) == text
    assert all(piece.part.dcs == 0 for piece in pieces)
    septets = sum(2 if letter in EXTENSION else 1 for letter in text)
    least = 1 if septets <= 160 else -(-septets // (152 if wide else 153))
    assert least <= len(pieces) <= least + 1


@pytest.mark.parametrize(
    ("reference", "wide", "concat"),
    [
        (0, False, Concat(0, 2, 1)),
        (255, False, Concat(255, 2, 1)),
        (0x1234, False, Concat(0x34, 2, 1)),
        (0, True, Concat(0, 2, 1, wide=True)),
        (0x1234, True, Concat(0x1234, 2, 1, wide=True)),
        (65535, True, Concat(65535, 2, 1, wide=True)),
    ],
)
def test_references(reference: int, wide: bool, concat: Concat) -> None:
    first, second = sent("x" * 200, reference=reference, wide=wide)

    assert first.data.concat == concat
    assert second.data.concat == Concat(concat.reference, 2, 2, wide)


def test_one_part_has_no_header() -> None:
    (part,) = split("x" * 160, reference=7)

    assert (part.header, part.dcs, part.length, len(part.data)) == (b"", 0x00, 160, 140)


@pytest.mark.parametrize("octets", [0, 1])
def test_lengths_count_septets_or_octets(octets: int) -> None:
    first, second = split(("x", "ж")[octets] * 161, reference=7)[:2]

    assert first.header.hex() == ("050003070201", "050003070301")[octets]
    assert first.length == (160, 140)[octets]
    assert second.length == (7 + 8, 140)[octets]


@pytest.mark.parametrize(("text", "dcs"), [("x", 0x10), ("ж", 0x18)])
def test_flash_is_class_0(text: str, dcs: int) -> None:
    assert {part.dcs for part in split(text * 200, reference=0, flash=True)} == {dcs}


@pytest.mark.parametrize(("letter", "room"), [("x", 153), ("ж", 67)])
def test_255_parts_are_the_end(letter: str, room: int) -> None:
    text = letter * room * 255

    assert len(split(text, reference=0)) == count(text) == 255
    for refused in (lambda: split(text + letter, reference=0), lambda: count(text + letter)):
        with pytest.raises(ValueError, match="needs 256 parts"):
            refused()


@pytest.mark.parametrize("text", ["", "secret \ud83d", "\ude00 secret", "\ude00\ud83d"])
def test_what_is_no_text(text: str) -> None:
    for refused in (lambda: split(text, reference=0), lambda: count(text)):
        with pytest.raises(ValueError, match="text") as caught:
            refused()

        assert "secret" not in str(caught.value)
        assert type(caught.value) is ValueError
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


# --- national --------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "allowed", "parts", "header"),
    [
        # Not allowed, or it saves nothing: UCS-2.
        ("Şifre: 123456", (), 1, ""),
        ("Şifre: 123456", (TURKISH,), 1, ""),
        ("ş" * 71, (), 2, None),
        # 155 septets beside one element, of which a shifted letter takes two.
        ("ş" * 71, (TURKISH,), 1, "03240101"),
        ("ş" * 77, (TURKISH,), 1, "03240101"),
        ("ş" * 78, (TURKISH,), 1, "03250101"),
        ("ş" * 155, (TURKISH,), 1, "03250101"),
        ("ş" * 156, (TURKISH,), 2, None),
        ("ç" * 71, (SPANISH,), 1, "03240102"),
        ("ç" * 78, (SPANISH,), 2, None),
        ("ã" * 100, (TURKISH, SPANISH, PORTUGUESE), 1, "03250103"),
        ("\u09ac" * 155, (BENGALI,), 1, "03250104"),
        # The letters of the locking and digits of the single shift table: 151 septets.
        ("\u09ac" * 91 + "\u09e6" * 30, (BENGALI,), 1, "06240104250104"),
        ("\u0928" * 155, (HINDI,), 1, "03250106"),
        ("\u0627" * 155, (URDU,), 1, "0325010D"),
        # The default alphabet goes before every table.
        ("x" * 160, (TURKISH, HINDI), 1, ""),
        # A character that no table has.
        ("ş" * 100 + "ж", (TURKISH,), 2, None),
        # Tables that are none.
        ("ş" * 71, (0, 14, 99), 2, None),
    ],
)
def test_national_tables(text: str, allowed: tuple[int, ...], parts: int, header: str | None) -> None:
    pieces = sent(text, national=allowed)

    assert count(text, allowed) == len(pieces) == parts
    assert "".join(piece.data.text for piece in pieces) == text
    if header is not None:
        assert pieces[0].part.header.hex().upper() == header


def test_each_part_names_its_table() -> None:
    pieces = sent("ş" * 400, reference=9, national=[TURKISH])

    assert len(pieces) == 3
    assert {piece.part.header[6:].hex() for piece in pieces} == {"250101"}
    assert [piece.data.concat for piece in pieces] == [Concat(9, 3, number) for number in (1, 2, 3)]


def test_nothing_of_a_part_is_printed() -> None:
    (part,) = split("123456", reference=0)

    assert repr(part) == str(part) == "Part(…)"
