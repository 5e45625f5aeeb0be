"""The keys that live outside the store, and what is made with them.

Each key is 32 random bytes; subkeys are HKDF-SHA256 (RFC 5869) by label. States:
`accept` (known to this node, not yet used for new records), `active` (exactly one),
`retired` (its secret is destroyed). A key is added on every node first, then activated,
and retired when nothing made with it can be alive. The `index` key is apart: digests of
destinations and ids are made with it, so it never rotates by itself.
"""

from __future__ import annotations

import hmac
import os
from base64 import urlsafe_b64encode
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from otpsvc.errors import KeyNotOffered, KeyringError
from otpsvc.veiled import Veiled

LABELS = ("derive", "code", "seal", "view", "link", "receipt", "check")
DIGEST = 16


def lp(*parts: bytes | str) -> bytes:
    """Join parts so that no two lists of parts give the same bytes (4-byte length each)."""
    out = b""
    for part in parts:
        raw = part.encode() if type(part) is str else part
        out += len(raw).to_bytes(4, "big") + raw  # type: ignore[operator]
    return out


def subkey(secret: bytes, label: str) -> bytes:
    """32 bytes for one use (RFC 5869, expand only: the secret is uniformly random)."""
    return HKDFExpand(algorithm=SHA256(), length=32, info=b"otpsvc/1/" + label.encode()).derive(secret)


class Key:
    """One key with its subkeys. `kid` is its 4-byte id as records carry it."""

    __slots__ = ("_subkeys", "aead", "kid", "name", "state")

    def __init__(self, name: str, secret: bytes, state: str) -> None:
        self.name = name
        self.kid = bytes.fromhex(name)
        self.state = state
        self._subkeys = {label: subkey(secret, label) for label in LABELS}
        self.aead = AESGCM(self._subkeys["seal"])

    def __repr__(self) -> str:
        return f"Key({self.name}, {self.state})"

    def subkey(self, label: str) -> bytes:
        """32 bytes for the one use that `label` names."""
        return self._subkeys[label]

    def mac(self, label: str, data: bytes) -> bytes:
        """HMAC-SHA256 under the subkey of `label`, whole (32 bytes)."""
        return hmac.digest(self._subkeys[label], data, "sha256")

    def check_value(self) -> bytes:
        """Tells two secrets under one name apart without showing either."""
        return self.mac("check", self.kid)[:DIGEST]


class KeyEntry(Veiled, frozen=True, omit_defaults=True):
    """One key as the keyring file holds it; `secret` is 64 hex digits, "" when retired."""

    id: str
    state: str
    created: str = ""
    secret: str = ""

    def shown(self) -> str:
        return f"{self.id}, {self.state}"


class Keyring:
    """The keys of one node. Cheap to use, immutable: a rotation makes a new one."""

    def __init__(self, index: bytes, entries: Iterable[KeyEntry]) -> None:
        keys = [Key(e.id, bytes.fromhex(e.secret), e.state) for e in entries if e.state != "retired"]
        active = [key for key in keys if key.state == "active"]
        if len(active) != 1:
            raise KeyringError(f"the keyring has {len(active)} active keys, it must have exactly one")
        self.active = active[0]
        self.keys: dict[bytes, Key] = {key.kid: key for key in keys}
        self._index = subkey(index, "index")

    def __repr__(self) -> str:
        return f"Keyring({[key.name for key in self.keys.values()]})"

    def index_check_value(self) -> bytes:
        """As `Key.check_value`, for the index key."""
        return hmac.digest(self._index, b"check", "sha256")[:DIGEST]

    def digest(self, *parts: bytes | str) -> bytes:
        """16 bytes that stand for personal data in the store."""
        return hmac.digest(self._index, lp(*parts), "sha256")[:DIGEST]

    def name(self, *parts: bytes | str) -> str:
        """`digest` as 22 characters, for key names."""
        return urlsafe_b64encode(self.digest(*parts))[:22].decode()

    def key(self, kid: bytes) -> Key:
        """Raises: KeyNotOffered when this node does not hold it."""
        try:
            return self.keys[kid]
        except KeyError:
            raise KeyNotOffered from None

    def code_digest(self, key: Key, tenant: str, challenge: str, code: str) -> bytes:
        """What a code is compared by. The script mixes it with generation, purpose, destination."""
        return key.mac("code", lp("code", tenant, challenge, code))[:DIGEST]

    def code_digests(self, tenant: str, challenge: str, code: str) -> list[tuple[bytes, bytes]]:
        """One (key id, digest) per live key: the record says which one counts."""
        data = lp("code", tenant, challenge, code)
        return [(key.kid, key.mac("code", data)[:DIGEST]) for key in self.keys.values()]

    def seal(self, plain: bytes, *aad: bytes | str) -> bytes:
        """Encrypt under the active key: key id, 12 random bytes, ciphertext and tag."""
        key = self.active
        nonce = os.urandom(12)
        return key.kid + nonce + key.aead.encrypt(nonce, plain, lp(key.kid, *aad))

    def unseal(self, sealed: bytes, *aad: bytes | str) -> bytes:
        """Raises: KeyNotOffered; KeyringError when it was changed or belongs elsewhere."""
        key = self.key(sealed[:4])
        try:
            return key.aead.decrypt(sealed[4:16], sealed[16:], lp(key.kid, *aad))
        except (InvalidTag, ValueError):  # the latter: too short for a nonce
            raise KeyringError("a sealed value was changed, or moved from where it belongs") from None
