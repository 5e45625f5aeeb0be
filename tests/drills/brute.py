"""What a thief of the store tries: plain hashes of likely bodies, against everything that is kept."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import permutations
from typing import Final, NamedTuple

from otpsvc.challenge import Record
from otpsvc.keyring import lp

Hash = Callable[[bytes], bytes]
HASHES: Final[dict[str, Hash]] = {
    "md5": lambda body: hashlib.md5(body).digest(),
    "sha1": lambda body: hashlib.sha1(body).digest(),
    "sha256": lambda body: hashlib.sha256(body).digest(),
    "sha512": lambda body: hashlib.sha512(body).digest(),
    "sha3": lambda body: hashlib.sha3_256(body).digest(),
    "blake2b": lambda body: hashlib.blake2b(body).digest(),
    "blake2b-16": lambda body: hashlib.blake2b(body, digest_size=16).digest(),
    "blake2s": lambda body: hashlib.blake2s(body).digest(),
    "none": lambda body: body,
}
_BETWEEN: Final = (b"", b"|", b":", b"/", b"-", b",", b" ", b"\n", b"\0", b"\x1f")
#: Of a digest these bytes are looked for, of its text these characters: shorter than any that is kept.
_RAW, _TEXT = 8, 12


class Kept:
    """All windows of what is kept, so that a digest cut to 16 bytes or more is found at any place."""

    def __init__(self, kept: Iterable[bytes]) -> None:
        self._raw: set[bytes] = set()
        self._text: set[bytes] = set()
        for one in kept:
            self._raw.update(one[at : at + _RAW] for at in range(len(one) - _RAW + 1))
            self._text.update(one[at : at + _TEXT] for at in range(len(one) - _TEXT + 1))

    def holds(self, digest: bytes) -> bool:
        """The digest, raw, in hex or in base64, whole or cut."""
        if len(digest) < _RAW:
            return False
        if digest[:_RAW] in self._raw:
            return True
        texts = (digest.hex().encode(), digest.hex().upper().encode(), base64.b64encode(digest))
        return any(text[:_TEXT] in self._text for text in texts) or (
            base64.urlsafe_b64encode(digest)[:_TEXT] in self._text
        )


class Target(NamedTuple):
    """What a thief may know or guess of one challenge; `record` is what the store holds of it."""

    tenant: str
    id: str
    to: str
    code: str
    bodies: tuple[bytes, ...] = ()
    record: Record | None = None


def likely(target: Target) -> Iterator[bytes]:
    """Bodies that a digest may be made of."""
    parts = [text.encode() for text in (target.tenant, target.id, target.to, target.code)]
    for count in (1, 2, 3):
        for some in permutations(parts, count):
            yield lp(*some)
            for label in ("code", "id", "dest", "once", "idempotency"):
                yield lp(label, *some)
            for between in _BETWEEN:
                yield between.join(some)
    yield from target.bodies


def falls(target: Target, kept: Kept) -> set[str]:
    """The names of the hashes by which something of it was found."""
    won = set()
    for body in likely(target):
        for name, hash_of in HASHES.items():
            digest = hash_of(body)
            if name != "none" and kept.holds(digest):
                won.add(name)
            if target.record is not None and any(map(kept.holds, _mixed(target.record, digest))):
                won.add(f"{name}, mixed")
    return won


def _mixed(record: Record, digest: bytes) -> Iterator[bytes]:
    """As the script mixes a digest with what stands beside it in the record."""
    beside = record.gen + bytes([record.purpose_at]) + record.dest
    for size in {16, len(digest)}:
        yield hashlib.sha1(beside + digest[:size]).digest()


def swept(kept: Kept) -> set[str]:
    """Every six-digit code alone, by the hashes that are quickest to try."""
    quick = {name: HASHES[name] for name in ("md5", "sha1", "sha256", "blake2b")}
    raw = kept._raw
    codes = [b"%06d" % n for n in range(1_000_000)]
    return {name for name, hash_of in quick.items() if any(hash_of(code)[:_RAW] in raw for code in codes)}
