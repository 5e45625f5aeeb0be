"""Texts that came in: kept once, for their tenant alone, and listed also where some cannot be read."""

from __future__ import annotations

from typing import Any

import pytest

from otpsvc.errors import StoreUnavailable
from otpsvc.inbox import Inbox, Keep
from otpsvc.keyring import KeyEntry, Keyring
from otpsvc.message import Incoming
from otpsvc.store import ALL
from otpsvc.stores.memory import MemoryStore
from tests.flows.rig import new_key

INDEX = b"i" * 32
NOW = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore(clock)


@pytest.fixture
def keyring() -> Keyring:
    return Keyring(INDEX, [new_key()])


def incoming(id: str = "t1", **more: Any) -> Incoming:
    usual = {"id": id, "line": "m1", "sender": "+62811", "text": "planted words", "tenant": "shop"}
    return Incoming(**(usual | more))


async def test_a_text_as_it_came(store: MemoryStore, keyring: Keyring) -> None:
    inbox = Inbox(store, keyring, Keep())
    assert await inbox.take(incoming(to="+62899", at=NOW - 3))

    [text] = await inbox.list("shop")
    assert (text.modem, text.sender, text.text, text.to) == ("m1", "+62811", "planted words", "+62899")
    assert (text.received_at, text.sent_at) == ("2027-01-15T08:00:00.000+00:00", "2027-01-15T07:59:57+00:00")
    assert text.complete
    assert "planted" not in repr(text) + repr(incoming())


async def test_what_is_offered_again_is_kept_once(store: MemoryStore, keyring: Keyring) -> None:
    inbox = Inbox(store, keyring, Keep())

    assert [await inbox.take(incoming()) for _ in range(3)] == [True, False, False]
    # Another modem's text may have the same id.
    assert await inbox.take(incoming(line="m2"))
    assert len(await inbox.list("shop")) == 2


async def test_nobodys_texts_are_a_list_of_their_own(store: MemoryStore, keyring: Keyring) -> None:
    inbox = Inbox(store, keyring, Keep())
    await inbox.take(incoming(tenant=""))
    await inbox.take(incoming("t2"))

    assert [text.id for text in await inbox.list("")] != [text.id for text in await inbox.list("shop")]
    assert len(await inbox.list("")) == len(await inbox.list("shop")) == 1
    assert await inbox.list("bank") == []


async def test_texts_end_after_their_life_and_the_oldest_go_first(
    store: MemoryStore, keyring: Keyring, clock: Clock
) -> None:
    inbox = Inbox(store, keyring, Keep(life=60, most=2))
    for at in range(3):
        await inbox.take(incoming(f"t{at}", text=f"text {at}"))
        clock.time += 1
    assert [text.text for text in await inbox.list("shop")] == ["text 2", "text 1"]

    clock.time += 58.5
    assert [text.text for text in await inbox.list("shop")] == ["text 2"]
    inbox.limits = Keep(life=3600, most=5)
    await inbox.take(incoming("t9", text="text 9"))
    clock.time += 100
    assert [text.text for text in await inbox.list("shop")] == ["text 9"]


async def test_one_that_cannot_be_opened_hides_no_other_and_ends_no_page(
    store: MemoryStore, clock: Clock
) -> None:
    old, new = new_key(), new_key()
    await Inbox(store, Keyring(INDEX, [old]), Keep()).take(incoming("t1"))
    clock.time += 1
    both = [KeyEntry(id=old.id, state="accept", secret=old.secret), new]
    await Inbox(store, Keyring(INDEX, both), Keep()).take(incoming("t2", text="two"))
    clock.time += 1
    await store.keep_text("shop", "junk", b"x" * 50, life=60_000, most=9)
    clock.time += 1
    inbox = Inbox(store, Keyring(INDEX, [new]), Keep())
    await inbox.take(incoming("t3", text="three"))

    found = await inbox.list("shop")
    assert [(text.text, text.complete) for text in found] == [
        ("three", True),
        ("", False),
        ("two", True),
        ("", False),
    ]
    assert len({text.id for text in found}) == 4
    assert len(await inbox.list("shop", limit=2)) == 2
    # With the key it was there all the time.
    assert [text.text for text in await Inbox(store, Keyring(INDEX, both), Keep()).list("shop")][
        -1
    ] == "planted words"


async def test_a_text_cannot_be_moved_to_another_tenant(store: MemoryStore, keyring: Keyring) -> None:
    inbox = Inbox(store, keyring, Keep())
    await inbox.take(incoming(tenant=""))
    [kept] = await store.texts(ALL)
    await store.keep_text("shop", kept.id, kept.sealed, life=60_000, most=9)

    assert [text.text for text in await inbox.list("shop")] == [""]
    assert b"planted" not in kept.sealed
    assert b"62811" not in kept.sealed


async def test_without_the_store_a_text_is_not_taken(keyring: Keyring, clock: Clock) -> None:
    class Away(MemoryStore):
        async def keep_text(self, scope: str, id: str, sealed: bytes, *, life: int, most: int) -> bool:
            raise StoreUnavailable

    with pytest.raises(StoreUnavailable):
        await Inbox(Away(clock), keyring, Keep()).take(incoming())
