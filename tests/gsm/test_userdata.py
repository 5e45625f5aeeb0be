"""User data: every data coding scheme, headers that are odd or broken, and text of many parts."""

from __future__ import annotations

import pytest
from msgspec import Struct

from otpsvc.errors import BadPdu
from otpsvc.gsm.octets import Octets
from otpsvc.gsm.parts import Part
from otpsvc.gsm.userdata import Concat, Ports, UserData, coding_of, is_flash, read_user_data, whole


def read(hexes: str, dcs: int, *, header: bool = False) -> UserData:
    """`hexes`: TP-UDL and TP-UD."""
    return read_user_data(Octets(bytes.fromhex(hexes)), dcs, has_header=header)


def with_header(elements: str, text: str = "0041") -> UserData:
    """UCS-2, where no fill bits hide what the header did."""
    size = len(elements) // 2
    return read(f"{size + 1 + len(text) // 2:02X}{size:02X}{elements}{text}", 0x08, header=True)


# --- coding ----------------------------------------------------------------


#: Every scheme of each group, as 23.038, clause 4 lists them.
GENERAL = "gsm7 " * 4 + "octets " * 4 + "ucs2 " * 4 + "gsm7 " * 4
MARKED = GENERAL * 2 + "compressed " * 32
RESERVED = "gsm7 " * 64
WAITING = "gsm7 " * 32 + "ucs2 " * 16
CLASSES = "gsm7 " * 4 + "octets " * 4
CODINGS = (MARKED * 2 + RESERVED + WAITING + CLASSES * 2).split()


@pytest.mark.parametrize(("dcs", "coding"), list(enumerate(CODINGS)))
def test_every_coding(dcs: int, coding: str) -> None:
    assert coding_of(dcs) == coding


def test_class_0_is_flash_in_the_groups_that_have_classes() -> None:
    flash = {dcs for dcs in range(256) if is_flash(dcs)}

    assert len(CODINGS) == 256
    general = {base + 0x10 + 4 * alphabet for base in (0x00, 0x20, 0x40, 0x60) for alphabet in range(4)}
    assert flash == general | {0xF0, 0xF4, 0xF8, 0xFC}


def test_8_bit_data_has_a_character_an_octet() -> None:
    data = read("0448E97F00", 0x04)

    assert data.text == "H\xe9\x7f\x00"
    assert data.part.data.hex() == "48e97f00"


@pytest.mark.parametrize("dcs", [0x20, 0x24, 0x28, 0x3F, 0x60])
def test_compressed_text_is_marked(dcs: int) -> None:
    data = read("03ABCDEF", dcs)

    assert (data.coding, data.text) == ("compressed", "\ufffd")
    assert data.part.data.hex() == "abcdef"


@pytest.mark.parametrize(
    ("dcs", "text"), [(0xC8, "hello"), (0xD8, "hello"), (0x85, "hello"), (0x0C, "hello")]
)
def test_waiting_messages_and_reserved_schemes_are_gsm_7_bit(dcs: int, text: str) -> None:
    assert read("05E8329BFD06", dcs).text == text


def test_waiting_messages_in_ucs2() -> None:
    assert read("0400410416", 0xE9).text == "AЖ"


@pytest.mark.parametrize(
    ("hexes", "text"),
    [
        ("00", ""),
        ("04D83DDE00", "😀"),
        ("02D83D", "\ufffd"),
        ("02DE00", "\ufffd"),
        ("030041FF", "A\ufffd"),
        ("0400000041", "\x00A"),
    ],
)
def test_ucs2_is_read_as_utf_16_and_never_fails(hexes: str, text: str) -> None:
    assert read(hexes, 0x08).text == text


@pytest.mark.parametrize(("length", "text"), [(7, "1234567"), (8, "1234567@")])
def test_the_length_tells_an_at_sign_from_nothing(length: int, text: str) -> None:
    assert read(f"{length:02X}31D98C56B3DD00", 0x00).text == text


# --- length ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("hexes", "dcs", "header"),
    [
        ("", 0x00, False),
        ("0A" + "E8329BFD4697D9EC", 0x00, False),
        ("04" + "004100", 0x08, False),
        ("A1" + "00" * 141, 0x00, False),
        ("FF" + "00" * 255, 0x00, False),
        ("8D" + "00" * 141, 0x08, False),
        # A header is announced and is not there, or longer than all of it.
        ("00", 0x08, True),
        ("00", 0x00, True),
        ("02" + "0200", 0x08, True),
        ("06" + "FF0003010201", 0x08, True),
        ("02" + "0600", 0x00, True),
    ],
)
def test_too_short_or_too_long(hexes: str, dcs: int, header: bool) -> None:
    with pytest.raises(BadPdu):
        read(hexes, dcs, header=header)


@pytest.mark.parametrize(("hexes", "dcs"), [("A0" + "00" * 140, 0x00), ("8C" + "00" * 140, 0x08)])
def test_the_longest(hexes: str, dcs: int) -> None:
    assert len(read(hexes, dcs).text) in {160, 70}


def test_octets_after_it_are_left_alone() -> None:
    octets = Octets(bytes.fromhex("0200410042"))

    assert read_user_data(octets, 0x08, has_header=False).text == "A"
    assert octets.left == 2


@pytest.mark.parametrize("fill", range(7))
def test_fill_bits_after_a_header_of_any_length(fill: int) -> None:
    """The text begins at a septet's edge; what is in the bits before it does not matter."""
    size = next(n for n in range(3, 10) if -8 * n % 7 == fill)
    header = bytes((size - 1, 0x70, size - 3)) + bytes(size - 3)
    septets = (8 * size + fill) // 7
    bits = (ord("A") | ord("B") << 7) << fill | (1 << fill) - 1
    body = bits.to_bytes((14 + fill + 7) // 8, "little")

    data = read(bytes((septets + 2,)).hex() + (header + body).hex(), 0x00, header=True)

    assert data.text == "AB"
    assert data.part.header == header


def test_a_header_alone_is_no_text() -> None:
    assert read("07050003CC020100", 0x00, header=True).text == ""


# --- header ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("elements", "concat"),
    [
        ("0003CC0201", Concat(0xCC, 2, 1)),
        ("0003000202", Concat(0, 2, 2)),
        ("0003FFFFFF", Concat(255, 255, 255)),
        ("080412340302", Concat(0x1234, 3, 2, wide=True)),
        ("080400000101", Concat(0, 1, 1, wide=True)),
        # No part, no whole, more than there are: ignored.
        ("0003CC0200", None),
        ("0003CC0000", None),
        ("0003CC0001", None),
        ("0003CC0203", None),
        ("080412340304", None),
        # Another length than the standard's: ignored.
        ("0002CC02", None),
        ("0004CC020101", None),
        ("0803120201", None),
        # Twice: the last counts, of either kind.
        ("0003CC02010003DD0302", Concat(0xDD, 3, 2)),
        ("0003CC0201080412340302", Concat(0x1234, 3, 2, wide=True)),
        ("0804123403020003CC0201", Concat(0xCC, 2, 1)),
        ("0003CC0201080412340302" + "0003CC0202", Concat(0xCC, 2, 2)),
        # What is ignored does not take the place of what counts.
        ("0003CC02010003DD0203", Concat(0xCC, 2, 1)),
        # Unknown ones before and after, also empty ones and those of the SIM toolkit.
        ("70007F03ABCDEF0003CC0201FF00", Concat(0xCC, 2, 1)),
        ("", None),
    ],
)
def test_concatenation(elements: str, concat: Concat | None) -> None:
    data = with_header(elements)

    assert data.concat == concat
    assert data.text == "A"


@pytest.mark.parametrize(
    "elements", ["00", "0003CC02", "0003CC020100", "0003CC020100FF", "0003CC020108", "0003CC02017005AB"]
)
def test_a_header_that_does_not_add_up_is_ignored_whole(elements: str) -> None:
    data = with_header(elements)

    assert data.concat is None
    assert data.text == "A"


@pytest.mark.parametrize(
    ("elements", "ports"),
    [
        ("05040B8423F0", Ports(2948, 9200)),
        ("0402F0F1", Ports(0xF0, 0xF1)),
        ("0003CC020105040B8423F0", Ports(2948, 9200)),
        ("05040B8423F00402F0F1", Ports(0xF0, 0xF1)),
        ("0501F0", None),
        ("0003CC0201", None),
    ],
)
def test_ports(elements: str, ports: Ports | None) -> None:
    assert with_header(elements).ports == ports


@pytest.mark.parametrize(
    ("elements", "septets", "text"),
    [
        ("240101", "1B73", "ş"),
        ("250101", "0B", "Ğ"),
        ("240101250101", "0B1B73", "Ğş"),
        ("250103240102", "151B75", "∞ú"),
        ("240102240101", "1B73", "ş"),
        # Unknown languages and wrong lengths are the default alphabet.
        ("240163250163", "001B65", "@€"),
        ("2402010125020101", "001B65", "@€"),
        ("24002500", "001B65", "@€"),
        # Spanish has no locking table.
        ("250102", "00", "@"),
    ],
)
def test_national_languages(elements: str, septets: str, text: str) -> None:
    header = bytes.fromhex(f"{len(elements) // 2:02X}{elements}")
    fill = -8 * len(header) % 7
    codes = bytes.fromhex(septets)
    bits = sum(code << 7 * place for place, code in enumerate(codes)) << fill
    length = (8 * len(header) + fill) // 7 + len(codes)
    body = bits.to_bytes((7 * len(codes) + fill + 7) // 8, "little")

    assert read(bytes((length,)).hex() + (header + body).hex(), 0x00, header=True).text == text


# --- whole -----------------------------------------------------------------


class Piece(Struct):
    data: UserData


def ucs2(hexes: str) -> Piece:
    part = Part(b"", 0x08, len(hexes) // 2, bytes.fromhex(hexes))
    return Piece(UserData(part=part, coding="ucs2", text="…"))


def test_a_surrogate_pair_that_was_cut_is_joined() -> None:
    assert whole([ucs2("0041D83D"), ucs2("DE000042")]) == "A😀B"


def test_half_a_pair_is_marked() -> None:
    assert whole([ucs2("0041D83D"), ucs2("0042")]) == "A\ufffdB"


def test_parts_of_several_codings() -> None:
    assert whole([Piece(read("05E8329BFD06", 0x00)), Piece(read("0400210416", 0x08))]) == "hello!Ж"


def test_no_parts() -> None:
    assert whole([]) == ""


def test_nothing_of_it_is_printed() -> None:
    data = read("05E8329BFD06", 0x00)

    for shown in (repr(data), str(data), repr(data.part), f"{data.__rich_repr__()}"):
        assert "hello" not in shown
        assert "2\\x9b" not in shown
