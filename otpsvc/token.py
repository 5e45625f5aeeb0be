"""Signed capabilities: the view token of a page's address, and the receipt of a verification.

Both are bound to tenant, id and generation. The generation travels inside, so that a
bad token is refused without a look into the store; whether it is still the current one
is decided in the script that acts on it.
"""

from __future__ import annotations

import hmac
import struct
from base64 import b64decode, urlsafe_b64encode
from typing import Literal, NamedTuple

from otpsvc.challenge import Record
from otpsvc.keyring import Keyring, lp

Label = Literal["view", "link", "receipt"]
#: Seconds from a right code until its receipt must have been shown.
RECEIPT_LIFE = 60
#: Seconds that a page's token is good for after its challenge's deadline.
_AFTER = 86_400

# Key id, expiry (Unix seconds), generation, operation (receipts; else zeros).
_BODY = struct.Struct(">4sI16s8s")
_MAC = 16
#: Characters; longer ones are not even decoded.
LONGEST = 80


class Token(NamedTuple):
    """What a valid token says."""

    gen: bytes
    op: bytes
    expires: int


class Subject(NamedTuple):
    """Of which challenge a token speaks: the names as they stand on the wire."""

    tenant: str
    id: str


def sign(
    keyring: Keyring, label: Label, of: Subject, *, gen: bytes, expires: int, op: bytes = bytes(8)
) -> str:
    """64 URL-safe characters with a MAC of 128 bits."""
    key = keyring.active
    body = _BODY.pack(key.kid, expires, gen, op)
    mac = key.mac(label, lp(label, *of, body))[:_MAC]
    return urlsafe_b64encode(body + mac).decode().rstrip("=")


def page_url(keyring: Keyring, label: Label, of: Subject, record: Record, *, root_url: str) -> str:
    """Where a challenge's page is, with the token that opens it.

    It outlives the challenge by a day: who comes late is told so. Whether the challenge is
    still open, the store alone knows.
    """
    expires = int(record.deadline / 1000) + _AFTER
    token = sign(keyring, label, of, gen=record.gen, expires=expires)
    return f"{root_url}/otp/{of.tenant}/{of.id}?t={token}"


def read(keyring: Keyring, label: Label, of: Subject, token: str, *, now: float) -> Token | None:
    """The token's content; None when it is malformed, changed, of another id, or too old.

    `now` is Unix time in seconds; 0 leaves its age to whoever asks the store, whose clock it
    was made by: the clocks of two nodes may differ by more than a receipt lives.
    """
    if len(token) > LONGEST:
        return None
    try:
        raw = b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        kid, expires, gen, op = _BODY.unpack(raw[:-_MAC])
    except (ValueError, struct.error):
        return None
    key = keyring.keys.get(kid)
    if key is None:
        return None
    good = key.mac(label, lp(label, *of, raw[:-_MAC]))[:_MAC]
    if not same(good, raw[-_MAC:]) or now >= expires:
        return None
    return Token(gen, op, expires)


def same(one: bytes, other: bytes) -> bool:
    """The one place where secrets are compared: in constant time."""
    return hmac.compare_digest(one, other)
