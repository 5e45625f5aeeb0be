"""One process that serves: its doors in front of one service, its signals, its end.

    signals, or the parent's words ─> Process ─> doors (uvicorn) ─> service (app.py)

A stop closes the doors first, lets requests end, then messages, then the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import structlog
import uvicorn

from otpsvc import logs
from otpsvc.app import Role, Service
from otpsvc.config import Config
from otpsvc.errors import ConfigError
from otpsvc.keyring import Keyring
from otpsvc.listening import BACKLOG, load_certificate, tls_context
from otpsvc.loading import Source
from otpsvc.metrics import Metrics, folder_of
from otpsvc.notify import Notifier
from otpsvc.wire import HttpProtocol

#: Seconds for requests to end, once no more are taken.
DRAIN: Final = 15
#: Seconds that an idle connection stays; above the 60 s that common proxies keep one.
KEEP_ALIVE: Final = 65

_log = structlog.get_logger("otpsvc")


class Door(uvicorn.Server):
    """One app on some sockets; signals are not its business."""

    def __init__(self, app: Any, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None) -> None:
        config = uvicorn.Config(
            app,
            http=HttpProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=DRAIN,
        )
        config.load()
        config.ssl = tls
        super().__init__(config)
        self._sockets = list(sockets)
        self.up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def run_until_closed(self) -> None:
        """Serve until `should_exit`."""
        await self.serve(self._sockets)

    def hurry(self) -> None:
        """Wait for nobody any more."""
        self.should_exit = self.force_exit = True
        for task in self.server_state.tasks:
            task.cancel()


class Process:
    """Serves until told to stop; what tells it is the caller's (`serve_alone`, `supervisor.py`).

    `public` and `admin` are bound sockets; `store_url` empty: the config's own.
    """

    def __init__(
        self,
        source: Source,
        config: Config,
        keyring: Keyring,
        *,
        store_url: str,
        roles: frozenset[Role],
        public: Sequence[socket.socket],
        admin: Sequence[socket.socket],
        ready: Callable[[], None],
    ) -> None:
        self._source = source
        self._public, self._admin = public, admin
        self._ready = ready
        self._service = Service(
            config,
            keyring,
            url=store_url or config.redis.url,
            roles=roles,
            metrics=Metrics(folder_of()),
        )
        self._tls = tls_context(config.app.tls) if config.app.tls else None
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._reloading = asyncio.Lock()

    def stop(self) -> None:
        """Drain and end; the second time at once."""
        if self._stop.is_set():
            self._service.grace = 0.0
            self._hurry.set()
        self._stop.set()

    async def run(self) -> None:
        """Raises: ConfigError, KeyringError, StoreUnavailable: it could not start."""
        asyncio.get_running_loop().set_exception_handler(logs.on_loop_error)
        async with self._service as service:
            async with self._doors(service) as doors:
                self._ready()
                ended = asyncio.gather(*(door.closed for door in doors))
                await _first(self._stop.wait(), ended)
                await self._close(doors)
            _log.info("no more requests", in_flight=service.in_flight)

    async def reload(self) -> bool:
        """Read the config again and take it over; True when it could be used."""
        async with self._reloading:
            try:
                # Templates of a thousand tenants take a while; requests go on.
                config = await asyncio.to_thread(self._source.config)
                await self._service.reload(config)
                if self._tls and config.app.tls:
                    load_certificate(self._tls, config.app.tls)
            except (ConfigError, OSError) as error:
                _log.error("the config was not reloaded, the old one stays", reason=logs.brief(error))
                return False
        for warning in self._service.warnings():
            _log.warning("config", warning=warning)
        _log.info("reloaded", tenants=len(config.tenants))
        return True
