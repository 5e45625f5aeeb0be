"""What may forbid a start: a store that is away, keeps too little, or belongs to another keyring."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import resource
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Final, Literal

import structlog

from otpsvc.config import Config
from otpsvc.errors import KeyringError, StoreUnavailable
from otpsvc.keyring import Keyring
from otpsvc.stores.batcher import Batcher
from otpsvc.stores.connection import Connector, check_durability
from otpsvc.stores.redis import RedisStore

Role = Literal["api", "delivery", "feeders"]
ALL: Final[frozenset[Role]] = frozenset({"api", "delivery", "feeders"})
#: Seconds that a store may be away when we start (it loads its file, the machine boots).
PATIENCE: Final = 10.0
#: Seconds for requests to end, once no more are taken.
DRAIN: Final = 15
#: prctl(2).
_PR_SET_DUMPABLE: Final = 4

_log = structlog.get_logger("otpsvc")


async def check_store(url: str, config: Config, *, patience: float = PATIENCE) -> bool:
    """Whether the store never loses what it acknowledged (D9); waits `patience` seconds for it.

    Raises: ConfigError when it keeps less than the config says, StoreUnavailable.
    """
    connector = Connector(url)
    batcher = Batcher(connector)
    wanted = config.redis.durability if config.redis.url else "always"
    until, told = time.monotonic() + patience, False
    try:
        while True:
            try:
                return await check_durability(batcher.call, wanted, fails_over=connector.fails_over)
            except StoreUnavailable as error:
                if time.monotonic() >= until:
                    raise
                if not told:
                    _log.warning("waiting for the store", reason=str(error), seconds=patience)
                told = True
                await asyncio.sleep(0.2)
    finally:
        await batcher.close()


async def check_keys(store: RedisStore, keyring: Keyring) -> None:
    """Refuse a keyring other than the store's. Raises: KeyringError, StoreUnavailable."""
    values = [(key.name, key.check_value()) for key in keyring.keys.values()]
    differing = await store.check_values([("index", keyring.index_check_value()), *values])
    if differing:
        raise KeyringError(
            f"this store belongs to another keyring (differing: {', '.join(differing)}):"
            " copy the keyring of the other nodes here, or name another store"
        )


async def preflight(config: Config, keyring: Keyring, url: str) -> None:
    """Everything that may forbid a start, asked once. Raises: ConfigError, KeyringError, StoreUnavailable."""
    durable = await check_store(url, config)
    store = RedisStore(url, fenced=not durable)
    try:
        await check_keys(store, keyring)
    finally:
        await store.close()


def warnings_of(config: Config) -> tuple[str, ...]:
    """What the operator should know, and may have wanted."""
    app = config.app
    beside: tuple[str, ...] = ()
    if not config.redis.url and app.keyring.is_relative_to(app.data_dir):
        beside = ("app.keyring: lies beside the store; who steals or backs up one has both",)
    return (*config.warnings, *beside)


def read_at_start(old: Config, new: Config) -> list[str]:
    """The settings that differ and are read at start alone."""
    fixed = [
        f"{table}.{name}"
        for table in ("app", "redis")
        for name in getattr(new, table).__struct_fields__
        if getattr(getattr(new, table), name) != getattr(getattr(old, table), name)
    ]
    return fixed + (["relay.paths"] if new.relay.paths != old.relay.paths else [])


def node_name() -> str:
    """Of this process, for others: two on one host are two nodes."""
    return f"{socket.gethostname()[:40]}-{secrets.token_hex(4)}"


def not_dumpable() -> None:
    """No core dump, no debugger of the same user: keys and codes are in this memory (SECURITY 38)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _told(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        _log.error("a task failed", exc_info=error)


@contextlib.asynccontextmanager
async def beside(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Tasks that last as long as the block; one that fails before is told of at once."""
    tasks = [asyncio.create_task(work) for work in works]
    for task in tasks:
        task.add_done_callback(_told)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
