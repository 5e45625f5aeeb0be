"""The server is killed with -9 under each durability setting: no code and no attempt comes back to life."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from otpsvc.challenge import Flag, State, unpack_event
from otpsvc.errors import StoreUnavailable
from otpsvc.message import MessageState
from otpsvc.store import Answer, Store
from otpsvc.stores.redis import RedisStore
from tests.far_ends.valkey import Persistence, ValkeyServer, programs
from tests.stores.places import answering
from tests.stores.steps import (
    NEEDED,
    OTHER,
    SHOP,
    WRONG,
    N,
    claim,
    claim_batch,
    creation,
    events,
    finish,
    guess,
    op,
    status,
)
from tests.waiting import PATIENCE, until

PROGRAMS = pytest.mark.parametrize("program", ["valkey", "redis"])
#: What a store may lose, and whether it is fenced then (D9).
UNSAFE: list[Persistence] = ["everysec", "snapshots"]


@contextmanager
def running(program: str, persistence: Persistence) -> Iterator[ValkeyServer]:
    found: dict[str, Path] = programs()
    if program not in found:
        pytest.skip(f"no {program} server here")
    with ValkeyServer(program=found[program], persistence=persistence) as server:
        yield server


@asynccontextmanager
async def opened(server: ValkeyServer, *, fenced: bool) -> AsyncIterator[RedisStore]:
    store = RedisStore(server.url, fenced=fenced, timeout=PATIENCE)
    try:
        yield store
    finally:
        await store.close()


async def attempts(store: Store, n: str = N) -> int:
    record = (await store.read(SHOP, n)).record
    assert record
    return record.attempts


@PROGRAMS
async def test_with_every_write_on_disk_nothing_acknowledged_is_lost(program: str) -> None:
    with running(program, "always") as server:
        async with opened(server, fenced=False) as store:
            await store.create(creation(max_attempts=9))
            await store.check(guess(WRONG))
            server.restart()
            assert await attempts(await answering(store)) == 1
            right = guess()
            assert (await store.check(right)).outcome == "verified"
            server.restart()
            await answering(store)

            assert (await store.check(guess())).outcome == "closed"
            assert (await store.check(right)).outcome == "verified", "the same question"
            assert await attempts(store) == 2


@PROGRAMS
async def test_a_spent_receipt_stays_spent_over_a_kill(program: str) -> None:
    with running(program, "always") as server:
        async with opened(server, fenced=False) as store:
            record = (await store.create(creation())).record
            assert record
            right = guess()
            await store.check(right)
            receipt = (record.gen, right.op)
            assert await status(store, needs=NEEDED, receipt=receipt) == "verified"
            server.restart()

            assert await status(await answering(store), needs=NEEDED, receipt=receipt) == "open"


async def test_killed_under_load_every_answer_that_was_given_holds() -> None:
    """What was answered is there; what was not answered may be, and is counted then."""
    with running("valkey", "always") as server:
        async with opened(server, fenced=False) as store:
            names = [f"c{at}" for at in range(30)]
            for n in names:
                await store.create(creation(n=n, max_attempts=100))
            answered: dict[str, int] = dict.fromkeys(names, 0)
            right: dict[str, Answer] = {}

            async def guesses(n: str) -> None:
                with suppress(StoreUnavailable):
                    for _ in range(30):
                        answer = await store.check(guess(WRONG, n=n))
                        answered[n] += answer.outcome == "wrong"
                    right[n] = await store.check(guess(n=n))

            load = asyncio.gather(*map(guesses, names))
            await until(lambda: sum(answered.values()) >= 300)
            server.kill()
            await load
            server.start()
            await answering(store)
            for n in names:
                told = answered[n] + (n in right)
                assert told <= await attempts(store, n) <= told + 1


@PROGRAMS
@pytest.mark.parametrize("persistence", UNSAFE)
async def test_with_less_on_disk_what_was_open_is_void(program: str, persistence: Persistence) -> None:
    with running(program, persistence) as server:
        async with opened(server, fenced=True) as store:
            await store.create(creation(flags=int(Flag.CALLBACK), max_attempts=3))
            await store.create(creation(n="tried", max_attempts=3))
            await store.check(guess(WRONG, n="tried"))
            # The last moment that a snapshot knows.
            if persistence == "snapshots":
                server.ask("SAVE")
            used = guess()
            assert (await store.check(used)).outcome == "verified"
            await store.check(guess(WRONG, n="tried"))
            server.restart()
            await answering(store)

            for again in (used, guess(), guess(OTHER), guess(n="tried")):
                assert (await store.check(again)).outcome == "unknown"
            assert await status(store) == "void"
            assert (await store.cancel(SHOP, "tried", op())).outcome == "void"


@PROGRAMS
@pytest.mark.parametrize("persistence", UNSAFE)
async def test_with_less_on_disk_a_message_ends_as_failed(program: str, persistence: Persistence) -> None:
    with running(program, persistence) as server:
        async with opened(server, fenced=True) as store:
            await store.create(creation(flags=int(Flag.CALLBACK)))
            if persistence == "snapshots":
                server.ask("SAVE")
                # Sent and finished, which the snapshot does not know: it must not be sent again.
                [claimed] = await claim(store)
                await finish(store, claimed)
            server.restart()
            await answering(store)
            batch = await claim_batch(store)

            assert (batch.taken, batch.ended) == ([], 1)
            record = (await store.read(SHOP, N)).record
            assert record
            assert (record.state, record.message_state) == (State.VOID, MessageState.FAILED)
            assert record.reason == "store_restarted"
            [event] = await events(store)
            assert event.message
            assert unpack_event(event.message.meta).kind == "r"


async def test_a_node_that_never_saw_the_older_run_is_fenced_too() -> None:
    """All processes were started anew together with the store."""
    with running("valkey", "snapshots") as server:
        async with opened(server, fenced=True) as store:
            await store.create(creation())
            server.ask("SAVE")
            await store.check(guess())
        server.restart()
        async with opened(server, fenced=True) as store:
            assert (await store.check(guess())).outcome == "unknown"
            assert (await store.read(SHOP, N)).outcome == "void"
            assert (await store.create(creation())).outcome == "created"
            assert (await store.check(guess())).outcome == "verified"


async def test_two_kills_that_end_in_the_same_snapshot_are_two() -> None:
    """The epoch of the first restart is forgotten with it; the run id is not the same twice."""
    with running("valkey", "snapshots") as server:
        async with opened(server, fenced=True) as store:
            await store.create(creation())
            server.ask("SAVE")
            for _ in range(2):
                server.restart()
                await answering(store)
                assert (await store.check(guess())).outcome == "unknown"
                await store.create(creation())
                assert (await store.check(guess())).outcome == "verified"
