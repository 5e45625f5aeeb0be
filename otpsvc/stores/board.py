"""The board: what every node tells of itself in the store, sealed, for all nodes to read.

A node's word ends by itself when it is not told again; what was told long ago is of a
node that died. All times are the store's: two hosts' clocks may be minutes apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

import msgspec
from msgspec import structs

from otpsvc.errors import Busy, KeyringError, StoreUnavailable
from otpsvc.keyring import Keyring
from otpsvc.standing import FeederState
from otpsvc.stores.redis import GLOBAL, RedisStore
from otpsvc.stores.wire import ended

#: Seconds between two tellings, and for how many milliseconds one counts.
TELL: Final = 4.0
LIFE: Final = 15_000
#: Seconds between two tellings at least.
_GAP: Final = 0.1

#: A Struct with the fields `node` and `told`.
T = TypeVar("T", bound=msgspec.Struct)
_encode = msgspec.msgpack.Encoder().encode
_log = logging.getLogger(__name__)


class Told(msgspec.Struct, Generic[T], frozen=True):
    """What one node told, `at` seconds since the epoch."""

    at: float
    lines: list[T]


async def moment(store: RedisStore) -> float:
    """Now, in seconds since the epoch, by the store's clock. Raises: StoreUnavailable."""
    seconds, micros = await store.call("TIME")
    return int(seconds) + int(micros) / 1e6


class Board(Generic[T]):
    """What nodes tell under one `topic`: lists of `kind`, whose `node` and `told` are filled in here."""

    def __init__(self, store: RedisStore, keyring: Keyring, topic: str, kind: type[T]) -> None:
        self._store = store
        self._keyring = keyring
        self._topic = topic
        self._nodes = f"{topic}:{GLOBAL}"
        self._decode = msgspec.msgpack.Decoder(Told[kind]).decode  # type: ignore[valid-type]

    async def tell(self, node: str, items: Sequence[T]) -> None:
        """In place of what the node told before. Raises: StoreUnavailable."""
        now = await moment(self._store)
        await self._store.call("SET", self._key(node), self.sealed(node, now, items), "PX", LIFE)
        await self._store.call("ZADD", self._nodes, int(now * 1000), node)
        await self._store.call("ZREMRANGEBYSCORE", self._nodes, "-inf", int(now * 1000) - 2 * LIFE)

    def sealed(self, node: str, now: float, items: Sequence[T]) -> bytes:
        """What stands in the store. `now`: seconds since the epoch."""
        return self._keyring.seal(_encode(Told(now, list(items))), self._topic, node)

    async def leave(self, node: str) -> None:
        """The node ends. Raises: StoreUnavailable."""
        await self._store.call("ZREM", self._nodes, node)
        await self._store.call("DEL", self._key(node))

    async def read(self) -> list[T]:
        """What every node told lately. Raises: StoreUnavailable."""
        nodes = [name.decode() for name in await self._store.call("ZRANGE", self._nodes, 0, -1)]
        if not nodes:
            return []
        told = await self._store.call("MGET", *map(self._key, nodes))
        return [item for node, raw in zip(nodes, told, strict=True) if raw for item in self._open(node, raw)]

    def _key(self, node: str) -> str:
        return f"{self._nodes}:{node}"

    def _open(self, node: str, raw: bytes) -> list[T]:
        try:
            told = self._decode(self._keyring.unseal(raw, self._topic, node))
        except (KeyringError, Busy, msgspec.DecodeError):
            return []
        return [structs.replace(item, node=node, told=told.at) for item in told.lines]


class Teller:
    """Tells of one node while it is entered: every `gap` seconds, and at once after `hurry`.

    `items` is asked each time; None: there is nothing to tell of.
    """

    def __init__(
        self,
        board: Board[Any],
        node: str,
        items: Callable[[], Awaitable[Sequence[Any] | None]],
        *,
        gap: float = TELL,
    ) -> None:
        self._board = board
        self._node = node
        self._items = items
        self._gap = gap
        self._told = False
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._tell_always())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            await ended(self._task)
        if self._told:
            with contextlib.suppress(StoreUnavailable):
                await self._board.leave(self._node)

    def hurry(self) -> None:
        """Something changed: tell of it now rather than in a while."""
        self._changed.set()

    async def tell(self) -> None:
        """Tell of everything now. Raises: StoreUnavailable."""
        if (items := await self._items()) is not None:
            self._told = True
            await self._board.tell(self._node, items)
        elif self._told:
            await self._board.leave(self._node)
            self._told = False

    async def _tell_always(self) -> None:
        while True:
            self._changed.clear()
            try:
                await self.tell()
            except StoreUnavailable:
                pass
            except Exception as bug:  # noqa: BLE001 - the next telling may do better
                _log.error("telling of this node failed: %s", type(bug).__name__)
            # Many changes come together.
            await asyncio.sleep(_GAP)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._gap):
                    await self._changed.wait()


def feeders(store: RedisStore, keyring: Keyring) -> Board[FeederState]:
    """Where nodes tell of their feeders."""
    return Board(store, keyring, "feeders", FeederState)
