"""Block lists: what they hold, what is left of them without a key, and that nothing goes past them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from otpsvc.blocking import BlockList, read_destination
from otpsvc.challenge import pack_raw
from otpsvc.deliver import Courier, News, Route
from otpsvc.errors import BadAddress, StoreUnavailable
from otpsvc.keyring import Keyring
from otpsvc.letter import Letters, RawBody, Way, destination, seal_raw
from otpsvc.message import Lane, MessageState
from otpsvc.store import ALL, Batch, Claimed, Posting
from otpsvc.stores.memory import MemoryStore
from otpsvc.tenant import Texts
from tests.flows.rig import Outlet, new_key, tenant
from tests.waiting import until

INDEX = b"i" * 32
ONE, TWO, THREE = "+6281234567890", "+6281234567891", "+6281234567892"
SHOP = tenant(country="ID")
NOW = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(Clock())


@pytest.fixture
def keyring() -> Keyring:
    return Keyring(INDEX, [new_key()])


async def test_an_entry_is_found_by_every_way_of_writing_it(store: MemoryStore, keyring: Keyring) -> None:
    blocks = BlockList(store, keyring)
    made = await blocks.block(SHOP, "081234567890", now=NOW)

    assert (made.number, made.since, made.everywhere) == (ONE, "2027-01-15T08:00:00.000+00:00", False)
    for address in (ONE, " 6281234567890", "0812-3456-7890"):
        found = await blocks.find(SHOP, address)
        assert found == made
    assert await blocks.find(SHOP, TWO) is None
    assert await blocks.find(tenant("bank"), ONE) is None
    assert await blocks.unblock(SHOP, ONE)
    assert not await blocks.unblock(SHOP, ONE)
    assert await blocks.find(SHOP, ONE) is None


async def test_blocking_twice_keeps_the_first_time(store: MemoryStore, keyring: Keyring) -> None:
    blocks = BlockList(store, keyring)
    first = await blocks.block(SHOP, ONE, now=NOW)

    assert await blocks.block(SHOP, ONE, now=NOW + 60) == first


async def test_the_list_of_all_tenants_is_another_one(store: MemoryStore, keyring: Keyring) -> None:
    blocks = BlockList(store, keyring)
    await blocks.block(SHOP, TWO, now=NOW, everywhere=True)
    await blocks.block(SHOP, ONE, now=NOW)

    assert [(one.number, one.everywhere) for one in await blocks.every(SHOP)] == [(ONE, False)]
    everywhere = await blocks.every(SHOP, everywhere=True)
    assert [(one.number, one.everywhere) for one in everywhere] == [(TWO, True)]
    found = await blocks.find(tenant("bank"), TWO)
    assert found
    assert found.everywhere
    assert await store.barred([destination(keyring, ONE), destination(keyring, TWO)]) == [False, True]
    assert not await blocks.unblock(SHOP, TWO)
    assert await blocks.unblock(SHOP, TWO, everywhere=True)


async def test_a_list_is_sorted_by_number(store: MemoryStore, keyring: Keyring) -> None:
    blocks = BlockList(store, keyring)
    for number in (THREE, ONE, TWO):
        await blocks.block(SHOP, number, now=NOW)

    assert [one.number for one in await blocks.every(SHOP)] == [ONE, TWO, THREE]


async def test_without_its_key_an_entry_still_blocks_and_is_listed(store: MemoryStore) -> None:
    old, new = new_key(), new_key()
    await BlockList(store, Keyring(INDEX, [old])).block(SHOP, ONE, now=NOW)
    retired = Keyring(INDEX, [new])
    blocks = BlockList(store, retired)
    await blocks.block(SHOP, TWO, now=NOW)

    assert [one.number for one in await blocks.every(SHOP)] == ["", TWO]
    found = await blocks.find(SHOP, ONE)
    assert found
    assert (found.number, found.since) == (ONE, "")
    assert (await blocks.block(SHOP, ONE, now=NOW)).number == ONE
    assert await store.blocked("shop", destination(retired, ONE))
    assert await blocks.unblock(SHOP, ONE)


@pytest.mark.parametrize("junk", [b"", b"x", bytes(40)])
async def test_an_entry_that_was_tampered_with_hides_no_other(
    store: MemoryStore, keyring: Keyring, junk: bytes
) -> None:
    blocks = BlockList(store, keyring)
    await blocks.block(SHOP, TWO, now=NOW)
    good = await store.blocked("shop", destination(keyring, TWO))
    assert good
    await store.block("shop", destination(keyring, ONE), junk or good)

    assert [one.number for one in await blocks.every(SHOP)] == ["", TWO]


@pytest.mark.parametrize("word", ["BANK", "12", "012", "123456789", "", "+", "a@", "0812345678901234"])
def test_what_cannot_be_sent_to_cannot_be_blocked(word: str) -> None:
    with pytest.raises(BadAddress) as refused:
        read_destination(word, "")
    assert len(word) < 3 or word not in refused.value.message


@pytest.mark.parametrize(
    ("word", "read"), [("4949", "4949"), (" 123", "123"), ("Anna@Home.example ", "Anna@home.example")]
)
def test_short_codes_and_mail(word: str, read: str) -> None:
    assert read_destination(word, "").lower() == read.lower()


class Away(MemoryStore):
    """The block list of all cannot be asked for a while."""

    away = 0

    async def barred(self, dests: Sequence[bytes]) -> list[bool]:
        self._check()
        return await super().barred(dests)

    async def claim(self, tenant: str, route: str, lane: Lane, *, limit: int, lease: int) -> Batch:
        # A claim comes through: so the message is in hand when the store goes.
        if self.away < 4:
            self._check()
        return await super().claim(tenant, route, lane, limit=limit, lease=lease)

    async def later(self, claimed: Claimed, *, delay: int, way: int, reason: str, uncertain: bool) -> str:
        self._check()
        return await super().later(claimed, delay=delay, way=way, reason=reason, uncertain=uncertain)

    def _check(self) -> None:
        if self.away:
            self.away -= 1
            raise StoreUnavailable


def courier(store: MemoryStore, keyring: Keyring, sms: Outlet, news: list[object]) -> Courier:
    letters = Letters(keyring, dict, {"sms": Way("any", Texts())}, root_url="")
    route = Route("sms", (("sms", sms),))
    return Courier(
        store, {"sms": route}, compose=letters.compose, tenants=lambda: ["shop"], news=news.append, poll=0.05
    )


async def post(store: MemoryStore, keyring: Keyring, to: str = ONE, n: str = "n1") -> str:
    dest = destination(keyring, to)
    await store.enqueue(
        Posting(
            tenant="shop",
            n=n,
            route="sms",
            ttl=60_000,
            dest=dest,
            meta=pack_raw(dest, bytes(16)),
            body=seal_raw(keyring, RawBody(to, "hello"), "shop", n, dest),
            sends=None,
        )
    )
    return n


async def state(store: MemoryStore, n: str) -> tuple[MessageState, int, str]:
    record = await store.message("shop", n)
    assert record
    return record.message_state, record.uncertain, record.reason


async def test_while_the_list_cannot_be_asked_nothing_leaves_and_no_doubt_arises(keyring: Keyring) -> None:
    store, sms, news = Away(clock := Clock()), Outlet(), list[object]()
    sms.config = sms.config.__class__(type="outlet", on_uncertain="never_resend")
    store.away = 4
    n = await post(store, keyring)
    serving = courier(store, keyring, sms, news)
    serving.start()
    await until(lambda: not store.away)
    # Long after the lease of whoever had claimed it.
    clock.time += 30
    await until(lambda: sms.taken)
    await serving.stop()

    assert await state(store, n) == (MessageState.SENT, 0, "")
    assert len(sms.taken) == 1


async def test_what_is_blocked_for_all_between_claim_and_send_is_not_sent(keyring: Keyring) -> None:
    class Late(MemoryStore):
        """The entry comes right after the claim."""

        async def barred(self, dests: Sequence[bytes]) -> list[bool]:
            await self.block(ALL, destination(keyring, ONE), b"x")
            return await super().barred(dests)

    store, sms, news = Late(Clock()), Outlet(), list[object]()
    n, other = await post(store, keyring), await post(store, keyring, TWO, "n2")
    serving = courier(store, keyring, sms, news)
    serving.start()
    await until(lambda: len(news) == 2)
    await asyncio.sleep(0)
    await serving.stop()

    assert await state(store, n) == (MessageState.FAILED, 0, "blocked")
    assert await state(store, other) == (MessageState.SENT, 0, "")
    assert [message.to for message in sms.taken] == [TWO]
    assert {(one.result, one.final) for one in news if isinstance(one, News)} == {
        ("refused", "failed"),
        ("sent", "sent"),
    }


async def test_a_route_whose_far_end_another_process_has_is_left_to_it(keyring: Keyring) -> None:
    class Elsewhere(Outlet):
        gone = True

        @property
        def elsewhere(self) -> bool:
            return self.gone

    store, sms, news = MemoryStore(Clock()), Elsewhere(), list[object]()
    n = await post(store, keyring)
    serving = courier(store, keyring, sms, news)
    serving.start()
    assert serving.lease("shop", "sms") == 0
    await asyncio.sleep(0.2)
    assert await state(store, n) == (MessageState.QUEUED, 0, "")

    sms.gone = False
    assert serving.lease("shop", "sms") > 0
    serving.give_back("shop", "sms")
    await until(lambda: sms.taken)
    await serving.stop()
