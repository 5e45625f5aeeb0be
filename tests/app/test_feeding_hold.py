"""Feeders that only one node at a time may connect: who holds the name, and who takes it over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from otpsvc.errors import BrokerGone, StoreUnavailable
from otpsvc.keyring import Keyring
from otpsvc.stores.memory import MemoryStore
from otpsvc.stores.redis import RedisStore
from tests.app.feeding_rig import Clock, Place, Scripted, config, register
from tests.far_ends.valkey import ValkeyServer
from tests.waiting import PATIENCE, until

BEHIND = ("standby", "another node holds the line")


@pytest.fixture(autouse=True)
def _types(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)


class Line:
    """One node's way to the store, which can be cut."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.cut = False
        self.tried = 0

    async def hold(self, name: str, token: bytes, *, life: int) -> bool:
        self.tried += 1
        if self.cut:
            raise StoreUnavailable
        held: bool = await self._store.hold(name, token, life=life)
        return held

    async def release(self, name: str, token: bytes) -> None:
        if self.cut:
            raise StoreUnavailable
        await self._store.release(name, token)


class Site:
    """Two nodes with the same feeder on one store; the first one has the line."""

    def __init__(self, first: Place, second: Place, lines: tuple[Line, Line], clock: Clock) -> None:
        self.first, self.second, self.lines, self.clock = first, second, lines, clock

    @property
    def live(self) -> list[int]:
        return [feeder.live for feeder in Scripted.made]

    async def forward(self, seconds: float) -> None:
        """In steps as small as those of nodes; never do both have a session."""
        for _ in range(round(seconds / 0.5)):
            self.clock.forward(0.5)
            for _ in range(30):
                await asyncio.sleep(0)
                assert sum(self.live) <= 1


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    clock = Clock()
    store = MemoryStore(lambda: clock.now)
    lines = Line(store), Line(store)
    async with AsyncExitStack() as stack:
        places = []
        for line in lines:
            places.append(Place(line, clock, {"one": config(type="alone")}))
            await stack.enter_async_context(places[-1].feeding)
            await until(lambda line=line: line.tried)  # type: ignore[misc]
        first, second = places
        await until(lambda: first.kept().live and second.phase() == BEHIND)
        yield Site(first, second, lines, clock)


async def test_one_node_is_connected_and_the_other_stands_by(site: Site) -> None:
    await site.forward(120)

    assert site.live == [1, 0]
    assert site.first.kept().sessions == 1
    assert site.second.kept().said == []
    assert (site.first.phase(), site.second.phase()) == (("connected", ""), BEHIND)


async def test_a_clean_end_hands_the_line_over(site: Site) -> None:
    await site.first.feeding.stop()
    await site.forward(3)

    assert site.live == [0, 1]
    assert site.second.phase() == ("connected", "")


async def test_of_a_node_that_died_the_line_is_taken_over_after_its_lease(site: Site) -> None:
    keeper = site.first.feeding._keepers["one"]
    # As kill -9 leaves it: no release.
    site.lines[0].cut = True
    await keeper._cut_off([keeper._task] if keeper._task else [])
    await site.forward(12)
    assert site.live == [0, 0]

    await site.forward(8)
    assert site.live == [0, 1]


async def test_a_session_ends_before_a_lease_that_cannot_be_renewed(site: Site) -> None:
    site.lines[0].cut = True
    await site.forward(5)
    # The store may be back in time.
    assert site.live == [1, 0]

    # `forward` looks that never both are connected.
    await site.forward(20)
    assert site.live == [0, 1]
    assert site.first.phase() == ("standby", "the store does not answer")
    assert 'end="released",feeder="one"} 1.0' in site.first.metrics.text().decode()

    site.lines[0].cut = False
    await site.forward(60)
    assert site.live == [0, 1]
    assert site.first.phase() == BEHIND


async def test_a_store_that_is_away_for_a_moment_ends_no_session(site: Site) -> None:
    for _ in range(3):
        site.lines[0].cut = True
        await site.forward(7)
        site.lines[0].cut = False
        await site.forward(7)

    assert site.live == [1, 0]
    assert site.first.kept().sessions == 1


async def test_a_name_that_another_one_has_ends_the_session(site: Site) -> None:
    """The store lost the lease, and gave it to another one."""
    name, token = site.first.feeding._keepers["one"]._lease._name, b"x"  # type: ignore[union-attr]
    site.lines[0]._store._leases.put(name, token, site.clock.now * 1000 + 10_000)
    await site.forward(3)

    assert site.live == [0, 0]
    assert site.first.phase() == BEHIND


async def test_who_cannot_reach_the_broker_lets_the_other_one_try(site: Site) -> None:
    site.first.kept().ends.put_nowait(BrokerGone("cannot connect"))
    await site.forward(0.5)
    site.first.kept().ups = False
    for _ in range(8):
        if site.live[0]:
            site.first.kept().ends.put_nowait(BrokerGone("cannot connect"))
        await site.forward(4)

    assert site.live == [0, 1]


async def test_on_a_real_store_two_nodes_hand_the_line_over(server: ValkeyServer, keyring: Keyring) -> None:
    clock, stores = Clock(), [RedisStore(server.url, fenced=False, timeout=PATIENCE) for _ in range(2)]
    async with AsyncExitStack() as stack:
        places = [Place(store, clock, {"one": config(type="alone")}, lease=600.0) for store in stores]
        for place, store in zip(places, stores, strict=True):
            stack.push_async_callback(store.close)
            await stack.enter_async_context(place.feeding)
            await until(lambda place=place: place.phase()[0] != "connecting")  # type: ignore[misc]
        assert [place.phase()[0] for place in places] == ["connected", "standby"]

        await places[0].feeding.stop()
        clock.forward(3.0)
        await until(lambda: places[1].phase()[0] == "connected")
        assert [feeder.live for feeder in Scripted.made] == [0, 1]
