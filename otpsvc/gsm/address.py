"""Phone numbers in PDUs: 3GPP TS 23.040, 9.1.2.5, and the last look at a number before it is dialled."""

from __future__ import annotations

import re
from typing import Final

from otpsvc.errors import BadPdu
from otpsvc.gsm import alphabet, septets
from otpsvc.gsm.octets import Octets

#: Type of number international, numbering plan E.164; the same plan, type unknown.
INTERNATIONAL, UNKNOWN = 0x91, 0x81
_ALPHANUMERIC: Final = 0b101
#: Semi-octets in a TP-OA or TP-DA.
_MOST: Final = 20
_E164: Final = re.compile(r"\+[1-9][0-9]{2,14}")
_SHORT: Final = re.compile(r"[0-9]{3,8}")
_DIGITS: Final = re.compile(r"\+?[0-9*#abc]{1,20}")
#: 15 is the filler after an odd number of digits. (24.008, 10.5.4.7)
_NIBBLES: Final = "0123456789*#abc"


def dialled(number: str) -> None:
    """Nothing, for `+` and a number of E.164, or a short code of 3 to 8 digits.

    Raises: ValueError, without the number in it.
    """
    if not _E164.fullmatch(number) and not _SHORT.fullmatch(number):
        raise ValueError("Not a number that can be dialled: expected + and 3 to 15 digits, or 3 to 8 digits.")


def encode(number: str) -> bytes:
    """TP-DA, TP-OA or TP-RA: the count of digits, the type, the digits. Raises: ValueError."""
    kind, digits = _typed(number)
    return bytes((len(number.removeprefix("+")), kind)) + digits


def encode_sender(sender: str) -> bytes:
    """As `encode`, and what is no number as alphanumeric: networks have such senders, we dial none.

    Raises: ValueError (longer than 11 septets, or not in the default alphabet).
    """
    if _DIGITS.fullmatch(sender):
        return encode(sender)
    name = alphabet.encode(sender)
    if not name or len(name) > 11:
        raise ValueError("Not a sender: expected a number, or up to 11 characters of the default alphabet.")
    return bytes(((len(name) * 7 + 3) // 4, 0xD0)) + septets.pack(name)


def encode_smsc(number: str) -> bytes:
    """The SMSC before a TPDU: the count of octets, the type, the digits. Empty: the SIM's own.

    Raises: ValueError.
    """
    if not number:
        return b"\x00"
    kind, digits = _typed(number)
    return bytes((1 + len(digits), kind)) + digits


def read(octets: Octets) -> str:
    """A TP-OA, TP-DA or TP-RA: `+` and digits, digits, or the name of an alphanumeric sender.

    Raises: BadPdu (too long, or it ends early).
    """
    count = octets.octet()
    if count > _MOST:
        raise BadPdu(f"An address of {count} semi-octets; at most {_MOST} are allowed.")
    kind = octets.octet()
    value = octets.take((count + 1) // 2)
    if kind >> 4 & 0b111 == _ALPHANUMERIC:
        return alphabet.decode(septets.unpack(value, count * 4 // 7))
    return _number(kind, value, count)


def read_smsc(octets: Octets) -> str:
    """The SMSC before a TPDU; empty: none is named. Raises: BadPdu."""
    field = octets.take(octets.octet())
    return _number(field[0], field[1:], 2 * len(field)) if field else ""


def _typed(number: str) -> tuple[int, bytes]:
    if not _DIGITS.fullmatch(number):
        raise ValueError("Not a number: expected up to 20 digits, with or without a leading +.")
    digits = number.removeprefix("+")
    nibbles = [_NIBBLES.index(digit) for digit in digits] + [0xF] * (len(digits) % 2)
    pairs = zip(nibbles[::2], nibbles[1::2], strict=True)
    return INTERNATIONAL if number.startswith("+") else UNKNOWN, bytes(high << 4 | low for low, high in pairs)


def _number(kind: int, value: bytes, count: int) -> str:
    """Its first `count` digits. A filler ends it early: some networks count it as a digit."""
    nibbles = [nibble for octet in value for nibble in (octet & 0xF, octet >> 4)][:count]
    if 0xF in nibbles:
        nibbles = nibbles[: nibbles.index(0xF)]
    digits = "".join(_NIBBLES[nibble] for nibble in nibbles)
    return f"+{digits}" if digits and kind >> 4 & 0b111 == 1 else digits
