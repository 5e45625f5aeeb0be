"""How a command reaches the store of a service that runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from otpsvc.config import Config
    from otpsvc.keyring import Keyring
    from otpsvc.stores.errand import Errands
    from otpsvc.stores.redis import RedisStore


@asynccontextmanager
async def running(config: Path | None) -> AsyncIterator[tuple[RedisStore, Keyring]]:
    """The store and the keyring. Raises: ClickException: nothing runs; ConfigError, StoreUnavailable."""
    from otpsvc import keyring_file, logs
    from otpsvc.loading import Source, find
    from otpsvc.stores.redis import RedisStore

    logs.configure("console", "error")
    read = Source(path=find(config)).config()
    url = _url(read)
    if not url:
        raise click.ClickException(
            f"no otpsvc is running on {read.app.data_dir}: start it with `otpsvc serve`"
        )
    store = RedisStore(url, fenced=False, timeout=5.0)
    try:
        yield store, keyring_file.load(read.app.keyring)
    finally:
        await store.close()


def _url(read: Config) -> str:
    """Of the store; empty: it is a service's own, and none runs."""
    from otpsvc.stores.embedded import running_url

    return read.redis.url or running_url(read.app.data_dir)


async def blocked(config: Path | None, to: str) -> bool:
    """Whether nobody may send to this address; False where no service runs, or none ever ran.

    Raises: ConfigError, KeyringError, StoreUnavailable.
    """
    from otpsvc.address import canonical
    from otpsvc.loading import Source, find

    read = Source(path=find(config)).config()
    if not _url(read) or not read.app.keyring.exists():
        return False
    async with running(config) as (store, keyring):
        return (await store.barred([keyring.digest("dest", canonical(to))]))[0]


@asynccontextmanager
async def errands(config: Path | None) -> AsyncIterator[Errands]:
    """The way to the processes that own modems. Raises: as `running`; ClickException: no such modem."""
    from otpsvc.errors import NotFound
    from otpsvc.stores.errand import Errands

    async with running(config) as (store, keyring):
        try:
            yield Errands(store, keyring)
        except NotFound as error:
            raise click.ClickException(f"{error.message} `otpsvc modems` lists them.") from None
