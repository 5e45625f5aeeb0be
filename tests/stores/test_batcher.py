from __future__ import annotations

import asyncio
import traceback

import pytest

from otpsvc.stores.batcher import BATCH, RUN_ID, TIMEOUT, Batcher, ErrorReply, Script, StoreError
from tests.far_ends.cut_proxy import CutProxy
from tests.far_ends.valkey import ValkeyServer
from tests.stores.callers import COUNT, PLANTED, at_once, outcomes, patient

ECHO = Script("echo", "return {KEYS[1], ARGV[1], ARGV[2]}")


async def test_it_answers_commands_and_scripts(batcher: Batcher) -> None:
    assert await batcher.call("SET", "a", b"\0\xff", "PX", 5000) == b"OK"
    assert await batcher.call("GET", "a") == b"\0\xff"
    assert await batcher.script(COUNT, ["n"]) == 1
    assert await batcher.script(ECHO, ["k"], ["x", 7]) == [b"k", b"x", b"7"]


async def test_the_commands_of_one_tick_travel_together(batcher: Batcher, proxy: CutProxy) -> None:
    answers = await asyncio.gather(*(batcher.call("ECHO", n) for n in range(100)))

    assert answers == [b"%d" % n for n in range(100)]
    assert len(proxy.chunks) == 1


async def test_more_commands_than_a_batch_holds_are_all_answered(batcher: Batcher, proxy: CutProxy) -> None:
    answers = await asyncio.gather(*(batcher.call("ECHO", n) for n in range(2 * BATCH + 1)))

    assert answers == [b"%d" % n for n in range(2 * BATCH + 1)]
    assert len(proxy.chunks) >= 3


async def test_while_a_batch_is_on_its_way_the_next_one_gathers(
    batcher: Batcher, proxy: CutProxy, server: ValkeyServer
) -> None:
    server.pause()
    first = asyncio.ensure_future(batcher.call("ECHO", "first"))
    await at_once(lambda: len(proxy.chunks) == 1)
    later = []
    for n in range(10):
        later.append(asyncio.ensure_future(batcher.call("ECHO", n)))
        await asyncio.sleep(0.001)
    # By far longer than the service's own limits: who is patient waits for a store that stalls.
    await asyncio.sleep(2 * TIMEOUT)
    server.resume()

    assert await asyncio.gather(first, *later) == [b"first"] + [b"%d" % n for n in range(10)]
    assert len(proxy.chunks) == 2


async def test_run_id_is_the_one_of_the_server_that_gets_the_command(
    batcher: Batcher, server: ValkeyServer
) -> None:
    assert await batcher.call("ECHO", RUN_ID) == server.ask("INFO", "server")["run_id"].encode()
    before = batcher.run_id

    server.restart()
    await outcomes(batcher.call("PING"))

    after = await batcher.call("ECHO", RUN_ID)
    assert after == batcher.run_id == server.ask("INFO", "server")["run_id"].encode() != before


async def test_an_error_goes_to_its_caller_alone_and_holds_no_argument(batcher: Batcher) -> None:
    good, unknown, wrong, broken, last = await outcomes(
        batcher.call("SET", "text", "x"),
        batcher.call("NOSUCH", PLANTED),
        batcher.call("LPUSH", "text", PLANTED),
        batcher.script(Script("fails", "return redis.call('LPUSH', 'text', ARGV[1])"), [], [PLANTED]),
        batcher.call("GET", "text"),
    )

    assert (good, last) == (b"OK", b"x")
    assert [(error.word, error.where) for error in (unknown, wrong, broken)] == [
        ("ERR", "NOSUCH"),
        ("WRONGTYPE", "LPUSH"),
        ("WRONGTYPE", "fails"),
    ]
    for error in (unknown, wrong, broken):
        assert isinstance(error, StoreError)
        assert PLANTED not in "".join(traceback.format_exception(error))


async def test_an_argument_that_cannot_be_packed_hurts_its_caller_alone(batcher: Batcher) -> None:
    good, bad, last = await outcomes(
        batcher.call("ECHO", "1"),
        batcher.call("ECHO", {"code": PLANTED}),  # type: ignore[arg-type]
        batcher.call("ECHO", "2"),
    )

    assert (good, last) == (b"1", b"2")
    assert isinstance(bad, TypeError)
    assert PLANTED not in str(bad)


async def test_a_caller_cancelled_before_the_batch_left_sends_nothing(
    batcher: Batcher, server: ValkeyServer
) -> None:
    calls = [asyncio.ensure_future(batcher.call("INCR", "n")) for _ in range(3)]
    await asyncio.sleep(0)
    calls[1].cancel()

    await outcomes(*calls)
    assert server.ask("GET", "n") == b"2"


async def test_a_caller_cancelled_on_the_way_shifts_no_reply(batcher: Batcher, proxy: CutProxy) -> None:
    calls = [asyncio.ensure_future(batcher.call("ECHO", n)) for n in range(5)]
    await at_once(lambda: bool(batcher._wire and batcher._wire.flying))
    calls[1].cancel()
    calls[3].cancel()

    answers = await outcomes(*calls)
    assert [answers[n] for n in (0, 2, 4)] == [b"0", b"2", b"4"]
    assert calls[1].cancelled()
    assert calls[3].cancelled()
    assert await batcher.call("ECHO", "next") == b"next"


async def test_a_lost_script_is_loaded_and_runs_once(batcher: Batcher, server: ValkeyServer) -> None:
    server.ask("SCRIPT", "FLUSH")

    answers = await asyncio.gather(
        batcher.call("ECHO", "x"), *(batcher.script(COUNT, ["n"]) for _ in range(5))
    )
    assert answers == [b"x", 1, 2, 3, 4, 5]
    assert server.ask("SCRIPT", "EXISTS", COUNT.sha1) == [True]


async def test_a_script_that_does_not_compile_is_a_bug_with_its_name(batcher: Batcher) -> None:
    with pytest.raises(StoreError, match=r"^the store answered NOSCRIPT to crooked$"):
        await batcher.script(Script("crooked", f"return {PLANTED} {PLANTED}"), [])


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("LOADING Redis is loading the dataset in memory", "LOADING"),
        ("MISCONF Errors writing to the AOF file", "MISCONF"),
        ("OOM command not allowed when used memory > 'maxmemory'. script: f_1, on @user_script:1.", "OOM"),
        # Redis 6.2
        ("ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -OOM command not", "OOM"),
        ("ERR unknown command 'x', with args beginning with: '482913' ", "ERR"),
        ("482913 from a script of ours", "ERR"),
    ],
)
def test_of_an_error_only_the_first_word_is_kept(text: str, word: str) -> None:
    reply = ErrorReply(text)

    assert reply.word == word
    assert PLANTED not in repr(reply)


async def test_a_store_that_tells_no_run_id_gets_no_fenced_command(
    proxy: CutProxy, server: ValkeyServer
) -> None:
    server.ask("ACL", "SETUSER", "shop", "on", ">secret", "~*", "+@all", "-info")
    batcher = patient(proxy.url + "?username=shop&password=secret")

    with pytest.raises(StoreError):
        await batcher.call("ECHO", RUN_ID)
    assert await batcher.call("ECHO", "x") == b"x"
    await batcher.close()
