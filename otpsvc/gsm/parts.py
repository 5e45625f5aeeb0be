"""A text cut into the parts that one SMS each can hold: 3GPP TS 23.040, 9.2.3.24, and 23.038.

GSM 7-bit where the text fits it, else a national table that was allowed and saves
parts, else UCS-2 (as UTF-16, which every handset of today reads).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from otpsvc.gsm import alphabet, septets
from otpsvc.veiled import Veiled

#: Octets of user data in one SMS, and the parts that a concatenation can count.
ROOM: Final = 140
MOST: Final = 255
GSM7, UCS2, CLASS_0 = 0x00, 0x08, 0x10
#: Information elements: concatenation with a reference of 8 and 16 bits, the two tables. (9.2.3.24)
CONCAT_8, CONCAT_16, SINGLE, LOCKING = 0x00, 0x08, 0x24, 0x25


class Part(Veiled, frozen=True):
    """One SMS's worth of text.

    `header`: the user data header with its length octet, or nothing. `length`: TP-UDL,
    in septets (GSM 7-bit, header and fill bits included) or octets. `data`: what
    follows the header, packed.
    """

    header: bytes
    dcs: int
    length: int
    data: bytes


class _Plan(Struct, frozen=True):
    """A text in one coding. `tables`: the information elements that name national tables."""

    dcs: int
    units: bytes
    tables: bytes = b""

    def room(self, extra: int) -> int:
        """Septets (GSM 7-bit) or octets for text beside the tables and `extra` octets of header."""
        header = len(self.tables) + extra
        free = ROOM - (header + 1 if header else 0)
        return free * 8 // 7 if self.dcs == GSM7 else free // 2 * 2

    def cut(self, extra: int) -> Iterator[bytes]:
        """The units in one piece, or in pieces beside `extra` octets of header."""
        start, room = 0, self.room(0)
        if len(self.units) > room:
            room = self.room(extra)
        while start < len(self.units):
            end = start + room
            if end < len(self.units) and self._pair_at(end):
                end -= 1 if self.dcs == GSM7 else 2
            yield self.units[start:end]
            start = end

    def _pair_at(self, end: int) -> bool:
        """Whether a cut here parts an escape from its code, or a surrogate from the other."""
        if self.dcs == GSM7:
            return self.units[end - 1] == alphabet.ESCAPE
        return 0xD8 <= self.units[end - 2] <= 0xDB


def split(
    text: str, *, reference: int, wide: bool = False, flash: bool = False, national: Sequence[int] = ()
) -> tuple[Part, ...]:
    """The parts of `text` in order; one part has no concatenation header.

    `reference` is the same in all parts of a text: its low 8 bits count, or 16 when
    `wide`. `flash`: class 0, shown at once and not kept. `national`: tables that may be used.
    Raises: ValueError, without the text in it: no text, half a surrogate pair, or more than 255 parts.
    """
    extra = 6 if wide else 5
    plan = _plan(text, extra, national)
    pieces = list(plan.cut(extra))
    if len(pieces) > MOST:
        raise ValueError(f"The text needs {len(pieces)} parts; at most {MOST} are possible.")
    dcs = plan.dcs | CLASS_0 if flash else plan.dcs
    return tuple(
        _part(plan, piece, dcs, _concat(reference, len(pieces), number, wide=wide))
        for number, piece in enumerate(pieces, 1)
    )


def count(text: str, national: Sequence[int] = ()) -> int:
    """How many parts `split` makes with a reference of 8 bits. Raises: ValueError, as `split` does."""
    pieces = sum(1 for _ in _plan(text, 5, national).cut(5))
    if pieces > MOST:
        raise ValueError(f"The text needs {pieces} parts; at most {MOST} are possible.")
    return pieces


def _plan(text: str, extra: int, national: Sequence[int]) -> _Plan:
    if not text:
        raise ValueError("There is no text.")
    plain = alphabet.encode(text)
    if plain is not None:
        return _Plan(GSM7, plain)
    try:
        best = _Plan(UCS2, text.encode("utf-16-be"))
    except UnicodeEncodeError:
        # `from None`: that error holds the text.
        raise ValueError("The text holds half a surrogate pair.") from None
    fewest = sum(1 for _ in best.cut(extra)) if national else 0
    for plan in _national(text, national):
        parts = sum(1 for _ in plan.cut(extra))
        if parts < fewest:
            best, fewest = plan, parts
    return best


def _national(text: str, languages: Sequence[int]) -> Iterator[_Plan]:
    """Every plan that national tables allow, those with the shorter header first."""
    pairs = [(0, n) for n in languages] + [(n, 0) for n in languages] + [(n, n) for n in languages]
    for locking, single in pairs:
        units = alphabet.encode(text, locking, single)
        if units is not None:
            tables = bytes((SINGLE, 1, single)) if single else b""
            yield _Plan(GSM7, units, tables + (bytes((LOCKING, 1, locking)) if locking else b""))


def _concat(reference: int, total: int, number: int, *, wide: bool) -> bytes:
    if total == 1:
        return b""
    if wide:
        return bytes((CONCAT_16, 4, reference >> 8 & 0xFF, reference & 0xFF, total, number))
    return bytes((CONCAT_8, 3, reference & 0xFF, total, number))


def _part(plan: _Plan, piece: bytes, dcs: int, concat: bytes) -> Part:
    elements = concat + plan.tables
    header = bytes((len(elements),)) + elements if elements else b""
    if plan.dcs != GSM7:
        return Part(header, dcs, len(header) + len(piece), piece)
    fill = -len(header) * 8 % 7
    return Part(header, dcs, (len(header) * 8 + fill) // 7 + len(piece), septets.pack(piece, fill))
