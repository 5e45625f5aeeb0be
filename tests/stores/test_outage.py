"""What callers of the batcher get when the store or the way to it fails."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
import redis
import uvloop

from otpsvc.errors import StoreUnavailable
from otpsvc.stores.batcher import PAUSE, Batcher, Script
from otpsvc.stores.connection import Connector
from tests.far_ends.cut_proxy import CutProxy, Misdeed
from tests.far_ends.valkey import ValkeyServer
from tests.stores.callers import (
    COUNT,
    PATIENT,
    PROMISE,
    Clock,
    CountingConnector,
    answers,
    at_once,
    outcomes,
    patient,
)
from tests.waiting import until


async def test_loses_reply_what_may_not_run_twice_fails(
    batcher: Batcher, proxy: CutProxy, server: ValkeyServer
) -> None:
    await proxy.misbehave("loses_reply")

    with pytest.raises(StoreUnavailable):
        await batcher.script(COUNT, ["n"])
    assert server.ask("GET", "n") == b"1"
    assert await batcher.script(COUNT, ["n"]) == 2


async def test_loses_reply_what_may_run_twice_is_sent_again(
    batcher: Batcher, proxy: CutProxy, server: ValkeyServer
) -> None:
    await proxy.misbehave("loses_reply")

    assert await batcher.script(COUNT, ["n"], repeatable=True) == 2


async def test_loses_reply_again_and_again_runs_at_most_twice(
    batcher: Batcher, proxy: CutProxy, server: ValkeyServer
) -> None:
    # The connection's own login is a request too: let it pass between the two.
    await proxy.misbehave("loses_reply")
    call = asyncio.ensure_future(batcher.script(COUNT, ["n"], repeatable=True))
    await at_once(lambda: proxy.accepted == 2)
    await at_once(lambda: len(proxy.chunks) == 2)
    await proxy.misbehave("loses_reply")

    with pytest.raises(StoreUnavailable):
        await call
    await asyncio.sleep(3 * PAUSE)
    assert server.ask("GET", "n") == b"2"


async def test_cuts_reply_those_answered_are_answered(batcher: Batcher, proxy: CutProxy) -> None:
    await proxy.misbehave("cuts_reply")

    first, second, third = await outcomes(
        batcher.call("INCR", "n"), batcher.call("INCR", "n"), batcher.call("GET", "n", repeatable=True)
    )
    assert (first, third) == (1, b"2")
    assert isinstance(second, StoreUnavailable)


async def test_cuts_line_what_never_left_is_sent_on_the_next_connection(
    batcher: Batcher, proxy: CutProxy
) -> None:
    await proxy.misbehave("cuts_line")
    left = asyncio.ensure_future(batcher.call("INCR", "n"))
    await at_once(lambda: bool(batcher._wire and batcher._wire.flying))
    queued = asyncio.ensure_future(batcher.call("INCR", "n"))

    first, second = await outcomes(left, queued)
    assert isinstance(first, StoreUnavailable)
    assert second == 1


@pytest.mark.parametrize("misdeed", ["loses_reply", "cuts_line", "hangs", "garbles", "refuses"])
@pytest.mark.parametrize("repeatable", [False, True])
async def test_everybody_is_answered_in_time_and_it_recovers(
    hasty: Batcher, proxy: CutProxy, misdeed: Misdeed, repeatable: bool
) -> None:
    await proxy.misbehave(misdeed, times=None)

    with Clock() as clock:
        got = await outcomes(*(hasty.script(COUNT, ["n"], repeatable=repeatable) for _ in range(20)))
    assert {type(answer) for answer in got} == {StoreUnavailable}
    assert clock.seconds < PROMISE

    await proxy.behave()
    await until(lambda: answers(hasty))


async def test_trickles_nobody_waits_longer_and_nobody_gets_the_reply_of_another(
    proxy: CutProxy,
) -> None:
    batcher = Batcher(Connector(proxy.url, timeout=PATIENT), timeout=2.0)
    await until(lambda: answers(batcher))
    proxy.chunks.clear()
    await proxy.misbehave("trickles")
    # Their replies take 5 s, and never pause for long.
    flying = [asyncio.ensure_future(batcher.call("ECHO", "f" * 20)) for _ in range(2)]
    await at_once(lambda: len(proxy.chunks) == 1)
    queued = [asyncio.ensure_future(batcher.call("ECHO", "queued")) for _ in range(2)]

    with Clock() as clock:
        got = await outcomes(*flying, *queued)
    assert {type(answer) for answer in got} == {StoreUnavailable}
    assert clock.seconds < 3
    assert batcher._wire, "a slow line is no dead line"

    last = [await outcomes(batcher.call("ECHO", n)) for n in range(3)]
    assert all(got == b"%d" % n or isinstance(got, StoreUnavailable) for n, [got] in enumerate(last))
    await batcher.close()


async def test_hangs_once_what_may_run_twice_still_succeeds(proxy: CutProxy) -> None:
    # Half of its time it waits for the line that hangs, the other half is for the second one.
    batcher = Batcher(Connector(proxy.url, timeout=PATIENT), timeout=6.0)
    await until(lambda: answers(batcher))
    await proxy.misbehave("hangs")

    with Clock() as clock:
        assert await batcher.call("ECHO", "x", repeatable=True) == b"x"
    assert clock.seconds < 6
    await batcher.close()


async def test_a_stopped_store_is_unavailable_in_time_and_recovers(
    hasty: Batcher, server: ValkeyServer
) -> None:
    server.pause()
    try:
        with Clock() as clock:
            got = await outcomes(*(hasty.call("PING", repeatable=n % 2 == 0) for n in range(10)))
        assert {type(answer) for answer in got} == {StoreUnavailable}
        assert clock.seconds < PROMISE

        with Clock() as clock, pytest.raises(StoreUnavailable):
            await hasty.call("PING")
        assert clock.seconds < PROMISE
    finally:
        server.resume()

    await until(lambda: answers(hasty))


async def test_a_killed_store_is_unavailable_at_once_and_found_again(
    batcher: Batcher, server: ValkeyServer
) -> None:
    direct = patient(server.url)
    await direct.call("PING")
    server.kill()

    with Clock() as clock, pytest.raises(StoreUnavailable, match="refused the connection"):
        await direct.call("PING", repeatable=True)
    assert clock.seconds < PROMISE

    server.start()
    assert await direct.call("PING") == b"PONG"
    await direct.close()


async def test_refuses_a_dead_store_is_not_hammered(proxy: CutProxy) -> None:
    connector = CountingConnector(proxy.url, timeout=PATIENT)
    batcher = Batcher(connector, timeout=PATIENT)
    await proxy.misbehave("refuses", times=None)

    began = time.monotonic()
    failed = 0
    while time.monotonic() < began + 0.5:
        with pytest.raises(StoreUnavailable):
            await batcher.call("PING")
        failed += 1
    assert failed <= connector.attempts <= (time.monotonic() - began) / PAUSE + 2
    await batcher.close()


@pytest.mark.parametrize("misdeed", ["garbles", "doubles_reply"])
async def test_a_reply_that_nobody_can_match_ends_the_connection(proxy: CutProxy, misdeed: Misdeed) -> None:
    batcher = patient(proxy.url)
    await batcher.call("PING")
    await proxy.misbehave(misdeed)

    with Clock() as clock:
        await outcomes(batcher.call("ECHO", "1"))
        assert await batcher.call("ECHO", "2") == b"2"
    assert clock.seconds < PROMISE
    assert proxy.accepted == 2
    await batcher.close()


async def test_a_demoted_master_is_left(batcher: Batcher, proxy: CutProxy, server: ValkeyServer) -> None:
    server.ask("REPLICAOF", "127.0.0.1", 1)
    try:
        with Clock() as clock, pytest.raises(StoreUnavailable, match=r"^the store is a replica$"):
            await batcher.script(COUNT, ["n"])
        assert clock.seconds < PROMISE
        # Asked again on a second connection, because nothing had run; then left as well.
        assert proxy.accepted == 2
    finally:
        server.ask("REPLICAOF", "NO", "ONE")

    assert await batcher.script(COUNT, ["n"]) == 1
    assert proxy.accepted == 3


async def test_a_full_store_is_unavailable_in_commands_and_scripts(
    batcher: Batcher, server: ValkeyServer
) -> None:
    server.ask("CONFIG", "SET", "maxmemory", 1)
    try:
        for answer in await outcomes(batcher.call("INCR", "n"), batcher.script(COUNT, ["n"])):
            assert type(answer) is StoreUnavailable
            assert str(answer) == "the store is out of memory"
    finally:
        server.ask("CONFIG", "SET", "maxmemory", 0)


def is_busy(server: ValkeyServer) -> bool:
    try:
        server.ask("PING")
    except redis.ResponseError as error:
        return str(error).startswith("BUSY")
    return False


async def test_a_store_busy_with_a_script_is_unavailable(batcher: Batcher, server: ValkeyServer) -> None:
    endless = asyncio.ensure_future(outcomes(batcher.script(Script("endless", "while true do end"), [])))
    await until(lambda: is_busy(server))
    other = patient(server.url)
    try:
        with Clock() as clock, pytest.raises(StoreUnavailable):
            await other.call("GET", "n")
        assert clock.seconds < PROMISE
    finally:
        server.ask("SCRIPT", "KILL")
    [error] = await endless
    assert isinstance(error, StoreUnavailable)
    assert await other.call("GET", "n") is None
    await other.close()


async def test_close_answers_those_who_wait(proxy: CutProxy) -> None:
    batcher = patient(proxy.url)
    await batcher.call("PING")
    await proxy.misbehave("hangs")
    flying = asyncio.ensure_future(outcomes(batcher.call("PING", repeatable=True)))
    await at_once(lambda: bool(batcher._wire and batcher._wire.flying))
    queued = asyncio.ensure_future(outcomes(batcher.call("PING")))
    await asyncio.sleep(0)

    with Clock() as clock:
        await batcher.close()
        got = await asyncio.gather(flying, queued)
    assert [str(error) for [error] in got] == ["the store is closed"] * 2
    assert clock.seconds < PROMISE

    with pytest.raises(StoreUnavailable, match="closed"):
        await batcher.call("PING")
    await batcher.close()


async def test_close_while_connecting(proxy: CutProxy) -> None:
    await proxy.misbehave("hangs")
    batcher = patient(proxy.url)
    waiting = asyncio.ensure_future(outcomes(batcher.call("PING")))
    await at_once(lambda: bool(proxy.chunks))

    await batcher.close()
    assert [str(error) for error in await waiting] == ["the store is closed"]
    assert batcher._connecting is None


async def test_a_process_that_was_stopped_itself_does_not_blame_the_store(server: ValkeyServer) -> None:
    def block(readable: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(readable)
        time.sleep(4.5)

    async def stopped() -> tuple[bytes, bytes, int]:
        connector = CountingConnector(server.url, timeout=PATIENT)
        batcher = Batcher(connector, timeout=4.0)
        await batcher.call("PING")
        call = asyncio.ensure_future(batcher.call("ECHO", "x"))
        await at_once(lambda: bool(batcher._wire and batcher._wire.flying))
        ours, theirs = socket.socketpair()
        asyncio.get_running_loop().add_reader(ours, block, ours)
        theirs.send(b"x")
        answers = await call, await batcher.call("ECHO", "y")
        await batcher.close()
        ours.close()
        theirs.close()
        return *answers, connector.attempts

    # Blocked where uvloop reads, it looks at its timers next, and reads only then.
    assert await asyncio.to_thread(uvloop.run, stopped()) == (b"x", b"y", 1)
