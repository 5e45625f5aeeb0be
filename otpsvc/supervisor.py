"""`otpsvc serve`: binds, starts the embedded store, then serves alone or keeps children that do.

    alone     one process: API and delivery
    parent    the sockets, the embedded store, signals, systemd
    ├── api 1 … api N
    └── delivery            and the operator's listener
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Protocol

import structlog
import uvloop
from msgspec import structs

from otpsvc import __version__, keyring_file, logs
from otpsvc.app import BOTH, Role, preflight
from otpsvc.config import Config
from otpsvc.errors import ConfigError, KeyringError
from otpsvc.keyring_file import Contents
from otpsvc.listening import Listeners
from otpsvc.loading import Source
from otpsvc.notify import Notifier
from otpsvc.serving import Process
from otpsvc.stores.embedded import EmbeddedStore

_log = structlog.get_logger("otpsvc")


class Served(Protocol):
    """One process, or many: what signals do to it."""

    def stop(self) -> None: ...
    async def reload(self, config: Config) -> bool: ...
    def warnings(self) -> tuple[str, ...]: ...


def serve(source: Source, roles: frozenset[Role] = BOTH) -> None:
    """Serve until a signal. Raises: ConfigError, KeyringError, StoreUnavailable: it could not start."""
    config = source.config()
    logs.configure(config.app.log, config.app.log_level, cache=True)
    not_dumpable()
    notifier = Notifier()
    with ExitStack() as stack:
        # First of all: a second start by mistake ends here, with one line.
        listeners = stack.enter_context(_listeners(config, roles))
        keys = keyring(config)
        store = None if config.redis.url else EmbeddedStore(config.app.data_dir, attach=roles != BOTH)
        if store:
            stack.enter_context(store)
        ...
