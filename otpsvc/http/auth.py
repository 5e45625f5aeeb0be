"""Who asks: Basic credentials `namespace:secret` become a tenant, or one and the same 401.

A header that was verified once is remembered under a key that only this process knows,
so that the usual request costs a digest and no slow hash.
"""

from __future__ import annotations

import base64
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Final

from otpsvc.credential import is_slow, matches
from otpsvc.errors import Limited, Unauthorized
from otpsvc.hashpool import HashPool
from otpsvc.tenant import Secret, Tenant

#: Bytes; longer headers are no credentials.
HEADER_MAX: Final = 4096
#: Failed logins of one source at once, and seconds until one more is allowed.
BURST, REFILL = 30, 2.0
_SOURCES = 10_000
_REMEMBERED = 4096
# What the secret of an unknown tenant is compared with. Never equal: no secret is empty.
_NOBODY: Final = Secret("otpsvc1$AAAAAAAAAAAAAAAAAAAAAA$" + "A" * 43)


class Authenticator:
    """`tenants` gives the tenants of this moment; `pool` is for logins alone, codes have their own.

    `clock` in seconds.
    """

    def __init__(
        self,
        tenants: Callable[[], Mapping[str, Tenant]],
        pool: HashPool,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tenants = tenants
        self._pool = pool
        self._failures = Buckets(BURST, REFILL, clock=clock)
        self._key = secrets.token_bytes(32)
        self._seen: OrderedDict[bytes, tuple[str, tuple[Secret, ...]]] = OrderedDict()

    def flush(self) -> None:
        """Forget every verified header. A tenant's changed secrets are noticed without it."""
        self._seen.clear()

    def known(self, authorization: bytes | None) -> Tenant | None:
        """The tenant of a header that was verified before; None: ask `tenant`."""
        if authorization is None:
            return None
        digest = self._digest(authorization)
        entry = self._seen.get(digest)
        if entry is None:
            return None
        name, verified = entry
        tenant = self._tenants().get(name)
        # A reload makes new objects of the same secrets.
        if tenant is None or (tenant.secrets is not verified and tenant.secrets != verified):
            del self._seen[digest]
            return None
        self._seen.move_to_end(digest)
        return tenant

    async def tenant(self, authorization: bytes | None, source: str) -> Tenant:
        """The tenant of a header. `source`: what failed logins are counted by.

        Raises: Unauthorized (one for all cases), Limited, Busy.
        """
        if (known := self.known(authorization)) is not None:
            return known
        given = _credentials(authorization) if authorization is not None else None
        if given is None and not self._slowest():
            raise Unauthorized
        # Where secrets are hashed slowly, no credentials take as long as wrong ones.
        name, secret = given or ("", "")
        if wait := self._failures.take(source):
            words = f"Too many failed logins. Retry after {wait} seconds."
            raise Limited(words, retry_after=wait, code="too_many_logins")
        tenant = self._tenants().get(name)
        if not await self._holds(tenant, secret) or tenant is None:
            raise Unauthorized
        self._failures.give_back(source)
        if authorization is not None:
            self._remember(authorization, tenant)
        return tenant

    async def _holds(self, tenant: Tenant | None, given: str) -> bool:
        """Every failure costs the same: unknown tenants and those with a fast secret hash slowly too."""
        own = tenant.secrets if tenant else ()
        fast = [secret for secret in own if not is_slow(secret)] or [_NOBODY]
        # All of them, so that the time does not tell which one it was.
        if sum(matches(secret, given) for secret in fast):
            return True
        slow = [secret for secret in own if is_slow(secret)]
        dummies = self._slowest()[len(slow) :]
        if not slow and not dummies:
            return False
        return await self._pool.run(_one_matches, slow, dummies, given)

    def _slowest(self) -> list[Secret]:
        """The slow secrets of the tenant that has most of them: as many hashes a failure costs."""
        each = ([s for s in tenant.secrets if is_slow(s)] for tenant in self._tenants().values())
        return max(each, key=len, default=[])

    def _remember(self, authorization: bytes, tenant: Tenant) -> None:
        self._seen[self._digest(authorization)] = (tenant.name, tenant.secrets)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)

    def _digest(self, authorization: bytes) -> bytes:
        return blake2b(authorization, key=self._key, digest_size=16).digest()


class Buckets:
    """What each source may still do: a bucket that holds `burst` and gains one every `refill` seconds."""

    def __init__(self, burst: int, refill: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._room = burst * refill
        self._refill = refill
        self._clock = clock
        #: When the bucket of a source will be full again; the oldest is forgotten first.
        self._full: OrderedDict[str, float] = OrderedDict()

    def take(self, source: str) -> int:
        """Take one: 0, or the seconds until there is one again."""
        now = self._clock()
        full = max(now, self._full.get(source, now)) + self._refill
        if full > now + self._room:
            return math.ceil(full - now - self._room)
        self._full[source] = full
        self._full.move_to_end(source)
        if len(self._full) > _SOURCES:
            self._full.popitem(last=False)
        return 0

    def give_back(self, source: str) -> None:
        """The attempt was none that failed."""
        full = self._full.get(source, 0.0) - self._refill
        if full > self._clock():
            self._full[source] = full
        else:
            self._full.pop(source, None)


def _credentials(authorization: bytes) -> tuple[str, str] | None:
    """Namespace and secret; the first colon ends the namespace (RFC 7617, 2)."""
    scheme, _, encoded = authorization.partition(b" ")
    if scheme.lower() != b"basic" or len(authorization) > HEADER_MAX:
        return None
    try:
        name, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:
        return None
    return (name, secret) if colon else None


def _one_matches(slow: Sequence[Secret], dummies: Sequence[Secret], given: str) -> bool:
    """Runs in a thread of the pool."""
    if any(matches(secret, given) for secret in slow):
        return True
    for secret in dummies:
        matches(secret, given)
    return False
