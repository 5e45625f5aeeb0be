"""What a browser test works with: the service behind its pages, and a tenant's site that embeds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.flows.rig import Outlet
from tests.http.door import Door, Wire


class Place:
    """A service at `url`. `outlets` keep what was sent."""

    def __init__(self, door: Door, outlets: Mapping[str, Outlet], url: str) -> None:
        self.door = door
        self.node = door.node
        self.outlets = outlets
        self.url = url

    async def put(self, id: str = "user-123", **fields: str) -> dict[str, Any]:
        """Ask for a verification as the tenant `shop`; wait until its message is settled."""
        answer = await self.door.put(id, **fields)
        assert answer.status == 200, answer
        await self.door.node.settled(id)
        made: dict[str, Any] = answer.json["data"]
        return made

    def code(self, outlet: str = "mail") -> str:
        """Of the last message."""
        return self.outlets[outlet].taken[-1].code

    async def state(self, id: str = "user-123") -> dict[str, Any]:
        found: dict[str, Any] = (await self.door.ask("GET", f"/api/otp/{id}")).json["data"]
        return found

    async def status(self, id: str = "user-123", **fields: str) -> int:
        """What the tenant's server is told."""
        return (await self.door.ask("POST", f"/api/otp/{id}/status", fields)).status


class Site:
    """A site whose pages are texts. `policy`: its Content-Security-Policy."""

    def __init__(self, wire: Wire, url: str) -> None:
        self.url = url
        self.pages: dict[str, str] = {}
        self.policy = ""
        #: Paths and queries that were asked for.
        self.asked: list[str] = []
        wire.app = self._answer

    async def _answer(self, scope: Any, _receive: Any, send: Any) -> None:
        path = scope["path"]
        self.asked.append(path + "?" + scope["query_string"].decode())
        page = self.pages.get(path)
        headers = [(b"content-type", b"text/html; charset=utf-8"), (b"cache-control", b"no-store")]
        if self.policy:
            headers.append((b"content-security-policy", self.policy.encode()))
        await send({"type": "http.response.start", "status": 200 if page else 404, "headers": headers})
        await send({"type": "http.response.body", "body": (page or "").encode()})
