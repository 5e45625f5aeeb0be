"""An intake on a real store, emptied for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from otpsvc.stores.redis import RedisStore
from tests.far_ends.valkey import ValkeyServer
from tests.intake.rig import Rig, Trouble
from tests.waiting import PATIENCE


@pytest.fixture(scope="session")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer(persistence="none") as running:
        yield running


@pytest.fixture
async def rig(server: ValkeyServer) -> AsyncIterator[Rig]:
    server.ask("FLUSHALL")
    store = RedisStore(server.url, fenced=False, timeout=PATIENCE)
    made = Rig(store)
    yield made
    await made.close()
    await store.close()


@pytest.fixture
def trouble(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trouble]:
    def make(at: object, name: str, error: Exception, *, times: int = 1, late: bool = False) -> Trouble:
        made = Trouble(getattr(at, name), error, times=times, late=late)
        monkeypatch.setattr(at, name, made)
        return made

    return make
