"""An intake on a real store, emptied for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from otpsvc.stores.redis import RedisStore
from tests.far_ends.valkey import ValkeyServer
from tests.intake.rig import Rig


@pytest.fixture(scope="session")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer(persistence="none") as running:
        yield running


@pytest.fixture
async def rig(server: ValkeyServer) -> AsyncIterator[Rig]:
    server.ask("FLUSHALL")
    store = RedisStore(server.url, fenced=False, timeout=30.0)
    made = Rig(store)
    yield made
    await made.close()
    await store.close()
