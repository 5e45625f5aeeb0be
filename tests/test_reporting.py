"""Delivery reports become states: of the right message, also when early or without the store."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from otpsvc.errors import StoreUnavailable
from otpsvc.message import Delivery
from otpsvc.reporting import Reporter
from otpsvc.stores.memory import MemoryStore
from tests.waiting import PATIENCE, until

GEN = "0a1b2c3d"


class Answers(MemoryStore):
    """Says of each report what it was told to say; an error is raised."""

    def __init__(self, *said: str | Exception) -> None:
        super().__init__(lambda: 0.0)
        self.said = list(said)
        self.asked: list[tuple[str, str, bytes, int, bool]] = []
        self.gate: asyncio.Event | None = None

    async def report(self, tenant: str, member: str, *, gen: bytes, sends: int, ok: bool) -> str:
        self.asked.append((tenant, member, gen, sends, ok))
        if self.gate:
            await self.gate.wait()
        said = self.said.pop(0)
        if isinstance(said, Exception):
            raise said
        return said


class Desk:
    """A reporter, and what it told others."""

    def __init__(self, store: Answers) -> None:
        self.store = store
        self.woken: list[tuple[str, str, str]] = []
        self.noted: list[Delivery] = []
        self.reporter = Reporter(store, wake=lambda *where: self.woken.append(where), noted=self.noted.append)


@pytest.fixture
async def bugs() -> AsyncIterator[list[object]]:
    """What ended a task of a reporter, which nobody awaits; none may be left at the end."""
    found: list[object] = []
    loop = asyncio.get_running_loop()
    old = loop.get_exception_handler()

    def notice(_: object, context: dict[str, object]) -> None:
        # Of what other tests left in this loop, nothing is said here.
        if "Reporter." in repr(context.get("future") or context.get("task")):
            found.append(context)

    loop.set_exception_handler(notice)
    yield found
    gc.collect()
    await asyncio.sleep(0)
    loop.set_exception_handler(old)
    assert found == []


async def test_where_ids_point(bugs: list[object]) -> None:
    desk = Desk(Answers("ok", "ok"))
    desk.reporter.take(Delivery("shop", f"chal.{GEN}.2", ok=True))
    desk.reporter.take(Delivery("shop", "raw", ok=False))
    await until(lambda: len(desk.noted) == 2)

    assert desk.store.asked == [
        ("shop", "cchal", bytes.fromhex(GEN), 2, True),
        ("shop", "mraw", b"", 0, False),
    ]
    assert desk.woken == [("shop", "callback", "event")] * 2
    await desk.reporter.close()


@pytest.mark.parametrize("id", ["operator.0123456789abcdef", "n.zz.1", "n.00.x", "n.00", "a.b.c.d"])
async def test_ids_that_point_nowhere_ask_nothing(id: str, bugs: list[object]) -> None:
    desk = Desk(Answers())
    desk.reporter.take(Delivery("shop", id, ok=True))
    await asyncio.sleep(0.05)

    assert desk.store.asked == []
    await desk.reporter.close()


async def test_one_that_came_early_or_met_no_store_is_looked_up_again(bugs: list[object]) -> None:
    desk = Desk(Answers("early", StoreUnavailable(), "ok"))
    desk.reporter.take(Delivery("shop", "raw", ok=True))
    await until(lambda: desk.noted)

    assert len(desk.store.asked) == 3
    await desk.reporter.close()


async def test_what_is_lost_is_told_to_nobody(bugs: list[object]) -> None:
    desk = Desk(Answers("lost"))
    desk.reporter.take(Delivery("shop", "raw", ok=True))
    await until(lambda: desk.store.asked)
    await asyncio.sleep(0.05)

    assert (desk.noted, desk.woken) == ([], [])
    await desk.reporter.close()


async def test_at_the_end_what_the_store_takes_in_a_moment_is_still_noted(
    bugs: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otpsvc.reporting.GRACE", PATIENCE)
    desk = Desk(Answers("ok", *(["early"] * 9)))
    desk.store.gate = asyncio.Event()
    desk.reporter.take(Delivery("shop", "raw", ok=True))
    await until(lambda: desk.store.asked)
    closing = asyncio.create_task(desk.reporter.close())
    await asyncio.sleep(0.01)
    desk.store.gate.set()
    await closing
    assert desk.noted

    # And what waits longer is given up.
    monkeypatch.setattr("otpsvc.reporting.GRACE", 0.1)
    desk.reporter.take(Delivery("shop", "other", ok=True))
    async with asyncio.timeout(PATIENCE):
        await desk.reporter.close()
    assert len(desk.noted) == 1
