"""Commands between nodes of ours, sealed: a broker on their way can neither read nor change them.

    {"otpsvc":"sealed-1","key":…,"id":…,"until":…,"body":…}

`key`: 8 hex digits that tell which secret; `until`: Unix time in seconds after which it is
not opened; `body`: base64url of 12 random bytes and AES-256-GCM. It can be seen who sealed
it, when it ends and how long it is: codes are of one length, so their texts are not padded.
It can be replayed until its end: who opens it must know repeats by its `id`.
"""

from __future__ import annotations

import os
import re
import struct
from base64 import b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from typing import Final, Literal, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import DecodeError, Struct
from msgspec.json import Decoder, Encoder

from otpsvc.errors import BadRequest
from otpsvc.keyring import lp

#: Characters of a secret at least.
SECRET_MIN: Final = 32
#: Bytes of a sealed command at most: one of 64 kB, in base64, and what stands around it.
RAW_MAX: Final = 90_000
_LABEL: Final = "otpsvc/1/parcel"
_NONCE: Final = 12
_BEGIN = re.compile(rb'\s*\{\s*"otpsvc"\s*:\s*"sealed-1"')


class _Parcel(Struct, frozen=True):
    otpsvc: Literal["sealed-1"]
    key: str
    id: str
    until: float
    body: str


class Opened(NamedTuple):
    """`id` and `until` as they were given to `close`: nobody changed them."""

    body: bytes
    id: str
    until: float


_encode = Encoder().encode
_decode = Decoder(_Parcel).decode


def is_parcel(raw: bytes) -> bool:
    """Whether it says that it is sealed. Cheap; it may be broken all the same."""
    return _BEGIN.match(raw[:256]) is not None


class Parcels:
    """Seals and opens under one secret, which both ends know."""

    def __init__(self, secret: str) -> None:
        """Raises: ValueError when the secret is too short."""
        if len(secret) < SECRET_MIN:
            raise ValueError(f"expected at least {SECRET_MIN} characters")
        self._aead = AESGCM(_derived(secret, "seal", 32))
        self._key = _derived(secret, "name", 4).hex()

    def __repr__(self) -> str:
        return f"Parcels({self._key})"

    def close(self, body: bytes, *, id: str, until: float) -> bytes:
        """Seal `body`. `id` stays the same over retries; `until` in Unix seconds."""
        nonce = os.urandom(_NONCE)
        sealed = nonce + self._aead.encrypt(nonce, body, self._bound(id, until))
        return _encode(_Parcel("sealed-1", self._key, id, until, urlsafe_b64encode(sealed).decode()))

    def open(self, raw: bytes, *, now: float) -> bytes:
        """What was sealed; `now` in Unix seconds. Raises: as `read`."""
        return self.read(raw, now=now).body

    def read(self, raw: bytes, *, now: float) -> Opened:
        """The same, with what was sealed beside it.

        Raises: BadRequest, its code `not_sealed`, `sealed_otherwise` (another secret, or it
        was changed on its way) or `expired`.
        """
        parcel = _read(raw)
        if parcel.key != self._key:
            raise BadRequest("It is sealed under another secret.", code="sealed_otherwise")
        try:
            sealed = b64decode(parcel.body, altchars=b"-_", validate=True)
            body = self._aead.decrypt(
                sealed[:_NONCE], sealed[_NONCE:], self._bound(parcel.id, float(parcel.until))
            )
        except (InvalidTag, NotBase64, ValueError):  # the last: too short for a nonce, or no Unicode
            raise BadRequest("It was changed after it was sealed.", code="sealed_otherwise") from None
        if parcel.until <= now:
            raise BadRequest("It came too late.", code="expired")
        return Opened(body, parcel.id, float(parcel.until))

    def _bound(self, id: str, until: float) -> bytes:
        return lp(_LABEL, self._key, id, struct.pack(">d", until))


def _read(raw: bytes) -> _Parcel:
    """Raises: BadRequest."""
    try:
        if len(raw) <= RAW_MAX and is_parcel(raw):
            return _decode(raw)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        pass
    raise BadRequest("It is not sealed.", code="not_sealed")


def _derived(secret: str, use: str, length: int) -> bytes:
    """Extract and expand: the secret was perhaps typed, so it is not uniformly random (RFC 5869)."""
    info = f"{_LABEL}/{use}".encode()
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(secret.encode())
