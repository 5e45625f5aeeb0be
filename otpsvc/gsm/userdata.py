"""What a PDU carries: its coding (3GPP TS 23.038, 4), its header (23.040, 9.2.3.24) and its text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal, Protocol

from msgspec import Struct

from otpsvc.errors import BadPdu
from otpsvc.gsm import alphabet, septets
from otpsvc.gsm.octets import Octets
from otpsvc.gsm.parts import CONCAT_8, CONCAT_16, LOCKING, ROOM, SINGLE, Part
from otpsvc.veiled import Veiled

#: `octets`: 8-bit data, whose text has one character (U+0000 to U+00FF) an octet.
Coding = Literal["gsm7", "octets", "ucs2", "compressed"]
#: The text of what is compressed: nobody sends it, and it is not read here.
UNREADABLE: Final = "\N{REPLACEMENT CHARACTER}"
_PORTS_8, _PORTS_16 = 0x04, 0x05
#: The length that each known information element must have.
_LENGTHS: Final = {CONCAT_8: 3, CONCAT_16: 4, _PORTS_8: 2, _PORTS_16: 4, SINGLE: 1, LOCKING: 1}


class Concat(Struct, frozen=True):
    """Which part of a longer text this is; `number` counts from 1. `wide`: a reference of 16 bits."""

    reference: int
    total: int
    number: int
    wide: bool = False


class Ports(Struct, frozen=True):
    """Application ports: the text is meant for a program, not for a person."""

    to: int
    source: int


class UserData(Veiled, frozen=True, kw_only=True):
    """`part` as it came, and what it says."""

    part: Part
    coding: Coding
    text: str
    concat: Concat | None = None
    ports: Ports | None = None


class Carries(Protocol):
    """What `whole` joins."""

    @property
    def data(self) -> UserData: ...


def whole(parts: Sequence[Carries]) -> str:
    """The text of parts in their order: a surrogate pair that was cut over two parts is joined again."""
    if all(part.data.coding == "ucs2" for part in parts):
        return b"".join(part.data.part.data for part in parts).decode("utf-16-be", "replace")
    return "".join(part.data.text for part in parts)


def coding_of(dcs: int) -> Coding:
    """The alphabet of a data coding scheme; reserved ones are GSM 7-bit, as clause 4 has it."""
    group = dcs >> 4
    if group < 0b1000:
        if dcs & 0x20:
            return "compressed"
        return ("gsm7", "octets", "ucs2", "gsm7")[dcs >> 2 & 0b11]
    if group == 0b1111:
        return "octets" if dcs & 0x04 else "gsm7"
    return "ucs2" if group == 0b1110 else "gsm7"


def is_flash(dcs: int) -> bool:
    """Whether it is of class 0: shown at once."""
    if dcs >> 4 < 0b1000:
        return dcs & 0x13 == 0x10
    return dcs & 0xF3 == 0xF0


def read_user_data(octets: Octets, dcs: int, *, has_header: bool) -> UserData:
    """TP-UDL and TP-UD. Raises: BadPdu (it ends early, or is longer than a PDU allows)."""
    length = octets.octet()
    coding = coding_of(dcs)
    size = (length * 7 + 7) // 8 if coding == "gsm7" else length
    if size > ROOM:
        raise BadPdu(f"User data of {size} octets; at most {ROOM} are possible.")
    return _opened(octets.take(size), length, dcs, coding, has_header=has_header)


def _opened(field: bytes, length: int, dcs: int, coding: Coding, *, has_header: bool) -> UserData:
    header = Octets(field).take(field[0] + 1) if has_header and field else b""
    if has_header and not header:
        raise BadPdu("A user data header was announced, and there is no user data.")
    part = Part(header, dcs, length, field[len(header) :])
    elements = _elements(header[1:])
    return UserData(
        part=part,
        coding=coding,
        text=_text(part, coding, elements),
        concat=_concat(elements),
        ports=_ports(elements),
    )


def _elements(header: bytes) -> list[tuple[int, bytes]]:
    """Every known information element, the last first: of two of a kind the last counts.

    A header whose last element does not end where it does is ignored whole. (9.2.3.24)
    """
    try:
        found = list(_cut(Octets(header)))
    except BadPdu:
        return []
    return [(kind, value) for kind, value in reversed(found) if _LENGTHS.get(kind) == len(value)]


def _cut(header: Octets) -> Iterator[tuple[int, bytes]]:
    while header.left:
        kind = header.octet()
        yield kind, header.take(header.octet())


def _concat(elements: Sequence[tuple[int, bytes]]) -> Concat | None:
    """An element that counts no part, or more than there are, is ignored: so 9.2.3.24.1 wants it."""
    for kind, value in elements:
        if kind in {CONCAT_8, CONCAT_16}:
            *reference, total, number = value
            if 1 <= number <= total:
                return Concat(int.from_bytes(bytes(reference)), total, number, kind == CONCAT_16)
    return None


def _ports(elements: Sequence[tuple[int, bytes]]) -> Ports | None:
    for kind, value in elements:
        if kind in {_PORTS_8, _PORTS_16}:
            half = len(value) // 2
            return Ports(int.from_bytes(value[:half]), int.from_bytes(value[half:]))
    return None


def _table(elements: Sequence[tuple[int, bytes]], kind: int) -> int:
    """The number of a national table; 0: none is named."""
    return next((value[0] for known, value in elements if known == kind), 0)


def _text(part: Part, coding: Coding, elements: Sequence[tuple[int, bytes]]) -> str:
    if coding == "compressed":
        return UNREADABLE
    if coding == "octets":
        return part.data.decode("latin-1")
    if coding == "ucs2":
        return part.data.decode("utf-16-be", "replace")
    fill = -len(part.header) * 8 % 7
    count = part.length - (len(part.header) * 8 + fill) // 7
    codes = septets.unpack(part.data, count, fill)
    return alphabet.decode(codes, _table(elements, LOCKING), _table(elements, SINGLE))
