"""Codes: how they are made, and how those that people type are read."""

from __future__ import annotations

import hmac
import secrets
import unicodedata
from collections.abc import Mapping
from typing import Literal

from otpsvc.errors import BadRequest

Alphabet = Literal["digits", "letters"]

#: `letters` leaves out what is taken for another (0 O, 1 I L, 2 Z, 5 S, 8 B, 6 G, U V)
#: and the vowels, so that no code reads as a word. Of 6 and G the digit stays. Six of
#: its 20 characters are 64 million values. Derived codes depend on the order: never change it.
ALPHABETS: Mapping[Alphabet, str] = {"digits": "0123456789", "letters": "CDFHJKMNPQRTWXY34679"}

#: Codes that a caller supplies may be shorter than those that we make.
SHORTEST, LONGEST = 4, 10
#: Longer than any code with a separator after each character.
_TYPED_MAX = 64

#: Bytes to characters: the table, and the bytes to drop because 256 is no multiple of
#: the alphabet's size and they would make its first characters likelier.
_PICK: Mapping[str, tuple[bytes, bytes]] = {
    name: (
        bytes(ord(letters[byte % len(letters)]) for byte in range(256)),
        bytes(range(256 - 256 % len(letters), 256)),
    )
    for name, letters in ALPHABETS.items()
}

#: Control, format and surrogate characters, blanks and dashes: what people and their
#: phones put between the characters of a code.
_FILLERS = frozenset({"Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Pd"})
_DOTS = frozenset(".·•․。．")
#: A-Z and a-z of East Asian keyboards to the plain ones.
_WIDE = {wide: wide - 0xFEE0 for wide in (*range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))}


def random_code(length: int, alphabet: Alphabet) -> str:
    """A code of `length` characters from the operating system's generator; every one equally likely."""
    code = ""
    while len(code) < length:
        code += _picked(secrets.token_bytes(32), alphabet)
    return code[:length]


def derived_code(key: bytes, context: bytes, length: int, alphabet: Alphabet) -> str:
    """The code that belongs to `context` under `key`; every code equally likely over contexts.

    The same arguments give the same code for ever: a resend after an upgrade must
    send what was sent before. A shorter length gives the beginning of a longer one's code.
    """
    prefix = len(context).to_bytes(4, "big") + context
    code, counter = "", 0
    while len(code) < length:
        code += _picked(hmac.digest(key, prefix + counter.to_bytes(4, "big"), "sha256"), alphabet)
        counter += 1
    return code[:length]


def _picked(noise: bytes, alphabet: Alphabet) -> str:
    table, biased = _PICK[alphabet]
    return noise.translate(table, biased).decode("ascii")


def normalised(text: str, alphabet: Alphabet) -> str:
    """What was typed, without blanks, dashes, dots and invisible characters, in plain characters.

    Digits of every script become 0-9, letters upper-case. The answer need not fit the
    alphabet: then it is a wrong code. What is far too long for a code comes back as it is.
    """
    if len(text) > _TYPED_MAX:
        return text
    if not (text.isascii() and text.isalnum()):
        text = "".join(map(_plain, text.translate(_WIDE)))
    return text.upper() if alphabet == "letters" else text


def _plain(character: str) -> str:
    # Not `str.isdigit`: it takes ² and ① too, and `int` then fails on them.
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    dropped = character in _DOTS or unicodedata.category(character) in _FILLERS
    return "" if dropped else character


def fits(text: str, alphabet: Alphabet, length: int | None = None) -> bool:
    """True when `text` could be a code: of `length` characters, or of 4 to 10 when it is None."""
    right = SHORTEST <= len(text) <= LONGEST if length is None else len(text) == length
    return right and not text.strip(ALPHABETS[alphabet])


def read_supplied(text: str, alphabet: Alphabet) -> str:
    """A code that a caller supplied, in upper case where the alphabet has letters.

    A server wrote it, so nothing else is mended. Raises: BadRequest.
    """
    code = text.upper() if alphabet == "letters" and text.isascii() else text
    if fits(code, alphabet):
        return code
    raise BadRequest(
        f"`otp` must be {SHORTEST} to {LONGEST} characters of {ALPHABETS[alphabet]}.",
        code="invalid_otp",
        field="otp",
    )
