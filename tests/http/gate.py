"""A door with a way out for texts and one for mail, as relay clients know it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, get_args

from otpsvc.address import EMAIL, phone
from otpsvc.tenant import Scope, Secret, Tenant
from tests.flows.rig import Outlet, tenant
from tests.http.door import Answer, Door
from tests.waiting import until

ALL_SCOPES: Final = frozenset(get_args(Scope))
TO: Final = "+6281234567890"


def gatekeeper(**more: Any) -> Tenant:
    """A tenant that may do everything, in Indonesia."""
    usual = {"secrets": (Secret("planted-secret", plain=True),), "scopes": ALL_SCOPES, "country": "ID"}
    return tenant(**(usual | more))


class Gate:
    """Asks a door in the words of relay clients."""

    def __init__(self, door: Door, sms: Outlet, mail: Outlet) -> None:
        self.door = door
        self.sms = sms
        self.mail = mail

    async def raw(self, body: bytes, path: str = "/api/sms", method: str = "POST", **more: Any) -> Answer:
        """One body as it is."""
        return await self.door.ask(method, path, body=body, **more)

    async def ask(self, frame: object, path: str = "/api/sms", **more: Any) -> Any:
        """The answer to a frame, which has to be 200 in the old form."""
        answer = await self.raw(json.dumps(frame).encode(), path, **more)
        assert answer.status == 200, answer
        assert answer.headers["content-type"] == "application/json"
        assert int(answer.headers["content-length"]) == len(answer.body)
        assert answer.body.decode() == json.dumps(answer.json, indent=4, ensure_ascii=False)
        return answer.json

    async def command(self, command: str, path: str = "/api/sms", **data: object) -> Any:
        return await self.ask({"command": command, "data": data}, path)

    async def api(self, method: str, path: str, fields: dict[str, str] | None = None, **more: Any) -> Answer:
        return await self.door.ask(method, path, fields, **more)

    async def texts(self, count: int = 1) -> list[tuple[str, str]]:
        """(to, text) of what left by SMS, once there are so many."""
        await until(lambda: len(self.sms.taken) >= count)
        return [(message.to, message.text) for message in self.sms.taken]

    async def mails(self, count: int = 1) -> list[tuple[str, str, str]]:
        await until(lambda: len(self.mail.taken) >= count)
        return [(message.to, message.subject, message.text) for message in self.mail.taken]

    def nothing_left(self) -> bool:
        return not self.sms.tried and not self.mail.tried


async def open_gate(new_door: Callable[..., Awaitable[Door]], *tenants: Tenant, **more: Any) -> Gate:
    """`tenants`: one that may do everything, if none is given."""
    sms, mail = Outlet(phone()), Outlet(EMAIL)
    door = await new_door(*(tenants or (gatekeeper(),)), outlets={"sms": sms, "mail": mail}, **more)
    return Gate(door, sms, mail)
