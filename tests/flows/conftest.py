"""One private store for the flows of a test process, emptied before every test; nodes made on it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from otpsvc.keyring import KeyEntry, Keyring
from otpsvc.stores.redis import RedisStore
from otpsvc.tenant import Tenant
from tests.far_ends.valkey import ValkeyServer
from tests.flows.rig import Node, Outlet, new_key, tenant

NewNode = Callable[..., Awaitable[Node]]


@pytest.fixture(scope="session")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer(persistence="always") as running:
        yield running


@pytest.fixture
def entry() -> KeyEntry:
    return new_key()


@pytest.fixture
def index() -> bytes:
    return secrets.token_bytes(32)


@pytest.fixture
async def new_node(server: ValkeyServer, entry: KeyEntry, index: bytes) -> AsyncIterator[NewNode]:
    """Make a node; the first outlet is called `mail`. Its courier runs unless `start` is False."""
    server.ask("FLUSHALL")
    async with AsyncExitStack() as stack:

        async def make(
            *tenants: Tenant,
            start: bool = True,
            entries: tuple[KeyEntry, ...] = (),
            routes: dict[str, tuple[str, ...]] | None = None,
            url: str = "",
            fenced: bool = False,
            waiting: int = 256,
            lease: int = 60_000,
            **outlets: Outlet,
        ) -> Node:
            store = RedisStore(url or server.url, fenced=fenced, timeout=30.0)
            node = Node(
                store,
                Keyring(index, entries or (entry,)),
                outlets or {"mail": Outlet()},
                routes or {},
                {owner.name: owner for owner in tenants or (tenant(),)},
                waiting=waiting,
                lease=lease,
            )
            if start:
                node.courier.start()
            stack.push_async_callback(_close, node, store)
            return node

        yield make


async def _close(node: Node, store: Any) -> None:
    await node.courier.stop(grace=0.1)
    await store.close()
    node.pool.close()
