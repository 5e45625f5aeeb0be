"""Slow hashes: bound to their salt and cost, run in threads, with room for so many and no more."""

from __future__ import annotations

import asyncio
import threading

import pytest
from argon2.low_level import Type, hash_secret_raw

from otpsvc.errors import HashPoolFull
from otpsvc.hashpool import Cost, HashPool, new_salt, slow_digest

CHEAP = Cost(memory=8, passes=1)


def test_a_digest_is_argon2id_by_the_cost_that_its_salt_names() -> None:
    salt = new_salt(Cost(memory=16, passes=3))
    expected = hash_secret_raw(b"secret", salt[:16], 3, 16, parallelism=1, hash_len=16, type=Type.ID)

    assert (len(salt), slow_digest(b"secret", salt)) == (21, expected)


def test_an_older_cost_stays_readable() -> None:
    """A record of before a change of the cost brings its own."""
    salt = new_salt(CHEAP)

    assert slow_digest(b"secret", salt) == slow_digest(b"secret", salt)
    assert len({slow_digest(b"secret", new_salt(CHEAP)) for _ in range(10)}) == 10
    assert slow_digest(b"secret", salt) != slow_digest(b"other", salt)


def test_the_default_cost_is_owasps_minimum() -> None:
    assert (Cost().memory, Cost().passes) == (19_456, 2)


async def test_work_is_done_in_a_thread() -> None:
    pool = HashPool(threads=1)
    name = await pool.run(lambda: threading.current_thread().name)
    pool.close()

    assert name.startswith("hash")


async def test_an_error_of_the_work_comes_back_and_frees_the_place() -> None:
    pool = HashPool(threads=1, waiting=0)
    for _ in range(3):
        with pytest.raises(ValueError, match="invalid literal"):
            await pool.run(int, "x")

    assert await pool.run(int, "7") == 7
    pool.close()


async def test_so_many_run_so_many_wait_and_the_next_is_told_at_once() -> None:
    pool, go = HashPool(threads=2, waiting=3), threading.Event()
    inside = [asyncio.ensure_future(pool.run(go.wait, 60)) for _ in range(5)]
    await asyncio.sleep(0)
    for _ in range(2):
        with pytest.raises(HashPoolFull):
            await pool.run(go.wait, 60)
    go.set()

    assert await asyncio.gather(*inside) == [True] * 5
    assert await pool.run(int, "7") == 7
    pool.close()


async def test_as_many_run_at_a_time_as_there_are_threads() -> None:
    pool, together = HashPool(threads=3), threading.Barrier(3)

    await asyncio.gather(*(pool.run(together.wait, 60) for _ in range(6)))
    pool.close()


async def test_whoever_leaves_frees_the_place() -> None:
    pool, go = HashPool(threads=1, waiting=1), threading.Event()
    running = asyncio.ensure_future(pool.run(go.wait, 60))
    waiting = asyncio.ensure_future(pool.run(go.wait, 60))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    next_one = asyncio.ensure_future(pool.run(int, "7"))
    await asyncio.sleep(0)
    go.set()

    assert (await running, await next_one) == (True, 7)
    pool.close()


async def test_close_drops_who_waits() -> None:
    pool, go, begun = HashPool(threads=1), threading.Event(), threading.Event()

    def work() -> bool:
        begun.set()
        return go.wait(60)

    running = asyncio.ensure_future(pool.run(work))
    waiting = asyncio.ensure_future(pool.run(int, "7"))
    await asyncio.sleep(0)
    await asyncio.to_thread(begun.wait, 60)
    pool.close()
    go.set()

    assert await running
    with pytest.raises(asyncio.CancelledError):
        await waiting
