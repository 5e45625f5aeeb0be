"""A real Chromium, a real service on a port, and tenants' sites on other ports and hosts."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserType, async_playwright, expect

from otpsvc.keyring import Keyring
from otpsvc.stores.redis import RedisStore
from otpsvc.tenant import Tenant
from tests.browser.place import Place, Site
from tests.far_ends.valkey import ValkeyServer
from tests.flows.rig import Node, Outlet, new_key
from tests.http.conftest import close, shop
from tests.http.door import Door, Wire
from tests.waiting import PATIENCE

NewPlace = Callable[..., Awaitable[Place]]
NewSite = Callable[..., Awaitable[Site]]

# A wait ends once its thing is there: a long one costs nothing, a short one breaks on a busy machine.
expect.set_options(timeout=PATIENCE * 1000)
#: Milliseconds for a browser to start: of all workers at once, from a disk that is still cold.
_START = 3 * PATIENCE * 1000

#: Nothing but what a test asks for leaves this browser; every host name is this machine.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Frames of other sites are other processes, as on people's desktops.
    "--site-per-process",
    "--no-first-run",
    "--host-resolver-rules=MAP * 127.0.0.1",
)


@pytest.fixture(scope="session")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer(persistence="none") as running:
        yield running


async def launch(kind: BrowserType, path: str, flags: Sequence[str] = FLAGS, **more: Any) -> Browser:
    return await kind.launch(executable_path=path, args=list(flags), timeout=_START, **more)


@pytest.fixture(scope="session")
async def browser(need: Callable[[str], str]) -> AsyncIterator[Browser]:
    """The same engine without a desktop's windows where it is installed: a quarter of the work."""
    path = shutil.which("chromium-headless-shell") or need("chromium")
    async with async_playwright() as playwright:
        running = await launch(playwright.chromium, path)
        yield running
        await running.close()


@pytest.fixture
async def new_place(server: ValkeyServer) -> AsyncIterator[NewPlace]:
    """Make a service at `host` for these tenants; the first outlet is called `mail`."""
    server.ask("FLUSHALL")
    async with AsyncExitStack() as stack:

        async def make(
            *tenants: Tenant,
            outlets: dict[str, Outlet] | None = None,
            host: str = "localhost",
            **parts: Any,
        ) -> Place:
            wire = await stack.enter_async_context(Wire())
            url = f"http://{host}:{wire.port}"
            store = RedisStore(server.url, fenced=False, timeout=30.0)
            owners = {owner.name: owner for owner in tenants or (shop(),)}
            outlets = outlets or {"mail": Outlet()}
            keyring = Keyring(secrets.token_bytes(32), [new_key()])
            node = Node(store, keyring, outlets, {}, owners, root_url=url)
            node.courier.start()
            door = Door(node, root_url=url, **parts)
            wire.app = door.app
            stack.push_async_callback(close, door, store)
            return Place(door, outlets, url)

        yield make


@pytest.fixture
async def new_site() -> AsyncIterator[NewSite]:
    """Make a tenant's site at `host`, on a port of its own: the origin is known before its pages."""
    async with AsyncExitStack() as stack:

        async def make(host: str = "shop.example") -> Site:
            wire = await stack.enter_async_context(Wire())
            return Site(wire, f"http://{host}:{wire.port}")

        yield make
