"""Create and check of verifications as commands, for tenants that reach us by a broker alone.

The same verbs as the API's, with answers fit for a queue: no code, no address, no token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import structs

from otpsvc import command
from otpsvc.dispatch import Client
from otpsvc.errors import BadRequest, CheckRefused, Limited
from otpsvc.oldwords import OK, Answer, answer
from otpsvc.request import read_client_ip, read_create, read_gen
from otpsvc.tenant import Tenant
from otpsvc.verify import Verifier
from otpsvc.view import View

WRONG: Final = "1202"
_CREATE, _CHECK = "create-verification", "check-verification"
_STATUSES: Final = {
    "wrong_code": "wrong", "check_limit": "limited", "closed": "used", "not_found": "unknown",
}  # fmt: skip
#: What a queue may see of a challenge.
_SHOWN: Final = (
    "id", "state", "purpose", "gen", "attempts", "max_attempts", "generate", "max_generate", "closed",
    "ttl", "resend_in",
)  # fmt: skip


class Verifications:
    """Asks the verifier."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    async def create(
        self, tenant: Tenant, one: command.CreateVerification, *, key: str = "", again: bool = False
    ) -> Answer:
        """Make a challenge and send its code, once for each `key`.

        `again`: it may have been asked before; then a code that is on its way is an answer,
        and no refusal. Raises: BadRequest, Limited, KeyReused, Busy.
        """
        _check_whole(one.fields)
        id, own = one.fields.get("id", ""), one.fields.get("idempotency_key", "")
        if not id:
            raise BadRequest("`id` is missing: a repeat could not be told.", code="invalid_id", field="id")
        request = read_create(one.fields, tenant.codes, id=id, key=own or key)
        try:
            view = await self._verifier.create(tenant, structs.replace(request, text="", subject=""))
        except Limited as error:
            if not again or error.code != "resend_too_soon":
                raise
            view = await self._verifier.read(tenant, id)
        return answer(_CREATE, OK, data=_shown(view) | {"status": view.message.state.value})

    async def check(self, tenant: Tenant, one: command.CheckVerification, *, op: bytes = b"") -> Answer:
        """Evaluate a code; `op` as in `Verifier.check`. Raises: BadRequest, Busy (nothing was counted)."""
        fields = one.fields
        _check_whole(fields)
        client = Client(read_client_ip(fields.get("client_ip", "")))
        id, gen = fields.get("id", ""), read_gen(fields.get("gen", ""))
        try:
            view = await self._verifier.check(
                tenant, id, fields.get("otp", ""), client=client, op=op, gen=gen
            )
        except (CheckRefused, Limited) as error:
            data = _shown(error.data) if isinstance(error.data, View) else {"id": id}
            status = _STATUSES.get(error.code, error.code)
            return answer(_CHECK, WRONG, error=error.message, data=data | {"status": status})
        return answer(_CHECK, OK, data=_shown(view) | {"status": "verified"})


def _check_whole(fields: Mapping[str, str]) -> None:
    """Raises: BadRequest: half a character, which an escape of JSON can name and no encoding has."""
    try:
        "".join((*fields, *fields.values())).encode()
    except UnicodeEncodeError:
        raise BadRequest("A field holds half of a character.", code="invalid_text") from None


def _shown(view: View) -> Answer:
    return {name: getattr(view, name) for name in _SHOWN}
