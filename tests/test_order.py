"""Turns: side by side, alone, and given up."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from otpsvc.order import Order


class Log:
    def __init__(self) -> None:
        self.order = Order()
        self.inside: list[str] = []
        self.entered: list[str] = []
        self.go: dict[str, asyncio.Event] = {}

    def begin(self, name: str, *, alone: bool = False) -> asyncio.Task[None]:
        self.go[name] = asyncio.Event()
        return asyncio.create_task(self._run(name, alone))

    async def _run(self, name: str, alone: bool) -> None:
        async with self.order.turn(alone=alone):
            self.entered.append(name)
            self.inside.append(name)
            await self.go[name].wait()
            self.inside.remove(name)

    async def end(self, *names: str) -> None:
        for name in names:
            self.go[name].set()
        await settle()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def log() -> Log:
    return Log()


async def test_alone_waits_for_all_before_it_and_holds_all_after_it(log: Log) -> None:
    tasks = [log.begin("a"), log.begin("b"), log.begin("block", alone=True), log.begin("c"), log.begin("d")]
    await settle()
    assert log.inside == ["a", "b"]

    await log.end("a")
    assert log.inside == ["b"]
    await log.end("b")
    assert log.inside == ["block"]
    await log.end("block")
    assert log.inside == ["c", "d"]
    await log.end("c", "d")
    await asyncio.gather(*tasks)


async def test_two_alone_come_one_after_the_other(log: Log) -> None:
    tasks = [log.begin("x", alone=True), log.begin("y", alone=True), log.begin("z")]
    await settle()
    assert log.inside == ["x"]
    await log.end("x")
    assert log.inside == ["y"]
    await log.end("y")
    assert log.inside == ["z"]
    await log.end("z")
    await asyncio.gather(*tasks)


async def test_one_that_gives_up_waiting_holds_nobody(log: Log) -> None:
    first, waiting, last = log.begin("a"), log.begin("block", alone=True), log.begin("b")
    await settle()
    waiting.cancel()
    await settle()
    assert log.inside == ["a", "b"]
    await log.end("a", "b")
    await asyncio.gather(first, last)


async def test_one_cancelled_in_the_moment_of_its_turn_gives_it_on(log: Log) -> None:
    first, waiting, last = log.begin("a"), log.begin("block", alone=True), log.begin("b")
    await settle()
    log.go["a"].set()
    # The future is set in the same step in which `a` ends; the task has not run yet.
    while not first.done():
        await asyncio.sleep(0)
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    await settle()
    assert "b" in log.entered
    await log.end("block", "b")
    await last


async def test_an_error_inside_gives_the_turn_on(log: Log) -> None:
    with pytest.raises(RuntimeError):
        async with log.order.turn(alone=True):
            raise RuntimeError
    task = log.begin("a", alone=True)
    await settle()
    assert log.inside == ["a"]
    await log.end("a")
    await task


async def test_a_turn_that_ends_early_ends_once(log: Log) -> None:
    async with log.order.turn(alone=False) as leave:
        leave()
        tasks = [log.begin("block", alone=True), log.begin("a")]
        await settle()
        assert log.inside == ["block"]
        leave()
        await settle()
        assert log.inside == ["block"]
    await settle()
    assert log.inside == ["block"]
    await log.end("block")
    assert log.inside == ["a"]
    await log.end("a")
    tasks.append(log.begin("last", alone=True))
    await settle()
    assert log.inside == ["last"]
    await log.end("last")
    await asyncio.gather(*tasks)


async def test_a_turn_alone_that_ends_early_gives_it_on(log: Log) -> None:
    async with log.order.turn(alone=True) as leave:
        tasks = [log.begin("a"), log.begin("block", alone=True)]
        leave()
        await settle()
        assert log.inside == ["a"]
    await log.end("a")
    assert log.inside == ["block"]
    await log.end("block")
    await asyncio.gather(*tasks)
