"""Text to GSM 7-bit codes and back, one code an octet: 3GPP TS 23.038, 6.2.1.

A locking table replaces the whole default alphabet, a single shift table the codes
after an escape. Both are numbers of Annex A; 0 is the default alphabet and its extension.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from otpsvc.gsm import national

ESCAPE: Final = 0x1B
_DEFAULT: Final = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ"
    " !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION: Final = {
    0x0A: "\f",
    0x14: "^",
    0x28: "{",
    0x29: "}",
    0x2F: "\\",
    0x3C: "[",
    0x3D: "~",
    0x3E: "]",
    0x40: "|",
    0x65: "€",
}


def encode(text: str, locking: int = 0, single: int = 0) -> bytes | None:
    """One septet an octet, escapes included. None: a character is in neither table."""
    codes = _codes(locking, single)
    try:
        return b"".join([codes[character] for character in text])
    except KeyError:
        return None


def decode(septets: bytes, locking: int = 0, single: int = 0) -> str:
    """The text of septets (one an octet; the eighth bit is ignored). Never raises.

    An escaped code that the single shift table does not know shows as the locking
    table has it, an escape before an escape or at the end as a blank (6.2.1.1).
    """
    letters, shifted = _letters(locking), _shifted(single)
    text: list[str] = []
    escaped = False
    for octet in septets:
        code = octet & 0x7F
        if escaped:
            text.append(" " if code == ESCAPE else shifted.get(code, letters[code]))
            escaped = False
        elif code == ESCAPE:
            escaped = True
        else:
            text.append(letters[code])
    if escaped:
        text.append(" ")
    return "".join(text)


@cache
def _codes(locking: int, single: int) -> dict[str, bytes]:
    """Character to its one or two septets; the shorter form wins, then the lower code."""
    codes: dict[str, bytes] = {}
    for code, letter in enumerate(_table(locking)):
        if letter not in {"\x1b", national.NONE}:
            codes.setdefault(letter, bytes((code,)))
    for code, letter in _shifted(single).items():
        codes.setdefault(letter, bytes((ESCAPE, code)))
    return codes


@cache
def _letters(locking: int) -> str:
    return _table(locking).replace(national.NONE, " ")


@cache
def _table(locking: int) -> str:
    """128 characters; a table that is not known is the default alphabet."""
    return national.locking(locking) or _DEFAULT


@cache
def _shifted(single: int) -> dict[int, str]:
    return national.single(single) or _EXTENSION
