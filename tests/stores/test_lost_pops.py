"""What must not be asked for twice: a reply is lost after the store has done it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from otpsvc.errors import StoreUnavailable
from otpsvc.keyring import Keyring
from otpsvc.stores.desk import Desk
from otpsvc.stores.errand import Errand, Errands, Word, inbox
from otpsvc.stores.redis import RedisStore
from tests.far_ends.cut_proxy import CutProxy
from tests.far_ends.valkey import ValkeyServer
from tests.flows.rig import new_key
from tests.stores.test_errand import Phone
from tests.waiting import PATIENCE, until


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as running:
        yield running


@pytest.fixture
async def between(server: ValkeyServer) -> AsyncIterator[CutProxy]:
    server.ask("FLUSHALL")
    async with CutProxy(server.path) as proxy:
        yield proxy


@pytest.fixture
async def lossy(between: CutProxy) -> AsyncIterator[RedisStore]:
    store = RedisStore(between.url, fenced=False, timeout=PATIENCE)
    await store.ping()
    yield store
    await store.close()


@pytest.fixture
async def direct(server: ValkeyServer) -> AsyncIterator[RedisStore]:
    store = RedisStore(server.url, fenced=False, timeout=PATIENCE)
    yield store
    await store.close()


async def _first(errands: Errands, asked: Errand) -> Word:
    [word] = [word async for word in errands._ask("here", asked, PATIENCE)]
    return word


@pytest.mark.parametrize("step", range(4))
async def test_an_errand_that_its_owner_takes_is_done_once_whatever_reply_is_lost(
    lossy: RedisStore, direct: RedisStore, between: CutProxy, server: ValkeyServer, step: int
) -> None:
    keyring, owner = Keyring(b"i" * 32, [new_key()]), Phone()
    desk = Desk(lossy, keyring, lambda: {"sms": owner}, node="here")
    await desk.tell()
    errands = Errands(direct, keyring)
    [line] = await errands.lines()
    asked = await errands._errand(line, "ussd", PATIENCE, code="*1#")
    task = asyncio.create_task(_first(errands, asked))
    await until(lambda: server.ask("LLEN", inbox("here")))

    calls, call = 0, lossy.call

    async def counted(*command: object) -> object:
        nonlocal calls
        if calls == step:
            await between.misbehave("loses_reply")
        calls += 1
        return await call(*command)  # type: ignore[arg-type]

    lossy.call = counted  # type: ignore[method-assign]
    await desk._take_all()

    assert (await task).answered
    assert len(owner.did) == 1
    assert not server.ask("LLEN", inbox("here"))


async def test_an_unblocking_whose_reply_was_lost_is_not_told_as_nothing(
    lossy: RedisStore, direct: RedisStore, between: CutProxy
) -> None:
    await direct.block("shop", b"somebody", b"sealed")
    await between.misbehave("loses_reply")

    with pytest.raises(StoreUnavailable):
        await lossy.unblock("shop", b"somebody")
    assert not await lossy.unblock("shop", b"somebody")
