"""How the service is: a cached yes or no for everybody, every part in detail for the operator."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from importlib.metadata import version
from typing import Any, Final

from otpsvc import __version__
from otpsvc.channel import Channel
from otpsvc.errors import ChannelError, StoreUnavailable
from otpsvc.http.docs import Docs
from otpsvc.http.envelope import Reply, encode, secured, success, unrouted
from otpsvc.http.exchange import Exchange, described
from otpsvc.http.parts import ChannelHealth, Health, Parts
from otpsvc.standing import FeederHealth
from otpsvc.store import Store

#: Seconds that a yes or no is kept, and that one channel's ping may take.
KEPT, PING_TIME = 1.0, 3.0
_PACKAGES: Final = ("litestar", "uvicorn", "redis", "cryptography")


class Pulse:
    """Asks the store at most once a second, however many ask us. `clock` in seconds."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._until = 0.0
        self._well = False
        self._asking = asyncio.Lock()

    async def check(self) -> None:
        """Raises: StoreUnavailable."""
        async with self._asking:
            if self._clock() >= self._until:
                try:
                    await self._store.ping()
                    self._well = True
                except StoreUnavailable:
                    self._well = False
                self._until = self._clock() + KEPT
        if not self._well:
            raise StoreUnavailable

    async def answer(self, exchange: Exchange) -> Reply:
        """The public yes or no."""
        try:
            await self.check()
        except StoreUnavailable as error:
            return exchange.refuse(error)
        return success("OK", exchange.id)


async def examine(
    store: Store,
    channels: Mapping[str, Channel],
    *,
    feeders: Callable[[], Awaitable[Mapping[str, FeederHealth]]] | None = None,
    warnings: Iterable[str] = (),
    timeout: float = PING_TIME,
) -> Health:
    """Ask the store and every channel at once; `timeout` (seconds) holds for each.

    `feeders` answers what the store was told of them. Raises: StoreUnavailable, which leaves them out.
    """
    pings = asyncio.gather(*(_ping(channel, timeout) for channel in channels.values()))
    (ok, word), answers, told = await asyncio.gather(_store(store), pings, _told(feeders))
    return Health(
        ok=ok,
        store=word,
        channels=dict(zip(channels, answers, strict=True)),
        feeders=told,
        warnings=tuple(warnings),
        versions=versions(),
    )


def versions() -> dict[str, str]:
    """What runs here."""
    installed = {name: version(name) for name in _PACKAGES}
    return {"otpsvc": __version__, "python": platform.python_version(), **installed}


async def _store(store: Store) -> tuple[bool, str]:
    try:
        return True, await store.ping()
    except StoreUnavailable as error:
        return False, error.message


async def _told(
    feeders: Callable[[], Awaitable[Mapping[str, FeederHealth]]] | None,
) -> Mapping[str, FeederHealth]:
    try:
        return await feeders() if feeders else {}
    except StoreUnavailable:
        return {}


async def _ping(channel: Channel, timeout: float) -> ChannelHealth:
    began = time.perf_counter()
    try:
        async with asyncio.timeout(timeout):
            ok, detail = True, await channel.ping()
    except TimeoutError:
        ok, detail = False, f"no answer in {timeout:g} s"
    except ChannelError as error:
        ok, detail = False, error.reason
    except Exception as error:  # noqa: BLE001 - a third party's channel, whose words may quote anything
        ok, detail = False, described(error)
    return ChannelHealth(ok, detail, round(time.perf_counter() - began, 3))


def build_admin(parts: Parts) -> Any:
    """The operator's application: /metrics, /api/health, /openapi.json and /docs."""
    return _Admin(parts, Docs(parts.root_url))


class _Admin:
    def __init__(self, parts: Parts, docs: Docs) -> None:
        self._parts = parts
        self._docs = docs

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        reply = await self._reply(scope)
        await reply(scope, receive, send)

    async def _reply(self, scope: Any) -> Reply:
        path, head = scope["path"], scope["method"] == "HEAD"
        if scope["method"] not in {"GET", "HEAD"}:
            return unrouted(405, b"-", problem=False, allow=b"GET, HEAD")
        try:
            reply = await self._get(path)
        except Exception as error:  # noqa: BLE001 - the operator sees where it failed
            reply = _text(500, described(error))
        if head:
            reply.body = b""
        return reply

    async def _get(self, path: str) -> Reply:
        if path == "/metrics":
            return _text(200, self._parts.metrics(), kind=b"text/plain; version=0.0.4; charset=utf-8")
        if path == "/api/health":
            health = await self._parts.health()
            return _text(200 if health.ok else 503, encode(health), kind=b"application/json; charset=utf-8")
        return self._docs.page(path) or unrouted(404, b"-", problem=False)


def _text(status: int, body: bytes | str, *, kind: bytes = b"text/plain; charset=utf-8") -> Reply:
    raw = body.encode() if isinstance(body, str) else body
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(raw))]
    return Reply(status, raw, secured(headers, b"-"))


async def _live(receive: Any, send: Any) -> None:
    """The lifespan of an application that opens nothing."""
    while True:
        message = await receive()
        kind = message["type"].removeprefix("lifespan.")
        await send({"type": f"lifespan.{kind}.complete"})
        if kind == "shutdown":
            return
