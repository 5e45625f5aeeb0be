"""The block list: destinations to which nothing is sent, of one tenant or of all.

It is enforced where messages are created and again where they are claimed (the store's
scripts, and `deliver.py` for the list of all tenants), so that no way out goes past it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from otpsvc.address import EMAIL, phone
from otpsvc.errors import BadAddress, Busy, KeyringError
from otpsvc.keyring import Keyring
from otpsvc.letter import destination
from otpsvc.store import ALL, Store
from otpsvc.tenant import Tenant
from otpsvc.veiled import Veiled

#: A service's own number, which has no international form. What begins with 0 is a national one.
_SHORT_CODE = re.compile(r"[1-9][0-9]{2,7}")
_encode = msgspec.msgpack.Encoder().encode


class Blocked(Veiled, frozen=True, kw_only=True):
    """One entry. `everywhere`: for all tenants. `number` and `since` are empty where they cannot be read."""

    number: str
    since: str
    everywhere: bool = False


class _Sealed(Struct, frozen=True, array_like=True):
    number: str
    at: float


_decode = msgspec.msgpack.Decoder(_Sealed).decode


class BlockList:
    """Reads and changes the lists. `scope` everywhere: the one of all tenants."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring

    async def block(self, tenant: Tenant, address: str, *, now: float, everywhere: bool = False) -> Blocked:
        """Blocking twice changes nothing. Raises: BadAddress, StoreUnavailable."""
        number, scope = read_destination(address, tenant.country), _scope(tenant, everywhere)
        dest = destination(self._keyring, number)
        sealed = self._keyring.seal(_encode(_Sealed(number, now)), "block", scope, dest)
        if not await self._store.block(scope, dest, sealed):
            sealed = await self._store.blocked(scope, dest) or sealed
        return _shown(self._open(scope, dest, sealed, number=number), everywhere)

    async def unblock(self, tenant: Tenant, address: str, *, everywhere: bool = False) -> bool:
        """True when it was blocked. Raises: BadAddress, StoreUnavailable."""
        number = read_destination(address, tenant.country)
        return await self._store.unblock(_scope(tenant, everywhere), destination(self._keyring, number))

    async def find(self, tenant: Tenant, address: str) -> Blocked | None:
        """The tenant's own entry, else that of all. Raises: BadAddress, StoreUnavailable."""
        number = read_destination(address, tenant.country)
        dest = destination(self._keyring, number)
        for scope in (tenant.name, ALL):
            if sealed := await self._store.blocked(scope, dest):
                return _shown(self._open(scope, dest, sealed, number=number), scope == ALL)
        return None

    async def every(self, tenant: Tenant, *, everywhere: bool = False) -> list[Blocked]:
        """A whole list, by number. Raises: StoreUnavailable.

        An entry whose key was retired blocks as before, and stands there without its number.
        """
        scope = _scope(tenant, everywhere)
        found = [self._open(scope, dest, sealed) for dest, sealed in await self._store.blocks(scope)]
        return sorted((_shown(one, everywhere) for one in found), key=lambda one: one.number)

    def _open(self, scope: str, dest: bytes, sealed: bytes, *, number: str = "") -> _Sealed:
        """`number`: what is known of it without."""
        try:
            return _decode(self._keyring.unseal(sealed, "block", scope, dest))
        except (Busy, KeyringError, msgspec.DecodeError):
            return _Sealed(number, 0.0)


def read_destination(address: str, country: str) -> str:
    """An e-mail address, a number in E.164, or a short code of 3 to 8 digits.

    Words (alphanumeric senders) are refused: nothing can be sent to them. Raises: BadAddress.
    """
    return EMAIL.parse(address.strip(" ")) if "@" in address else read_number(address, country)


def read_number(address: str, country: str) -> str:
    """A number in E.164, or a short code. Raises: BadAddress."""
    try:
        # With a leading blank, which is what a form makes of a `+`.
        return phone(country).parse(address)
    except BadAddress:
        if _SHORT_CODE.fullmatch(text := address.strip(" ")):
            return text
        raise


def _scope(tenant: Tenant, everywhere: bool) -> str:
    return ALL if everywhere else tenant.name


def _shown(one: _Sealed, everywhere: bool) -> Blocked:
    since = datetime.fromtimestamp(one.at, UTC).isoformat(timespec="milliseconds") if one.at else ""
    return Blocked(number=one.number, since=since, everywhere=everywhere)
