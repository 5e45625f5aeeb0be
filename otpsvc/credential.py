"""The secrets of tenants: how one is made, kept, and compared with what was given.

otpsvc1$<salt>$<digest>   a random secret of 256 bits: salted HMAC-SHA256 is enough
$argon2id$…               a secret that a person chose
anything else             the secret itself
"""

from __future__ import annotations

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from otpsvc.hashpool import Cost
from otpsvc.tenant import Secret
from otpsvc.token import same

FAST: Final = "otpsvc1$"
SLOW: Final = "$argon2id$"
_SALT = 16


def new_secret() -> tuple[str, str]:
    """A new secret of 256 random bits, and the hash that the config keeps of it."""
    secret, salt = secrets.token_urlsafe(32), secrets.token_bytes(_SALT)
    return secret, f"{FAST}{_text(salt)}${_text(_fast(salt, secret))}"


def hash_chosen(secret: str, *, cost: Cost = Cost()) -> str:  # noqa: B008 - frozen
    """An argon2id hash (RFC 9106) of a secret that a person chose; takes tens of milliseconds."""
    hasher = PasswordHasher(time_cost=cost.passes, memory_cost=cost.memory, parallelism=1)
    return hasher.hash(secret)


def matches(secret: Secret, given: str) -> bool:
    """True when `given` is the secret. Slow for argon2id: call it in a hash pool."""
    if is_slow(secret):
        return _matches_slow(secret.value, given)
    if secret.plain or not secret.value.startswith(FAST):
        # Digests of both, so that the time does not tell the length.
        return same(sha256(secret.value.encode()).digest(), sha256(given.encode()).digest())
    try:
        salt, digest = (_bytes(part) for part in secret.value[len(FAST) :].split("$"))
    except ValueError:
        return False
    return same(digest, _fast(salt, given))


def is_slow(secret: Secret) -> bool:
    """True when comparing it takes milliseconds."""
    return not secret.plain and secret.value.startswith(SLOW)


def _matches_slow(kept: str, given: str) -> bool:
    try:
        return PasswordHasher().verify(kept, given)
    except (VerificationError, InvalidHashError):
        return False


def _fast(salt: bytes, secret: str) -> bytes:
    return hmac.digest(salt, secret.encode(), "sha256")


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
