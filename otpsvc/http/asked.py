"""What a call is: who may ask for it, where, and with what it is carried out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import msgspec
from msgspec import Struct

from otpsvc.errors import Forbidden
from otpsvc.http.parts import Parts
from otpsvc.tenant import Scope, Tenant
from otpsvc.verify import Verifier

_USES: Mapping[Scope, str] = {
    "otp": "verifications",
    "sms": "messages",
    "inbox": "the inbox",
    "modems": "modems",
    "ussd": "USSD codes",
    "blocks:global": "the block list of all namespaces",
}


class Asked(Struct, frozen=True):
    """Who asks for what: `id` as the path has it ("" for none), `key` the Idempotency-Key."""

    parts: Parts
    tenant: Tenant
    fields: Mapping[str, str]
    id: str = ""
    key: str = ""

    def __repr__(self) -> str:
        return "Asked(…)"

    @property
    def verifier(self) -> Verifier:
        return self.parts.verifier

    def body(self) -> bytes:
        """The whole request in one form."""
        return msgspec.json.encode([self.id, sorted(self.fields.items())])


class Call(Struct, frozen=True):
    """One thing that can be asked, and where.

    `scopes`: one of them is needed. `missing`: the status of NotFound; `done`: that of success.
    `commands`: a body may also be a command of a relay client.
    """

    method: str
    route: str
    run: Callable[[Asked], Awaitable[object]]
    missing: int = 404
    scopes: tuple[Scope, ...] = ("otp",)
    done: int = 200
    commands: bool = False

    def permit(self, tenant: Tenant) -> None:
        """Raises: Forbidden."""
        for scope in self.scopes:
            if scope in tenant.scopes:
                return
        raise forbidden(self.scopes[0])


def forbidden(scope: Scope) -> Forbidden:
    """The tenant lacks a scope."""
    return Forbidden(f"This namespace may not use {_USES[scope]}.", code="scope")
