"""A private server, a proxy before it that misbehaves, and a batcher behind both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from otpsvc.stores.batcher import Batcher
from otpsvc.stores.connection import Connector
from tests.far_ends.cut_proxy import CutProxy
from tests.far_ends.valkey import ValkeyServer, programs
from tests.stores.callers import COUNT


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
    made = Batcher(Connector(proxy.url, scripts=[COUNT]))
    await made.call("PING")
    proxy.chunks.clear()
    yield made
    await made.close()
