"""One process that serves: its doors in front of one service, and how both end.

    words of the caller ─> Process ─> doors (uvicorn) ─> service (app.py)

A stop closes the doors and the feeders first, lets requests end, then messages, then the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import structlog
import uvicorn

from otpsvc import logs
from otpsvc.app import Service
from otpsvc.config import Config
from otpsvc.errors import ConfigError
from otpsvc.keyring import Keyring
from otpsvc.listening import BACKLOG, load_certificate, tls_context
from otpsvc.metrics import Metrics, folder_of
from otpsvc.protocol import HttpProtocol
from otpsvc.starting import DRAIN, Role

#: Seconds that an idle connection stays; above the 60 s that common proxies keep one.
KEEP_ALIVE: Final = 65

_log = structlog.get_logger("otpsvc")


class Door(uvicorn.Server):
    """One app on some sockets; signals are not its business."""

    def __init__(self, app: Any, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None = None) -> None:
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
        # Ours, so that its certificate can be changed in place.
        config.ssl = tls
        super().__init__(config)
        self._sockets = list(sockets)
        self.up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
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
    """Serves until it is told to stop.

    `public` and `admin` are bound sockets; `store_url` is empty for the config's own;
    `ready` is called once all doors are open.
    """

    def __init__(
        self,
        config: Config,
        keyring: Keyring,
        *,
        store_url: str,
        roles: frozenset[Role],
        public: Sequence[socket.socket],
        admin: Sequence[socket.socket],
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        """Raises: ConfigError."""
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
        self._doors: list[Door] = []

    def stop(self) -> None:
        """Drain and end; the second time at once."""
        if self._stop.is_set():
            self._service.hurry()
            for door in self._doors:
                door.hurry()
        self._stop.set()

    async def run(self) -> None:
        """Raises: ConfigError, KeyringError, StoreUnavailable: it could not start."""
        asyncio.get_running_loop().set_exception_handler(logs.on_loop_error)
        async with self._service as service:
            self._doors = list(self._made_doors(service))
            tasks = [asyncio.create_task(door.run_until_closed()) for door in self._doors]
            opened = asyncio.gather(*(door.up.wait() for door in self._doors))
            await _first(opened, *tasks)
            if opened.done():
                self._ready()
                await _first(self._stop.wait(), *tasks)
            for door in self._doors:
                door.should_exit = True
            await asyncio.gather(service.stop_feeding(), *tasks)

    async def reload(self, config: Config) -> bool:
        """Take another config over while serving; True when it could be used."""
        try:
            await self._service.reload(config)
            if self._tls and config.app.tls:
                load_certificate(self._tls, config.app.tls)
        except (ConfigError, OSError) as error:
            _log.error("the config was not taken over", reason=logs.brief(error))
        except Exception:  # noqa: BLE001 - a third party's channel; we go on with the old config
            _log.exception("the config was not taken over")
        else:
            return True
        return False

    def warnings(self) -> tuple[str, ...]:
        """What the operator should know."""
        return self._service.warnings()

    def _made_doors(self, service: Service) -> Iterator[Door]:
        """TLS stands before networks; a unix socket is a proxy's, and stays on this machine."""
        for family in (False, True):
            sockets = [one for one in self._public if (one.family == socket.AF_UNIX) is family]
            if sockets:
                yield Door(service.api, sockets, None if family else self._tls)
        if self._admin:
            yield Door(service.admin, self._admin)


async def _first(*awaitables: Any) -> None:
    """Until one of them ends. Tasks go on; what was no task is given up."""
    waits = [asyncio.ensure_future(one) for one in awaitables]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait, one in zip(waits, awaitables, strict=True):
        if wait is not one:
            wait.cancel()
