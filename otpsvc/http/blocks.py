"""The calls about the block lists: a tenant's own, and with a scope of its own that of all tenants."""

from __future__ import annotations

import time
from typing import Final

from otpsvc.blocking import Blocked
from otpsvc.errors import NotFound
from otpsvc.http.asked import Asked, Call, forbidden
from otpsvc.http.reading import read_everywhere


async def every(asked: Asked) -> list[Blocked]:
    """A whole list. Raises: BadRequest, Forbidden, Busy."""
    return await asked.parts.blocks.every(asked.tenant, everywhere=_everywhere(asked))


async def find(asked: Asked) -> Blocked:
    """The entry of a number. Raises: BadRequest, Forbidden, NotFound, Busy."""
    found = await asked.parts.blocks.find(asked.tenant, asked.id)
    if found is None:
        raise _missing()
    return found


async def block(asked: Asked) -> Blocked:
    """Let nothing be sent there. Raises: BadRequest, Forbidden, Busy."""
    blocks, everywhere = asked.parts.blocks, _everywhere(asked)
    return await blocks.block(asked.tenant, asked.id, now=time.time(), everywhere=everywhere)


async def unblock(asked: Asked) -> str:
    """Take it back. Raises: BadRequest, Forbidden, NotFound, Busy."""
    if not await asked.parts.blocks.unblock(asked.tenant, asked.id, everywhere=_everywhere(asked)):
        raise _missing()
    return "OK"


def _everywhere(asked: Asked) -> bool:
    """Whether the list of all tenants is meant. Raises: BadRequest, Forbidden."""
    everywhere, scopes = read_everywhere(asked.fields), asked.tenant.scopes
    if everywhere and "blocks:global" not in scopes:
        raise forbidden("blocks:global")
    if not everywhere and "sms" not in scopes:
        raise forbidden("sms")
    return everywhere


def _missing() -> NotFound:
    return NotFound("This address is not blocked.")


_ROUTE: Final = "/api/blocks/{number}"
CALLS: Final = (
    Call("GET", "/api/blocks", every, scopes=("sms", "blocks:global")),
    Call("GET", _ROUTE, find, scopes=("sms", "blocks:global")),
    Call("PUT", _ROUTE, block, scopes=("sms", "blocks:global")),
    Call("DELETE", _ROUTE, unblock, scopes=("sms", "blocks:global")),
)
