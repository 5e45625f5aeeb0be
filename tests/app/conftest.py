"""Services put together from a config, on a real store of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from otpsvc.app import Service
from otpsvc.config import App, Config, Redis
from otpsvc.hashpool import Cost
from otpsvc.keyring import Keyring
from otpsvc.starting import ALL, Role
from otpsvc.stores.redis import RedisStore
from tests.app.rig import INDEX, Start, hook, tenant
from tests.far_ends.http_server import HttpServer
from tests.far_ends.valkey import ValkeyServer
from tests.flows.rig import new_key
from tests.waiting import PATIENCE


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer(persistence="always") as running:
        yield running


@pytest.fixture(autouse=True)
def _empty(server: ValkeyServer) -> None:
    server.ask("FLUSHALL")


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store on a disk that others use too may take longer than a service has patience."""
    monkeypatch.setattr("otpsvc.app.RedisStore", partial(RedisStore, timeout=PATIENCE))


@pytest.fixture(scope="module")
def keyring() -> Keyring:
    return Keyring(INDEX, [new_key()])


@pytest.fixture
async def far() -> AsyncIterator[HttpServer]:
    async with HttpServer() as running:
        yield running


@pytest.fixture
def config(server: ValkeyServer, tmp_path: Path, far: HttpServer) -> Config:
    return Config(
        app=App(data_dir=tmp_path, keyring=tmp_path / "keyring.toml"),
        redis=Redis(url=server.url),
        tenants={"shop": tenant()},
        channels={"hook": hook(far)},
        routes={},
    )


@pytest.fixture
def start(keyring: Keyring) -> Start:
    @asynccontextmanager
    async def started(config: Config, *roles: Role, ring: Keyring = keyring) -> AsyncIterator[Service]:
        chosen: frozenset[Role] = frozenset(roles or ALL)
        service = Service(config, ring, url=config.redis.url, roles=chosen, cost=Cost(64, 1))
        service.grace = PATIENCE
        async with service:
            yield service

    return started
