"""What nodes tell of themselves: sealed, for as long as they tell it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from otpsvc.errors import StoreUnavailable
from otpsvc.keyring import Keyring
from otpsvc.standing import FeederState
from otpsvc.stores.board import _GAP as GAP
from otpsvc.stores.board import LIFE, Board, Teller, feeders
from otpsvc.stores.errand import board as lines
from otpsvc.stores.redis import RedisStore
from tests.far_ends.valkey import ValkeyServer
from tests.flows.rig import new_key
from tests.waiting import PATIENCE, until

KEYRING = Keyring(b"i" * 32, [new_key()])


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as running:
        yield running


@pytest.fixture
async def store(server: ValkeyServer) -> AsyncIterator[RedisStore]:
    server.ask("FLUSHALL")
    made = RedisStore(server.url, fenced=False, timeout=PATIENCE)
    yield made
    await made.close()


def state(name: str) -> FeederState:
    return FeederState(name=name, type="rabbitmq", tenant="planted", state="connected")


async def test_what_is_told_is_read_with_its_node_and_time(store: RedisStore, server: ValkeyServer) -> None:
    board = feeders(store, KEYRING)
    await board.tell("a", [state("one"), state("two")])
    await board.tell("b", [state("one")])
    await board.tell("a", [state("three")])

    found = await board.read()
    assert sorted((one.name, one.node) for one in found) == [("one", "b"), ("three", "a")]
    assert abs(found[0].told - time.time()) < 300
    ask: Any = server.ask
    for key in ask("KEYS", "feeders:*"):
        assert b"planted" not in ask("DUMP", key)
    assert 0 < ask("PTTL", "feeders:{*}:a") <= LIFE
    # Those of modems are others.
    assert await lines(store, KEYRING).read() == []


async def test_a_word_of_another_node_or_keyring_is_none(store: RedisStore, server: ValkeyServer) -> None:
    board = feeders(store, KEYRING)
    await board.tell("a", [state("one")])
    ask: Any = server.ask
    ask("ZADD", "feeders:{*}", 1, "b")
    ask("SET", "feeders:{*}:b", ask("GET", "feeders:{*}:a"))
    ask("ZADD", "feeders:{*}", 1, "c")
    ask("SET", "feeders:{*}:c", b"junk")

    assert [one.node for one in await board.read()] == ["a"]
    assert await feeders(store, Keyring(b"i" * 32, [new_key()])).read() == []
    assert await lines(store, KEYRING)._store.call("ZCARD", "feeders:{*}") == 3


class Told:
    """What a teller asks for."""

    def __init__(self, store: RedisStore) -> None:
        self.items: list[FeederState] | None = [state("one")]
        self.board: Board[FeederState] = feeders(store, KEYRING)
        self.asked = 0
        self.fault: Exception | None = None
        # What it tells anyway comes too late for a test.
        self.teller = Teller(self.board, "a", self.ask, gap=3600.0)

    async def ask(self) -> list[FeederState] | None:
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        return self.items

    async def names(self) -> list[str]:
        return [one.name for one in await self.board.read()]


async def has(told: Told, *names: str) -> None:
    async def reads() -> bool:
        return await told.names() == [*names]

    await until(reads)


async def test_a_teller_tells_at_once_and_leaves_at_its_end(store: RedisStore) -> None:
    told = Told(store)
    async with told.teller:
        await has(told, "one")
        told.items = [state("two")]
        told.teller.hurry()
        await has(told, "two")
        told.items = None
        told.teller.hurry()
        await has(told)
        told.items = [state("three")]
        told.teller.hurry()
        await has(told, "three")

    assert await told.names() == []
    assert await store.call("ZCARD", "feeders:{*}") == 0


@pytest.mark.parametrize("fault", [StoreUnavailable(), ZeroDivisionError("planted")])
async def test_a_teller_goes_on_after_a_fault(
    store: RedisStore, fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told(store)
    told.fault = fault
    async with told.teller:
        await until(lambda: told.asked)
        told.fault = None
        told.teller.hurry()
        await has(told, "one")
    assert "planted" not in caplog.text
    # That the store is away is told by others.
    assert ("telling of this node failed" in caplog.text) is isinstance(fault, ZeroDivisionError)


async def test_many_changes_come_together(store: RedisStore) -> None:
    told, began = Told(store), time.monotonic()
    async with told.teller:
        await has(told, "one")
        for _ in range(1000):
            told.teller.hurry()
            await asyncio.sleep(0)
        told.items = [state("last")]
        told.teller.hurry()
        await has(told, "last")

    assert told.asked <= (time.monotonic() - began) / GAP + 1
