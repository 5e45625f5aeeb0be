"""An emulated network, its modems and a plain terminal; a scripted far end and its client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from otpsvc.gsm.emulator import EmulatedModem, Network
from tests.gsm.far_end import Client, FarEnd
from tests.gsm.terminal import Terminal


@pytest.fixture
def net() -> Network:
    """A network without radio time."""
    return Network(latency=0.0)


@pytest.fixture
async def plug_in(net: Network) -> AsyncIterator[Callable[..., Awaitable[EmulatedModem]]]:
    """Makes modems on `net`: `await plug_in(pin="1234", noise=0.3)`. They are unplugged at the end."""
    async with AsyncExitStack() as stack:

        async def make(**options: Any) -> EmulatedModem:
            return await stack.enter_async_context(EmulatedModem(net, **options))

        yield make


@pytest.fixture
async def modem(plug_in: Callable[..., Awaitable[EmulatedModem]]) -> EmulatedModem:
    return await plug_in()


@pytest.fixture
async def dial() -> AsyncIterator[Callable[[EmulatedModem], Awaitable[Terminal]]]:
    """A terminal on a modem's port, closed at the end."""
    async with AsyncExitStack() as stack:

        async def open_terminal(modem: EmulatedModem) -> Terminal:
            return await stack.enter_async_context(Terminal(modem.path))

        yield open_terminal


@pytest.fixture
async def far() -> AsyncIterator[FarEnd]:
    async with FarEnd() as far:
        yield far


@pytest.fixture
async def client(far: FarEnd) -> AsyncIterator[Client]:
    client = Client()
    await client.at.open(far.path, 115200)
    yield client
    client.at.close()
