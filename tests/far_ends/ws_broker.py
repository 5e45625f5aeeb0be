"""A WebSocket message broker on loopback in the three dialects of the originals; misbehaves by name.

2020   greets, wants `receive-message`, forwards `send-message` to some receivers, keeps the rows
       for absent ones; a `ping` ends the subscription, as with the original
php    2021: any frame goes to everybody else at the same `?topic=`
java   2021: any text frame goes to everybody, its sender too
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Literal, Self
from urllib.parse import parse_qs, quote, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve, unix_serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import PONG, Frame
from websockets.http11 import Request, Response

from tests.waiting import PATIENCE

Dialect = Literal["2020", "php", "java"]
Misdeed = Literal[
    "",
    "answers_401",
    "answers_403",
    "answers_404",
    "answers_200",
    "answers_426",
    "answers_429",
    "answers_503",
    "redirects",
    "hangs_at_handshake",
    "cuts_at_handshake",
    "closes_at_once",
    "cuts_at_once",
    "goes_away_at_once",
    "hangs_after_open",
    "never_pongs",
    "never_closes",
    "greets_late",
]
USERNAME, PASSWORD = "gate", "pässword:with-colon"
LOGIN = "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()

_silent = logging.getLogger("otpsvc-test-ws-broker")
_silent.setLevel(logging.CRITICAL + 1)
_OPTIONS: Final = {"compression": None, "ping_interval": None, "open_timeout": PATIENCE, "logger": _silent}


@dataclass
class Client:
    """What the broker knows of one connection."""

    line: ServerConnection
    path: str
    valid: bool
    kind: str = ""
    place: str = ""
    #: Frames that it sent, text as str.
    said: list[str | bytes] = field(default_factory=list)
    #: Pings of either kind that were answered.
    pinged: int = 0

    @property
    def header(self) -> str:
        assert self.line.request is not None
        return ", ".join(f"{name}: {value}" for name, value in self.line.request.headers.raw_items())


class WsBroker:
    """`async with WsBroker("php") as broker:`; set `broker.misdeed` at any time."""

    def __init__(
        self,
        dialect: Dialect,
        *,
        tls: ssl.SSLContext | None = None,
        unix: Path | None = None,
        keeps: bool = True,
    ) -> None:
        """`unix`: listen there, too; `keeps`: a 2020 server with a database."""
        self.dialect = dialect
        self.misdeed: Misdeed = ""
        self.port = 0
        self.receivers = 2
        self.greeting = "00"
        #: How a 2020 server answers pings: `01` when its database is away; empty: not at all.
        self.ping_code = "00"
        #: Where `redirects` sends to.
        self.elsewhere = ""
        self.connects = 0
        #: Open ones, in the order they came, and those that were.
        self.clients: list[Client] = []
        self.past: list[Client] = []
        self.kept: list[tuple[str, Any]] = []
        self._keeps = keeps
        self._tls = tls
        self._unix = unix
        self._servers: list[Server] = []

    @property
    def url(self) -> str:
        return f"{'wss' if self._tls else 'ws'}://127.0.0.1:{self.port}"

    def at(self, place: str) -> str:
        """The URL of a channel or topic, as this dialect wants it."""
        name = "topic" if self.dialect == "php" else "channel"
        return f"{self.url}/ws?{name}={quote(place, safe='')}&keep=a%20b"

    async def __aenter__(self) -> Self:
        options: dict[str, Any] = _OPTIONS | {
            "process_request": self._admit,
            "close_timeout": 1,
            "max_size": None,
            # Who is told his own frames must not wait for himself.
            "max_queue": None if self.dialect == "java" else 16,
        }
        self._servers = [await serve(self._serve, "127.0.0.1", 0, ssl=self._tls, **options)]
        self.port = next(iter(self._servers[0].sockets)).getsockname()[1]
        if self._unix is not None:
            self._servers.append(await unix_serve(self._serve, str(self._unix), **options))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Listen no more, and cut every line."""
        servers, self._servers = self._servers, []
        for server in servers:
            server.close(close_connections=False)
        self.cut()
        for server in servers:
            await server.wait_closed()

    def cut(self) -> None:
        """Drop every connection now."""
        for client in self.clients:
            client.line.transport.abort()

    async def close(self, code: int) -> None:
        for client in list(self.clients):
            await client.line.close(code)

    @contextlib.asynccontextmanager
    async def publisher(self, place: str) -> AsyncIterator[ClientConnection]:
        """A client of the broker that publishes; its goodbye waits until all was read."""
        options: dict[str, Any] = _OPTIONS | {"close_timeout": PATIENCE, "proxy": None, "max_queue": None}
        headers = {"Authorization": LOGIN}
        async with connect(self.at(place), additional_headers=headers, **options) as line:
            if self.dialect == "2020":
                assert json.loads(await line.recv())["response_code"] == "00"
            yield line

    async def publish(self, place: str, *frames: str | bytes) -> None:
        async with self.publisher(place) as line:
            for frame in frames:
                await line.send(frame)

    @property
    def receiving(self) -> list[Client]:
        """Those that would get what is published."""
        return [client for client in self.clients if client.valid and client.kind == "receiver"]

    async def _admit(self, line: ServerConnection, request: Request) -> Response | None:
        self.connects += 1
        match self.misdeed:
            case "hangs_at_handshake":
                await line.wait_closed()
            case "cuts_at_handshake":
                line.transport.abort()
            case "redirects":
                response = line.respond(HTTPStatus.TEMPORARY_REDIRECT, "")
                response.headers["Location"] = self.elsewhere
                return response
            case named if named.startswith("answers_"):
                return line.respond(HTTPStatus(int(named[8:11])), f"no: {request.path}")
        return None

    async def _serve(self, line: ServerConnection) -> None:
        client = self._met(line)
        self.clients.append(client)
        self._watch_pongs(client)
        try:
            await self._open(client)
            async for frame in line:
                client.said.append(frame)
                await self._hear(client, frame)
        except ConnectionClosed:
            pass
        finally:
            self.clients.remove(client)
            self.past.append(client)

    def _met(self, line: ServerConnection) -> Client:
        assert line.request is not None
        valid = line.request.headers.get("Authorization") == LOGIN
        client = Client(line, line.request.path, valid)
        if self.dialect != "2020":
            wanted = parse_qs(urlsplit(client.path).query)
            client.kind = "receiver"
            client.place = wanted.get("topic", [""])[0]
        return client

    def _watch_pongs(self, client: Client) -> None:
        """Count them, or lose them."""
        send = client.line.protocol.send_frame

        def watched(frame: Frame) -> None:
            if frame.opcode is PONG and self.misdeed == "never_pongs":
                return
            client.pinged += frame.opcode is PONG
            send(frame)

        client.line.protocol.send_frame = watched  # type: ignore[method-assign]

    async def _open(self, client: Client) -> None:
        match self.misdeed:
            case "closes_at_once":
                await client.line.close()
            case "goes_away_at_once":
                await client.line.close(1001)
            case "cuts_at_once":
                client.line.transport.abort()
            case "hangs_after_open" | "never_closes":
                await self._hang(client)
            case "greets_late":
                # Until the test makes it behave.
                while self.misdeed:
                    await asyncio.sleep(0.005)
        if self.dialect == "2020":
            client.valid = client.valid and self.greeting == "00"
            await self._greet(client, "00" if client.valid else "01")
        elif not client.valid:
            await client.line.close()

    async def _hang(self, client: Client) -> None:
        if self.misdeed == "never_closes":
            # Reads no more, so it never sees a close frame either.
            client.line.transport.pause_reading()
        await client.line.wait_closed()

    async def _hear(self, client: Client, frame: str | bytes) -> None:
        if self.dialect == "2020":
            await self._hear_2020(client, frame)
        elif self.dialect == "php":
            await self._pass_on(
                frame, [one for one in self.clients if one.place == client.place and one is not client]
            )
        elif isinstance(frame, str):
            # Its library hands binary frames to nobody.
            await self._pass_on(frame, self.clients)

    async def _hear_2020(self, client: Client, frame: str | bytes) -> None:
        said = json.loads(frame)
        command, place = said.get("command"), said.get("channel") or ""
        kinds = {"receive-message": "receiver", "send-message": "sender"}
        client.kind, client.place = kinds.get(command, "client"), place
        if command == "ping" and self.ping_code:
            client.pinged += 1
            await self._greet(client, self.ping_code)
        elif command == "receive-message":
            await self._hand_out(client)
        elif command == "send-message" and client.valid:
            await self._forward(said, frame)

    async def _forward(self, said: dict[str, Any], frame: str | bytes) -> None:
        most = said.get("number_of_receiver", self.receivers)
        there = [one for one in self.receiving if one.place == said["channel"]][:most]
        await self._pass_on(frame, there)
        if not there and self._keeps:
            self.kept += [(said["channel"], row) for row in said["data"]]

    async def _hand_out(self, client: Client) -> None:
        rows = [row for place, row in self.kept if place == client.place]
        self.kept = [one for one in self.kept if one[0] != client.place]
        if rows:
            kept = {"command": "send-message", "channel": client.place, "data": rows}
            await client.line.send(json.dumps(kept))

    async def _greet(self, client: Client, code: str) -> None:
        text = "Accepted" if code == "00" else "Rejected"
        greeting = {"command": "connect", "response_code": code, "response_text": text}
        await client.line.send(json.dumps(greeting | {"data": [{"time_stamp": "2026-11-23T10:00:00.000Z"}]}))

    async def _pass_on(self, frame: str | bytes, to: list[Client]) -> None:
        for one in list(to):
            with contextlib.suppress(ConnectionClosed):
                await one.line.send(frame)
