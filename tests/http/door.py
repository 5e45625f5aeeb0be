"""The whole service behind its HTTP doors, asked directly or over a real socket."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any, Self
from urllib.parse import unquote, urlencode

import uvicorn

from otpsvc.blocking import BlockList
from otpsvc.channel import Channel
from otpsvc.errors import BadRequest
from otpsvc.hashpool import HashPool
from otpsvc.http import health, hot
from otpsvc.http.auth import Authenticator
from otpsvc.http.parts import Health, Parts, RequestLine
from otpsvc.inbox import Inbox, Keep
from otpsvc.lines import Answered, Line, named
from otpsvc.oldcode import CodeDesk
from otpsvc.relay import Relay
from otpsvc.submit import Defaults, Submitter
from otpsvc.verification import Verifications
from tests.flows.rig import Node
from tests.waiting import PATIENCE, until

FORM = "application/x-www-form-urlencoded"
#: As the config has them where it says nothing.
RELAY_PATHS = ("/api/sms", "/api/message", "/api/email", "/api/block", "/api/unblock")
#: Another spelling of the same, which the hot path leaves to Litestar.
RARE_FORM = FORM + "; charset=utf-8"


def basic(namespace: str = "shop", secret: str = "planted-secret") -> str:
    return "Basic " + base64.b64encode(f"{namespace}:{secret}".encode()).decode()


class Answer:
    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.status = status
        self.headers = {name.decode(): value.decode() for name, value in headers}
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["code"])

    def __repr__(self) -> str:
        return f"Answer({self.status}, {self.body!r})"


class FakeLines:
    """Modems of nobody. `answers` maps USSD codes; `fault` is raised instead of any answer."""

    def __init__(self) -> None:
        self.all: list[Line] = []
        self.answers: dict[str, Answered] = {}
        self.asked: list[tuple[str, str, bool]] = []
        self.fault: Exception | None = None

    def add(self, name: str, channel: str = "sms", state: str = "ready", **more: Any) -> None:
        self.all.append(Line(name=name, channel=channel, state=state, **more))

    async def lines(self) -> list[Line]:
        if self.fault is not None:
            raise self.fault
        return self.all

    async def ussd(self, name: str, code: str, *, reply: bool = False, operator: bool = False) -> Answered:
        line = named(await self.lines(), name)
        if code not in self.answers:
            raise BadRequest("This USSD code is not allowed.", code="ussd_not_allowed", field="code")
        self.asked.append((f"{line.channel}.{line.name}", code, reply))
        return self.answers[code]

    async def send(self, channel: str, name: str, to: str, text: str) -> str:
        raise NotImplementedError

    async def trace(self, name: str, seconds: float) -> AsyncIterator[str]:
        yield ""


class Door:
    """`lines` are what was logged. `form`: the content type of forms, which chooses the way inside.

    `modems` are what other processes told of. `now`: the clock by which failed logins are counted.
    """

    def __init__(self, node: Node, *, form: str = FORM, **parts: Any) -> None:
        self.node = node
        self.form = form
        self.lines: list[RequestLine] = []
        self.channels: dict[str, Channel] = {}
        self.logins = HashPool(threads=1)
        self.now = 0.0
        self.authenticator = Authenticator(lambda: node.tenants, self.logins, clock=lambda: self.now)
        self.modems = FakeLines()
        self.defaults = Defaults()
        self.submitter = Submitter(
            node.store,
            node.verifier.keyring,
            node.verifier._kinds,
            wake=node.courier.wake,
            defaults=lambda: self.defaults,
        )
        self.blocks = BlockList(node.store, node.verifier.keyring)
        self.inbox = Inbox(node.store, node.verifier.keyring, Keep())
        relay = Relay(
            submitter=self.submitter,
            blocks=self.blocks,
            codes=CodeDesk(node.verifier, self.submitter),
            verifications=Verifications(node.verifier),
            lines=self.modems,
            channels=lambda route: (route,),
        )
        chosen: dict[str, Any] = {"root_url": "http://localhost:9000", "relay_paths": RELAY_PATHS} | parts
        self.parts = Parts(
            relay=relay,
            submitter=self.submitter,
            blocks=self.blocks,
            inbox=self.inbox,
            lines=self.modems,
            verifier=node.verifier,
            tenants=lambda: node.tenants,
            authenticator=self.authenticator,
            health=self.health,
            metrics=lambda: b"# planted\n",
            log=self.lines.append,
            **chosen,
        )
        self.app, _ = hot.build(self.parts)
        self.admin = health.build_admin(self.parts)

    async def health(self) -> Health:
        return await health.examine(self.node.store, self.channels, warnings=["a warning"], timeout=0.2)

    async def ask(
        self,
        method: str,
        path: str,
        fields: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        auth: str = basic(),
        json: object = None,
        admin: bool = False,
        client: tuple[str, int] | None = ("127.0.0.1", 5),
    ) -> Answer:
        """One request, without a socket."""
        sent = {"authorization": auth} if auth else {}
        if fields is not None:
            sent["content-type"], body = self.form, urlencode(fields).encode()
        if json is not None:
            sent["content-type"], body = "application/json", _json(json)
        sent |= headers or {}
        return await call(self.admin if admin else self.app, method, path, sent, body, client=client)

    async def put(self, id: str = "user-123", **fields: str) -> Answer:
        return await self.ask(
            "PUT", f"/api/otp/{id}", {"provider": "mail", "to": "anna@home.example"} | fields
        )

    async def check(self, code: str, id: str = "user-123", **fields: str) -> Answer:
        return await self.ask("POST", f"/api/otp/{id}", {"otp": code} | fields)


def _json(value: object) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


async def call(
    app: Any,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes = b"",
    *,
    client: tuple[str, int] | None = ("127.0.0.1", 5),
    pieces: int = 1,
) -> Answer:
    """As uvicorn calls an application; the body comes in so many pieces."""
    path, _, query = target.partition("?")
    size = -(-len(body) // pieces) or 1
    chunks = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    messages = [
        {"type": "http.request", "body": chunk, "more_body": number < len(chunks) - 1}
        for number, chunk in enumerate(chunks)
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
        "client": client,
        "server": ("127.0.0.1", 9000),
        "state": {},
    }
    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return Answer(sent[0]["status"], sent[0]["headers"], body)


class Wire:
    """A real uvicorn on a port of loopback, in front of whatever `app` is at the moment."""

    def __init__(self, app: Any = None) -> None:
        self.app = app
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        config = uvicorn.Config(
            self._ask, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False,
            proxy_headers=False, server_header=False, date_header=False, interface="asgi3",
        )  # fmt: skip
        self._server = uvicorn.Server(config)

    async def __aenter__(self) -> Self:
        # Not `serve`: its loop looks ten times a second whether it shall end, and every test waits for that.
        config = self._server.config
        config.load()
        self._server.lifespan = config.lifespan_class(config)
        await self._server.startup([self._socket])
        return self

    async def __aexit__(self, *_: object) -> None:
        state = self._server.server_state
        for listening in self._server.servers:
            listening.close()
        for connection in list(state.connections):
            connection.shutdown()
        await until(lambda: not (state.connections or state.tasks))
        self._socket.close()

    async def _ask(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)

    async def say(self, raw: bytes) -> bytes:
        """Send these bytes, read until the server closes or has answered whole."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(raw)
            async with asyncio.timeout(PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"HTTP/1.1 204 "):
                    return head
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                return head + await reader.readexactly(length)
        finally:
            writer.close()
