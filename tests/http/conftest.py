"""A door on a real store, once for each way inside: the hot path and Litestar's routes."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from otpsvc.keyring import Keyring
from otpsvc.stores.redis import RedisStore
from otpsvc.tenant import Secret, Tenant
from tests.far_ends.valkey import ValkeyServer
from tests.flows.rig import Node, Outlet, new_key, tenant
from tests.http.door import FORM, RARE_FORM, Door, Wire
from tests.http.gate import Gate, open_gate

NewDoor = Callable[..., Awaitable[Door]]


@pytest.fixture(scope="session")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer(persistence="none") as running:
        yield running


@pytest.fixture(scope="session")
async def session_wire() -> AsyncIterator[Wire]:
    async with Wire() as wire:
        yield wire


def shop(**more: Any) -> Tenant:
    return tenant(**({"secrets": (Secret("planted-secret", plain=True),)} | more))


@pytest.fixture
async def new_door(server: ValkeyServer) -> AsyncIterator[NewDoor]:
    """Make a door for these tenants; `parts` are fields of Parts."""
    server.ask("FLUSHALL")
    async with AsyncExitStack() as stack:

        async def make(
            *tenants: Tenant,
            url: str = "",
            form: str = FORM,
            outlets: dict[str, Outlet] | None = None,
            start: bool = True,
            **parts: Any,
        ) -> Door:
            store = RedisStore(url or server.url, fenced=False, timeout=0.9 if url else 30.0)
            keyring = Keyring(secrets.token_bytes(32), [new_key()])
            owners = {owner.name: owner for owner in tenants or (shop(),)}
            node = Node(store, keyring, outlets or {"mail": Outlet()}, {}, owners)
            if start:
                node.courier.start()
            door = Door(node, form=form, **parts)
            stack.push_async_callback(close, door, store)
            return door

        yield make


async def close(door: Door, store: RedisStore) -> None:
    await door.node.courier.stop(grace=0.1)
    await store.close()
    door.node.pool.close()
    door.logins.close()


@pytest.fixture(params=[FORM, RARE_FORM], ids=["hot", "litestar"])
async def door(request: pytest.FixtureRequest, new_door: NewDoor) -> Door:
    """Both ways inside, one after the other."""
    return await new_door(form=request.param)


@pytest.fixture
async def plain_door(new_door: NewDoor) -> Door:
    return await new_door()


@pytest.fixture
async def gate(new_door: NewDoor) -> Gate:
    """For relay clients, and for raw messages."""
    return await open_gate(new_door)


__all__ = ["NewDoor", "close", "shop"]
