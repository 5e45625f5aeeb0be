"""Whole services for a module of drills: places, far ends, stores."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import pytest

from tests.drills.place import Place
from tests.far_ends.valkey import Persistence, ValkeyServer, free_port

Enter = Callable[[Any], Awaitable[Any]]


class Store(ValkeyServer):
    """A server that listens on a port of loopback, as an external one does."""

    def __init__(self, persistence: Persistence = "always", *settings: str) -> None:
        super().__init__(*settings, persistence=persistence, port=free_port())

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"


@pytest.fixture
async def enter() -> AsyncIterator[Enter]:
    """Enters a context manager, async or not, until the test ends."""
    with ExitStack() as plain:
        async with AsyncExitStack() as stack:

            async def into(context: Any) -> Any:
                if hasattr(context, "__aenter__"):
                    return await stack.enter_async_context(context)
                return plain.enter_context(context)

            yield into


@pytest.fixture
async def new_place(enter: Enter) -> Callable[..., Awaitable[Place]]:
    async def make(*config: str, **more: str) -> Place:
        place: Place = await enter(Place(*config, **more))
        return place

    return make


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with Store() as running:
        yield running


NewPlace = Callable[..., Awaitable[Place]]
__all__ = ["Enter", "NewPlace", "Store"]
