"""What pages ask of a store: an address that is named later, attempts without a token, one generation."""

from __future__ import annotations

import pytest

from otpsvc.challenge import Flag, Record
from otpsvc.store import Creation, Store
from tests.stores.places import Place
from tests.stores.steps import (
    ALICE,
    HERE,
    LEASE,
    MALLORY,
    OTHER,
    RIGHT,
    SHOP,
    THERE,
    WRONG,
    N,
    claim,
    creation,
    guess,
    slow,
    without_address,
)

COLLECTED = int(Flag.COLLECTED)


def named(record: Record, **changes: object) -> Creation:
    """The page names an address."""
    return creation(**{"gen": record.gen, "pin": record.gen, "flags": COLLECTED, **changes})


async def unsent(store: Store) -> Record:
    record = (await store.create(without_address())).record
    assert record
    return record


async def test_an_address_named_later_keeps_the_generation(store: Store) -> None:
    first = await unsent(store)
    answer = await store.create(named(first))

    assert answer.outcome == "created"
    assert answer.record
    assert (answer.record.gen, answer.record.sends, answer.record.dest) == (first.gen, 1, HERE)
    assert [claimed.gen for claimed in await claim(store)] == [first.gen]
    assert (await store.check(guess(gen=first.gen))).outcome == "verified"


async def test_a_corrected_address_replaces_code_and_message_in_one_generation(store: Store) -> None:
    first = await unsent(store)
    await store.create(named(first))
    (held,) = await claim(store)
    answer = await store.create(named(first, dest=THERE, digest=OTHER))

    assert answer.outcome == "created"
    assert answer.record
    assert (answer.record.gen, answer.record.sends, answer.record.dest) == (first.gen, 2, THERE)
    assert await store.beat(held, lease=LEASE) == "lost"
    assert (await store.check(guess(RIGHT))).outcome == "wrong"
    assert (await store.check(guess(OTHER))).outcome == "verified"


async def test_a_page_may_not_change_an_address_that_the_tenant_gave(store: Store) -> None:
    first = (await store.create(creation())).record
    assert first
    answer = await store.create(named(first, dest=THERE, digest=OTHER))

    assert answer.outcome == "changed"
    assert answer.record
    assert (answer.record.dest, answer.record.sends) == (HERE, 1)
    assert (await store.check(guess(OTHER))).outcome == "wrong"


async def test_another_way_to_the_same_address_sends_the_same_code(store: Store) -> None:
    first = (await store.create(creation())).record
    assert first
    answer = await store.create(named(first, route="sms", flags=0))

    assert answer.outcome == "created"
    assert answer.record
    assert (answer.record.digest, answer.record.route, answer.record.sends) == (first.digest, "sms", 2)


async def test_two_pages_that_name_an_address_at_once_send_one_code(store: Store) -> None:
    first = await unsent(store)
    await store.create(named(first, flags=0))

    assert (await store.create(named(first, dest=THERE, digest=OTHER))).outcome == "changed"


@pytest.mark.parametrize("what", ["older", "verified", "cancelled", "unknown"])
async def test_a_page_of_what_is_over_names_nothing(store: Store, what: str) -> None:
    first = await unsent(store)
    if what == "older":
        await store.create(without_address())
    elif what == "verified":
        await store.create(named(first))
        await store.check(guess())
    elif what == "cancelled":
        await store.cancel(SHOP, N, b"cancels.")
    n = "nobody" if what == "unknown" else N

    assert (await store.create(named(first, n=n, dest=THERE, digest=OTHER))).outcome == "changed"
    assert await claim(store) == [] or what == "verified"


async def test_a_form_that_is_posted_twice_sends_once(store: Store) -> None:
    first = await unsent(store)
    step = named(first)
    again = [await store.create(step) for _ in range(2)]

    assert [answer.outcome for answer in again] == ["created", "created"]
    assert again[1].record
    assert again[1].record.sends == 1


async def test_the_guess_of_an_older_page_counts_nothing(store: Store) -> None:
    old = (await store.create(creation())).record
    await store.create(creation(dest=THERE))
    assert old
    assert (await store.check(guess(gen=old.gen))).outcome == "unknown"
    now = (await store.read(SHOP, N)).record
    assert now
    assert now.attempts == 0


async def test_clients_without_a_token_have_few_attempts_each(store: Store) -> None:
    await store.create(creation(max_attempts=9))
    asked = [
        (await store.check(guess(WRONG, client=client, open_most=2))).outcome
        for client in (ALICE, ALICE, ALICE, MALLORY, MALLORY, MALLORY)
    ]

    assert asked == ["wrong", "wrong", "budget", "wrong", "wrong", "budget"]
    record = (await store.read(SHOP, N)).record
    assert record
    assert record.attempts == 4
    assert (await store.check(guess(RIGHT, client=ALICE, open_most=2))).outcome == "budget"
    assert (await store.check(guess(RIGHT, client=ALICE))).outcome == "verified"


async def test_a_new_create_gives_clients_without_a_token_no_new_attempts(store: Store) -> None:
    await store.create(creation())
    for _ in range(2):
        await store.check(guess(WRONG, open_most=2))
    await store.create(creation(dest=THERE))

    assert (await store.check(guess(WRONG, open_most=2))).outcome == "budget"


async def test_what_counts_clients_without_a_token_ends_with_its_challenge(place: Place) -> None:
    await place.store.create(creation(ttl=60_000))
    await place.store.check(guess(WRONG, open_most=2))

    assert place.endless() == []


async def test_a_message_keeps_when_it_was_sent(place: Place) -> None:
    from otpsvc.message import MessageState

    created = (await place.store.create(creation())).record
    (held,) = await claim(place.store)
    place.advance(20)
    await place.store.finish(held, state=MessageState.SENT, way=0, reason="", uncertain=False)
    place.advance(30)
    answer = await place.store.read(SHOP, N)

    assert created
    assert answer.record
    assert 29_000 <= answer.now - answer.record.due_at <= 45_000


async def test_a_slow_code_may_go_to_a_corrected_address(store: Store) -> None:
    first = await unsent(store)
    flags = COLLECTED | int(Flag.SLOW_HASH)
    await store.create(slow(gen=first.gen, pin=first.gen, flags=flags))
    answer = await store.create(
        slow(gen=first.gen, pin=first.gen, flags=flags, dest=THERE, digest=OTHER, salt=b"other salt")
    )

    assert answer.outcome == "created"
    assert answer.record
    assert (answer.record.salt, answer.record.gen) == (b"other salt", first.gen)
