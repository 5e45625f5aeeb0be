"""Whole services for a module of drills: places, far ends, stores."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack
from typing import Any, Final

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

    def kept(self) -> list[bytes]:
        """All that is in it now, names and values."""
        found: list[bytes] = []
        for key in self.ask("KEYS", "*"):
            # What ended meanwhile is no more of any kind.
            if way := _READS.get(self.ask("TYPE", key)):
                found += [key, *_flat(self.ask(way[0], key, *way[1:]))]
        return found


#: How a key of each kind is read.
_READS: Final[Mapping[bytes, tuple[str | int, ...]]] = {
    b"string": ("GET",),
    b"hash": ("HGETALL",),
    b"zset": ("ZRANGE", 0, -1),
    b"set": ("SMEMBERS",),
    b"list": ("LRANGE", 0, -1),
}


def _flat(value: Any) -> list[bytes]:
    if value is None or isinstance(value, bytes):
        return [value] if value else []
    if isinstance(value, dict):
        return [part for pair in value.items() for part in pair]
    return list(value)


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
