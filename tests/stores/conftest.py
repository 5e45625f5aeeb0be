"""A private server, a proxy before it that misbehaves, and a batcher behind both;
the stores of the contract test."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from otpsvc.store import Store
from otpsvc.stores.batcher import Batcher
from otpsvc.stores.connection import Connector
from otpsvc.stores.embedded import EmbeddedStore
from tests.far_ends.cut_proxy import CutProxy
from tests.far_ends.valkey import ValkeyServer, programs
from tests.stores.callers import COUNT, answers, patient
from tests.stores.places import MemoryPlace, Place, RedisPlace, checked
from tests.waiting import PATIENCE, until

KINDS = ("memory", "redis", "embedded")


@pytest.fixture(scope="module", params=["valkey", "redis"])
def server(request: pytest.FixtureRequest) -> Iterator[ValkeyServer]:
    found = programs()
    if request.param not in found:
        pytest.skip(f"no {request.param} server here")
    with ValkeyServer("busy-reply-threshold 100", program=found[request.param]) as running:
        yield running


@pytest.fixture
async def proxy(server: ValkeyServer) -> AsyncIterator[CutProxy]:
    server.ask("FLUSHALL")
    server.ask("SCRIPT", "FLUSH")
    async with CutProxy(server.path) as between:
        yield between


@pytest.fixture
async def batcher(proxy: CutProxy) -> AsyncIterator[Batcher]:
    """Connected already, so that a misdeed hits a command and not the login."""
    made = patient(proxy.url, scripts=[COUNT])
    await made.call("PING")
    proxy.chunks.clear()
    yield made
    await made.close()


@pytest.fixture
async def hasty(proxy: CutProxy) -> AsyncIterator[Batcher]:
    """The same with the limits of the service: for what is about them."""
    made = Batcher(Connector(proxy.url, scripts=[COUNT]))
    await until(lambda: answers(made))
    proxy.chunks.clear()
    yield made
    await made.close()


@pytest.fixture(scope="session")
def redis_server(need: Callable[[str], str]) -> Iterator[ValkeyServer]:
    with ValkeyServer(program=Path(need("redis-server"))) as running:
        yield running


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    with EmbeddedStore(tmp_path_factory.mktemp("data")) as running:
        yield running


def revive(store: EmbeddedStore) -> None:
    """Kill the embedded server with -9 and start it again."""
    assert store.pid
    os.kill(store.pid, signal.SIGKILL)
    end = time.monotonic() + PATIENCE
    while not store.ensure():
        assert time.monotonic() < end
        time.sleep(0.005)
    store._wait()


@asynccontextmanager
async def a_place(request: pytest.FixtureRequest, *, fenced: bool) -> AsyncIterator[Place]:
    if request.param == "memory":
        yield MemoryPlace(fenced=fenced)
        return
    if request.param == "redis":
        server: ValkeyServer = request.getfixturevalue("redis_server")
        place = RedisPlace(server.path, server.restart, fenced=fenced)
    else:
        store: EmbeddedStore = request.getfixturevalue("embedded")
        place = RedisPlace(store.url.removeprefix("unix://"), lambda: revive(store), fenced=fenced)
    try:
        with checked(place):
            yield place
    finally:
        await place.close()


@pytest.fixture(params=KINDS)
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """A store that keeps what it acknowledged."""
    async with a_place(request, fenced=False) as made:
        yield made


@pytest.fixture(params=KINDS)
async def fenced(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """A store that may lose what it acknowledged."""
    async with a_place(request, fenced=True) as made:
        yield made


@pytest.fixture(params=KINDS[1:])
async def real(request: pytest.FixtureRequest) -> AsyncIterator[RedisPlace]:
    """A store on a server, for what is about keys, or about two clocks."""
    async with a_place(request, fenced=False) as made:
        assert isinstance(made, RedisPlace)
        yield made


@pytest.fixture
def store(place: Place) -> Store:
    return place.store
