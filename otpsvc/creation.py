"""Makes what the store keeps of a new challenge: generation, code, digest, sealed parts."""

from __future__ import annotations

import secrets
from typing import NamedTuple

from msgspec import structs

from otpsvc.challenge import NO_DESTINATION, Flag, Record
from otpsvc.code import random_code
from otpsvc.hashpool import Cost, HashPool, new_salt, slow_digest
from otpsvc.keyring import Keyring
from otpsvc.letter import Draft, derived, destination, seal_code, seal_personal, shape, unshaped
from otpsvc.request import CreateRequest
from otpsvc.store import Creation, Once, Resend
from otpsvc.tenant import PURPOSES, TTL_CAP, Tenant
from otpsvc.token import Subject
from otpsvc.view import Personal

#: Numbers of address kinds in records; kinds of third parties count as 15.
KINDS = {"": 0, "email": 1, "phone": 2, "any": 3}
FOREIGN = 15


class _Coded(NamedTuple):
    """A code, and what is kept of it; all empty while there is no address."""

    code: str = ""
    digest: bytes = b""
    salt: bytes = b""
    body: bytes = b""


class Target(NamedTuple):
    """Where a create's code goes: the record's name, the operation, the address and its kind.

    `supplied`: the tenant's own code. `pin`: the generation of the page that asks, which
    stays; `collected`: the address was given there.
    """

    n: str
    op: bytes
    kind: str
    to: str
    supplied: str = ""
    pin: bytes = b""
    collected: bool = False


class Maker:
    """`pool` and `cost` are for slow hashes."""

    def __init__(self, keyring: Keyring, pool: HashPool, cost: Cost) -> None:
        self._keyring = keyring
        self._pool = pool
        self._cost = cost

    async def creation(
        self, tenant: Tenant, request: CreateRequest, target: Target, *, once: Once | None, lease: int
    ) -> tuple[Creation, Draft]:
        """A creation, and what its message needs. Raises: HashPoolFull."""
        keyring, gen = self._keyring, target.pin or secrets.token_bytes(16)
        form = shape(tenant.codes.length, tenant.codes.alphabet)
        n, to, supplied = target.n, target.to, target.supplied
        dest = destination(keyring, to) if to else NO_DESTINATION
        coded = await self._coded(tenant, request.id, gen, form, target=target, dest=dest)
        personal = _personal(request, to, form)
        creation = Creation(
            tenant=tenant.name,
            n=n,
            op=target.op,
            gen=gen,
            kid=keyring.active.kid,
            purpose=PURPOSES.index(request.purpose),
            flags=_flags(tenant, request, supplied=bool(supplied), collected=target.collected),
            kind=_kind(target.kind, form),
            dest=dest,
            digest=coded.digest,
            salt=coded.salt,
            route=request.provider if to else "",
            ttl=request.ttl * 1000,
            cap=TTL_CAP[request.purpose] * 1000,
            max_attempts=request.max_attempts,
            max_sends=request.max_sends,
            waits=tenant.limits.waits if tenant.limits.enabled else (),
            blob=seal_personal(keyring, personal, tenant.name, n, route=request.provider if to else ""),
            body=coded.body,
            sends=tenant.limits.sends if tenant.limits.enabled else None,
            once=once,
            lease=lease,
            pin=target.pin,
        )
        return creation, Draft(personal, gen, coded.code)

    async def resend(
        self, tenant: Tenant, n: str, op: bytes, record: Record, personal: Personal, *, lease: int
    ) -> Resend:
        """The same code again; with a slow hash, which hides it, a new one. Raises: HashPoolFull."""
        limits = tenant.limits
        resend = Resend(
            tenant=tenant.name,
            n=n,
            op=op,
            waits=limits.waits if limits.enabled else (),
            sends=limits.sends if limits.enabled else None,
            lease=lease,
            gen=record.gen,
        )
        if not record.slow_hash:
            return resend
        keyring = self._keyring
        code = random_code(*unshaped(personal.shape))
        digest, salt = await self._digest(tenant.name, personal.id, code, slow=True)
        return structs.replace(
            resend,
            kid=keyring.active.kid,
            digest=digest,
            salt=salt,
            body=seal_code(keyring, code, tenant.name, n, record.dest),
        )

    async def _coded(
        self, tenant: Tenant, id: str, gen: bytes, form: int, *, target: Target, dest: bytes
    ) -> _Coded:
        n, supplied = target.n, target.supplied
        if not target.to:
            # The tenant's own code waits, sealed, for its address.
            return _Coded(body=seal_code(self._keyring, supplied, tenant.name, n, dest) if supplied else b"")
        code = supplied or self._new_code(tenant, id, gen, dest=dest, form=form)
        digest, salt = await self._digest(tenant.name, id, code, slow=_is_slow(tenant))
        # Only what cannot be derived again is kept, until it is sent.
        kept = supplied or salt
        body = seal_code(self._keyring, code, tenant.name, n, dest) if kept else b""
        return _Coded(code, digest, salt, body)

    def _new_code(self, tenant: Tenant, id: str, gen: bytes, *, dest: bytes, form: int) -> str:
        if _is_slow(tenant):
            return random_code(tenant.codes.length, tenant.codes.alphabet)
        return derived(self._keyring.active, Subject(tenant.name, id), gen, dest, form)

    async def _digest(self, tenant: str, id: str, code: str, *, slow: bool) -> tuple[bytes, bytes]:
        keyed = self._keyring.code_digest(self._keyring.active, tenant, id, code)
        if not slow:
            return keyed, b""
        salt = new_salt(self._cost)
        return await self._pool.run(slow_digest, keyed, salt), salt


def _kind(kind: str, form: int) -> int:
    """The kind of address and, in the upper half, the form of the code.

    A create that would change either begins a new generation: the old code's digest is of the old form.
    """
    length, alphabet = divmod(form, 10)
    return KINDS.get(kind, FOREIGN) + 16 * (2 * (length - 6) + alphabet)


def _is_slow(tenant: Tenant) -> bool:
    return tenant.codes.hash == "argon2id"


def _personal(request: CreateRequest, to: str, form: int) -> Personal:
    return Personal(
        id=request.id,
        to=to,
        shape=form,
        provider=request.provider,
        extra=request.extra,
        locale=request.locale,
        channel_description=request.channel_description,
        address_description=request.address_description,
        bound=request.bound,
        text=request.text,
        subject=request.subject,
    )


def _flags(tenant: Tenant, request: CreateRequest, *, supplied: bool, collected: bool) -> int:
    return int(
        (Flag.TRUSTED if request.trusted else 0)
        | (Flag.SLOW_HASH if _is_slow(tenant) else 0)
        | (Flag.SUPPLIED if supplied else 0)
        | (Flag.CALLBACK if tenant.callback_url else 0)
        | (Flag.COLLECTED if collected else 0)
        | (Flag.LINGERS if request.bound else 0)
    )
