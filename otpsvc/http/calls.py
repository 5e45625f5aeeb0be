"""What the API can be asked, each as one typed function that both ways to it call.

Here are the calls of verification, and the list of all. The hot path and Litestar's routes
differ in how they find a call and read its parameters; from here on there is one way.
"""

from __future__ import annotations

from typing import Final

from otpsvc.dispatch import Client
from otpsvc.errors import BadRequest
from otpsvc.http import blocks, messages
from otpsvc.http.asked import Asked, Call
from otpsvc.request import read_client_ip, read_create, read_key
from otpsvc.view import View


async def create(asked: Asked) -> View:
    """Make a challenge and send its code. Raises: BadRequest, Limited, StillRunning, KeyReused, Busy."""
    tenant, id = asked.tenant, asked.id
    if asked.key and not id:
        # The first answer of this key can be given again only under the id that it had.
        id = asked.verifier.keyring.name("new", tenant.name, read_key(asked.key), asked.body())
    request = read_create(asked.fields, tenant.codes, id=id, key=asked.key)
    return await asked.verifier.create(tenant, request)


async def create_or_command(asked: Asked) -> View:
    """A create without an id. Commands of relay clients went another way. Raises: as `create`."""
    if "command" in asked.fields:
        raise BadRequest("A command is one JSON object.", code="unknown_command", field="command")
    return await create(asked)


async def check(asked: Asked) -> View:
    """Evaluate a code. `skip_delete` and `action` of old clients have no effect.

    Raises: BadRequest, CheckRefused, Limited, Busy.
    """
    fields = asked.fields
    client = Client(read_client_ip(fields.get("client_ip", "")))
    op = _operation(asked) if asked.key else b""
    return await asked.verifier.check(asked.tenant, asked.id, fields.get("otp", ""), client=client, op=op)


async def status(asked: Asked) -> View:
    """The record of a verified challenge. Raises: BadRequest, NotFound, NotVerified, Busy."""
    return await _status(asked, consume=False)


async def consume(asked: Asked) -> View:
    """The same, and forget it. Raises: BadRequest, NotFound, NotVerified, Busy."""
    return await _status(asked, consume=True)


async def _status(asked: Asked, *, consume: bool) -> View:
    fields = asked.fields
    return await asked.verifier.status(
        asked.tenant,
        asked.id,
        receipt=fields.get("receipt", ""),
        gen=fields.get("gen", ""),
        consume=consume,
    )


async def resend(asked: Asked) -> View:
    """Send the code again. Raises: BadRequest, NotFound, Limited, Busy."""
    client_ip = read_client_ip(asked.fields.get("client_ip", ""))
    op = _operation(asked) if asked.key else b""
    return await asked.verifier.resend(asked.tenant, asked.id, client_ip=client_ip, op=op)


async def read(asked: Asked) -> View:
    """The state of a challenge and its message; changes nothing. Raises: BadRequest, NotFound, Busy."""
    return await asked.verifier.read(asked.tenant, asked.id)


async def cancel(asked: Asked) -> View:
    """Close an open challenge. Raises: BadRequest, NotFound, Busy."""
    return await asked.verifier.cancel(asked.tenant, asked.id)


async def reset_budget(asked: Asked) -> str:
    """Forget the wrong checks counted for an address. Raises: BadRequest, Busy."""
    fields = asked.fields
    await asked.verifier.reset_budget(asked.tenant, fields.get("provider", ""), fields.get("to", ""))
    return "OK"


async def providers(asked: Asked) -> list[str]:
    """The ways out that the tenant may name."""
    return asked.verifier.providers(asked.tenant)


def _operation(asked: Asked) -> bytes:
    """The same for the same request under the same Idempotency-Key. Raises: BadRequest."""
    return asked.verifier.keyring.digest("op", asked.tenant.name, read_key(asked.key), asked.body())[:8]


CREATE: Final = Call("PUT", "/api/otp/{id}", create)
# otpgateway answers 400 here, and its clients look at it.
CHECK: Final = Call("POST", "/api/otp/{id}", check, missing=400)
STATUS: Final = Call("POST", "/api/otp/{id}/status", status, missing=400)
NEW_BY_PUT: Final = Call("PUT", "/api/otp", create, commands=True)
NEW: Final = Call("POST", "/api/otp", create_or_command, commands=True)
CALLS: Final = (
    CREATE,
    CHECK,
    STATUS,
    Call("DELETE", "/api/otp/{id}/status", consume, missing=400),
    NEW_BY_PUT,
    NEW,
    Call("POST", "/api/otp/{id}/resend", resend),
    Call("GET", "/api/otp/{id}", read),
    Call("DELETE", "/api/otp/{id}", cancel),
    Call("POST", "/api/budgets/reset", reset_budget),
    Call("GET", "/api/providers", providers, scopes=("otp", "sms", "mail")),
    *messages.CALLS,
    *blocks.CALLS,
)
