"""`otpsvc serve`: binds, starts the embedded store, then serves alone or keeps children that do.

alone     one process: API, delivery and feeders
parent    the sockets, the embedded store, signals, systemd   (children.py)
├── api 1 … api N
├── delivery            and the operator's listener
└── feeders             where the config has any
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import ExitStack
from typing import Never, Protocol

import structlog
import uvloop

from otpsvc import __version__, keyring_file, logs
from otpsvc.config import Config
from otpsvc.errors import KeyringError, OtpsvcError
from otpsvc.keyring_file import Contents
from otpsvc.listening import Listeners
from otpsvc.loading import Source
from otpsvc.notify import Notifier
from otpsvc.starting import ALL, Role, beside, not_dumpable
from otpsvc.stores.embedded import EmbeddedStore

_log = structlog.get_logger("otpsvc")


class Served(Protocol):
    """One process or many, as signals and systemd see it."""

    async def run(self) -> None:
        """Serve until stopped. Raises: OtpsvcError: it could not start."""

    def stop(self) -> None:
        """Drain and end; the second time at once."""

    async def reload(self, config: Config) -> bool:
        """Take another config over; True when it could be used."""

    def warnings(self) -> tuple[str, ...]:
        """What the operator should know."""


def serve(source: Source, roles: frozenset[Role] = ALL) -> None:
    """Serve until a signal. Raises: ConfigError, KeyringError, StoreUnavailable: it could not start."""
    config = source.config()
    logs.configure(config.app.log, config.app.log_level, cache=True)
    not_dumpable()
    notifier = Notifier()
    with ExitStack() as stack:
        # First of all: a second start by mistake ends here.
        public = config.app.listen if "api" in roles else ()
        listeners = stack.enter_context(Listeners(public, config.app.admin_listen))
        contents = keys_of(config)
        store = None if config.redis.url else EmbeddedStore(config.app.data_dir, attach=roles != ALL)
        if store:
            stack.enter_context(store)
        url = store.url if store else config.redis.url
        life = _Life(source, notifier, store)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(life.run(config, contents, url=url, roles=roles, listeners=listeners))


def keys_of(config: Config) -> Contents:
    """What the keyring file holds; made now for an embedded store that is new. Raises: KeyringError."""
    path, embedded = config.app.keyring, not config.redis.url
    if not embedded or path.exists():
        return keyring_file.read(path)
    if (config.app.data_dir / "store" / "appendonlydir").exists():
        raise KeyringError(
            f"there is no keyring at {path}, but a store that was used with one: bring the keyring back,"
            f" or remove {config.app.data_dir / 'store'} to begin anew"
        )
    try:
        return keyring_file.create(path)
    except KeyringError:
        # Another process may have made it in this moment.
        return keyring_file.read(path)


class _Life:
    """What surrounds whatever serves: signals, systemd, the embedded store."""

    def __init__(self, source: Source, notifier: Notifier, store: EmbeddedStore | None) -> None:
        self._source = source
        self._notifier = notifier
        self._store = store
        self._hup = asyncio.Event()
        self._places: dict[str, str | int] = {}

    async def run(
        self, config: Config, contents: Contents, *, url: str, roles: frozenset[Role], listeners: Listeners
    ) -> None:
        self._places = _places(config, roles)
        served = self._served(config, contents, url=url, roles=roles, listeners=listeners)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(logs.on_loop_error)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, served)
        loop.add_signal_handler(signal.SIGHUP, self._hup.set)
        _warn(served.warnings())
        async with beside(self._reload(served), self._watchdog(), self._keep_store()):
            await served.run()
        _log.info("stopped")

    def _served(
        self, config: Config, contents: Contents, *, url: str, roles: frozenset[Role], listeners: Listeners
    ) -> Served:
        # Each imports what the other has no use for.
        if config.app.workers > 1 and "api" in roles:
            from otpsvc.children import Parent

            return Parent(
                config, contents, store_url=url, roles=roles, listeners=listeners, ready=self._ready
            )
        from otpsvc.serving import Process

        return Process(
            config,
            contents.keyring(),
            store_url=url,
            roles=roles,
            public=listeners.public,
            admin=listeners.admin,
            ready=self._ready,
        )

    def _ready(self) -> None:
        self._notifier.ready()
        _log.info("ready", version=__version__, **self._places)

    def _stop(self, served: Served) -> None:
        _log.info("stopping")
        self._notifier.stopping()
        served.stop()

    async def _reload(self, served: Served) -> Never:
        while True:
            await self._hup.wait()
            self._hup.clear()
            self._notifier.reloading()
            try:
                await self._take_over(served)
            except Exception as error:  # noqa: BLE001 - the next reload must find somebody who listens
                ours = isinstance(error, OtpsvcError | OSError)
                _log.error(
                    "the config was not reloaded, the old one stays",
                    reason=logs.brief(error),
                    exc_info=None if ours else error,
                )
            self._notifier.ready()

    async def _take_over(self, served: Served) -> None:
        # The templates of a thousand tenants take a while; requests go on.
        config = await asyncio.to_thread(self._source.config)
        if await served.reload(config):
            _warn(served.warnings())
            _log.info("reloaded", tenants=len(config.tenants))

    async def _watchdog(self) -> None:
        while self._notifier.interval:
            self._notifier.alive()
            await asyncio.sleep(self._notifier.interval)

    async def _keep_store(self) -> None:
        while self._store:
            try:
                await self._store.supervise(_tell_restart)
            except (OtpsvcError, OSError) as error:
                _log.error("the embedded store died and cannot be started", reason=logs.brief(error))
            await asyncio.sleep(1)


def _tell_restart() -> None:
    _log.error("the embedded store died and was started again")


def _warn(warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        _log.warning("config", warning=warning)


def _places(config: Config, roles: frozenset[Role]) -> dict[str, str | int]:
    """What an operator looks for first."""
    app = config.app
    return {
        "listen": ", ".join(map(str, app.listen)) if "api" in roles else "",
        "admin": str(app.admin_listen or ""),
        "store": "external" if config.redis.url else "embedded",
        "roles": ", ".join(sorted(roles)),
        "workers": app.workers if "api" in roles else 0,
    }
