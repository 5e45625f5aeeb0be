"""A real HTTP server on loopback that keeps what it took, and misbehaves by name."""

from __future__ import annotations

import asyncio
import json
import ssl
from dataclasses import dataclass
from typing import Any, Literal, Self, cast

from aiohttp import web
from multidict import CIMultiDictProxy

from tests.far_ends.valkey import free_port

Misdeed = Literal[
    "",
    "answers_400",
    "answers_404",
    "answers_410",
    "answers_408",
    "answers_429",
    "answers_429_date",
    "answers_500",
    "answers_503_nonsense",
    "redirects",
    "hangs",
    "closes_after_body",
    "answers_200_late",
    "big_answer",
    "trickles_answer",
    "odd_answer",
    "gibberish",
]


@dataclass(frozen=True)
class Post:
    """One request as it came."""

    method: str
    path: str
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class HttpServer:
    """`async with HttpServer() as far:`; set `far.misdeed` at any time."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.host = "127.0.0.1"
        #: Its own for as long as it lives, also while nobody listens there.
        self.port = free_port()
        self.misdeed: Misdeed = ""
        self.posts: list[Post] = []
        #: What `odd_answer` answers.
        self.answer = b""
        #: How often somebody connected.
        self.connects = 0
        #: Set when a misdeed begins that waits; it waits until `release` is set.
        self.arrived = asyncio.Event()
        self.release = asyncio.Event()
        self._tls = tls
        self._runner: web.ServerRunner | None = None
        self._lines: set[asyncio.Transport] = set()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}/hook"

    async def __aenter__(self) -> Self:
        server = web.Server(self._handle)
        make = server.__call__
        self._runner = web.ServerRunner(server, shutdown_timeout=0.05)
        await self._runner.setup()

        def protocol() -> asyncio.Protocol:
            self.connects += 1
            return _Counted(self, make())

        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(protocol, self.host, self.port, ssl=self._tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release.set()
        runner, self._runner = self._runner, None
        if runner is not None:
            self._server.close()
            self.drop_lines()
            await runner.cleanup()

    def drop_lines(self) -> None:
        """Cut every connection."""
        for line in list(self._lines):
            line.abort()
        self._lines.clear()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self.posts.append(Post(request.method, request.path, request.headers, body))
        match self.misdeed:
            case "answers_429":
                return web.Response(status=429, headers={"Retry-After": "7"})
            case "answers_429_date":
                date = {
                    "Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT",
                    "Date": "Sun, 06 Nov 1994 08:48:37 GMT",
                }
                return web.Response(status=429, headers=date)
            case "answers_503_nonsense":
                return web.Response(status=503, headers={"Retry-After": "soon"})
            case "redirects":
                return web.Response(status=307, headers={"Location": "/elsewhere"})
            case "hangs":
                await self._wait()
            case "answers_200_late":
                await self._wait()
            case "closes_after_body":
                self._line(request).abort()
            case "gibberish":
                self._line(request).write(b"what a nice day\r\n\r\n")
                self._line(request).close()
            case "big_answer":
                return web.Response(body=b'{"id": "' + b"x" * 1_000_000 + b'"}')
            case "trickles_answer":
                return await self._trickle(request)
            case "odd_answer":
                return web.Response(body=self.answer)
            case named if named.startswith("answers_"):
                return web.Response(status=int(named[8:11]), text=f"no: {body.decode()}")
        return web.json_response({"id": f"far-{len(self.posts)}"})

    async def _trickle(self, request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b'{"id": ')
        await self._wait()
        return answer

    async def _wait(self) -> None:
        self.arrived.set()
        await self.release.wait()

    def _line(self, request: web.BaseRequest) -> asyncio.Transport:
        assert request.transport is not None
        return request.transport


class _Counted(asyncio.Protocol):
    """aiohttp's protocol, with its connections known to us."""

    def __init__(self, far: HttpServer, inner: asyncio.Protocol) -> None:
        self._far = far
        self._inner = inner
        self.data_received = inner.data_received  # type: ignore[method-assign]
        self.eof_received = inner.eof_received  # type: ignore[method-assign]
        self.pause_writing = inner.pause_writing  # type: ignore[method-assign]
        self.resume_writing = inner.resume_writing  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._far._lines.add(self._transport)
        self._inner.connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._far._lines.discard(self._transport)
        self._inner.connection_lost(error)
