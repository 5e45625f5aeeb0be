"""Waits between sends, the most sends and attempts, and the budgets of sends and wrong checks."""

from __future__ import annotations

import pytest

from otpsvc.challenge import Flag, State
from otpsvc.message import MessageState
from otpsvc.refusal import seconds
from otpsvc.store import Store
from otpsvc.tenant import Rate
from tests.stores.places import Place
from tests.stores.steps import (
    ALICE,
    BANK,
    BIG,
    HERE,
    MALLORY,
    OTHER,
    RIGHT,
    SHOP,
    SLACK,
    THERE,
    WRONG,
    N,
    claim,
    creation,
    finish,
    guess,
    lasts,
    op,
    resend,
    without_address,
)

WAITS = (30, 60, 120)


async def test_waits_grow_between_sends_and_the_last_repeats(place: Place) -> None:
    store, asked = place.store, {"waits": WAITS, "max_sends": 9}
    record = (await store.create(creation(**asked))).record
    assert record
    for at, wait in enumerate((30, 60, 120, 120)):
        refused = await store.create(creation(**asked))
        assert refused.outcome == "wait"
        assert lasts(store, refused.wait, wait)
        assert refused.record
        assert refused.record.sends == at + 1
        assert refused.record.wait_left(refused.now) == seconds(refused.wait)
        assert lasts(store, (await store.resend(resend(record.gen, waits=WAITS))).wait, wait)
        place.advance(wait - SLACK)
        assert (await store.resend(resend(record.gen, waits=WAITS))).outcome == "wait"
        place.advance(SLACK)
        again = creation(**asked) if at % 2 else None
        answer = await (store.create(again) if again else store.resend(resend(record.gen, waits=WAITS)))
        assert answer.outcome == "created"


async def test_a_refused_send_changes_nothing(place: Place) -> None:
    store = place.store
    await store.create(creation(waits=WAITS))
    before = place.contents()

    assert (await store.create(creation(waits=WAITS, digest=OTHER, max_attempts=1))).outcome == "wait"
    assert place.contents() == before


async def test_another_destination_need_not_wait(store: Store) -> None:
    await store.create(creation(waits=WAITS))

    answer = await store.create(creation(waits=WAITS, dest=THERE))
    assert answer.outcome == "created"
    # It has its own wait, that of a second send.
    refused = await store.create(creation(waits=WAITS, dest=THERE))
    assert refused.outcome == "wait"
    assert lasts(store, refused.wait, 60)


async def test_with_waits_off_nobody_waits(store: Store) -> None:
    await store.create(creation())
    assert (await store.create(creation())).outcome == "created"


async def test_a_wait_lasts_over_a_cancel(store: Store) -> None:
    await store.create(creation(waits=WAITS))
    await store.cancel(SHOP, N, op())

    assert (await store.create(creation(waits=WAITS))).outcome == "wait"


@pytest.mark.parametrize("how", ["create", "resend"])
async def test_a_failed_send_starts_no_wait(store: Store, how: str) -> None:
    record = (await store.create(creation(waits=WAITS))).record
    [claimed] = await claim(store)
    await finish(store, claimed, MessageState.FAILED, reason="no such number")

    assert record
    step = store.create(creation(waits=WAITS)) if how == "create" else store.resend(resend(record.gen))
    assert (await step).outcome == "created"


async def test_sends_run_out_over_create_resend_and_destination(store: Store) -> None:
    record = (await store.create(creation(max_sends=3))).record
    assert record
    assert (await store.resend(resend(record.gen))).outcome == "created"
    other = (await store.create(creation(dest=THERE))).record
    assert other
    assert other.sends == 3

    for answer in (
        await store.create(creation()),
        await store.create(creation(dest=THERE)),
        await store.resend(resend(other.gen)),
    ):
        assert answer.outcome == "sends"
        assert lasts(store, answer.wait, 300)
    # What sends nothing is no send.
    assert (await store.create(without_address())).outcome == "created"


async def test_attempts_run_out_and_no_send_brings_them_back(place: Place) -> None:
    store = place.store
    record = (await store.create(creation(max_attempts=2))).record
    await store.check(guess(WRONG))
    await store.create(creation(dest=THERE))
    last = await store.check(guess(WRONG))
    assert last.outcome == "wrong"
    assert last.record
    assert last.record.state == State.LOCKED

    assert record
    for answer in (
        await store.check(guess(RIGHT)),
        await store.create(creation(max_attempts=9)),
        await store.create(creation(max_attempts=9, dest=HERE)),
        await store.resend(resend(record.gen)),
    ):
        assert answer.outcome == "locked"
        assert lasts(store, answer.wait, 300)
    assert await claim(store) == []
    place.advance(300)
    assert (await store.create(creation())).outcome == "created"


# --- the tenant's sends ----------------------------------------------------


async def test_the_tenants_sends_are_counted(place: Place) -> None:
    store, sends = place.store, Rate(3, 60)
    record = (await store.create(creation(sends=sends))).record
    assert record
    await store.resend(resend(record.gen, sends=sends))
    await store.create(without_address(n="no address", sends=sends))
    place.advance(20)
    await store.create(creation(n="other", sends=sends))

    for answer in (
        await store.create(creation(n="new", sends=sends)),
        await store.resend(resend(record.gen, sends=sends)),
    ):
        assert answer.outcome == "budget"
        assert lasts(store, answer.wait, 40)
    assert (await store.read(SHOP, "new")).outcome == "unknown"
    assert (await store.create(creation(tenant=BANK, sends=sends))).outcome == "created"
    assert (await store.create(creation(n="new"))).outcome == "created", "None: switched off"
    place.advance(40)
    assert (await store.create(creation(n="newer", sends=sends))).outcome == "created"


async def test_a_send_refused_for_another_reason_costs_the_tenant_nothing(store: Store) -> None:
    sends = Rate(2, 60)
    await store.create(creation(sends=sends, waits=WAITS))
    assert (await store.create(creation(sends=sends, waits=WAITS))).outcome == "wait"

    assert (await store.create(creation(n="other", sends=sends))).outcome == "created"


# --- wrong checks ----------------------------------------------------------


async def wrong_checks(
    store: Store, count: int, n: str, client: bytes = ALICE, **changes: object
) -> list[str]:
    """Outcomes of wrong checks of one challenge that may take many."""
    await store.create(creation(n=n, max_attempts=100, **changes))
    return [
        (await store.check(guess(WRONG, n=n, client=client, limits=LIMITS))).outcome for _ in range(count)
    ]


LIMITS = (Rate(3, 60), Rate(5, 60), Rate(2, 60))


async def test_a_client_has_so_many_wrong_checks_for_one_destination(place: Place) -> None:
    store = place.store
    assert await wrong_checks(store, 2, "one") == ["wrong"] * 2
    place.advance(20)
    assert await wrong_checks(store, 2, "two") == ["wrong", "budget"]

    refused = await store.check(guess(RIGHT, n="one", limits=LIMITS))
    assert refused.outcome == "budget"
    assert lasts(store, refused.wait, 40)
    assert refused.record
    assert refused.record.attempts == 2
    place.advance(40)
    assert (await store.check(guess(RIGHT, n="one", limits=LIMITS))).outcome == "verified"


async def test_a_stranger_does_not_use_up_the_owners_budget(store: Store) -> None:
    assert await wrong_checks(store, 4, "one", MALLORY) == ["wrong", "wrong", "wrong", "budget"]

    assert (await store.check(guess(RIGHT, n="one", client=ALICE, limits=LIMITS))).outcome == "verified"


async def test_all_clients_together_have_a_budget_too(store: Store) -> None:
    assert await wrong_checks(store, 3, "one", MALLORY) == ["wrong"] * 3
    assert await wrong_checks(store, 3, "two", b"third   ") == ["wrong", "wrong", "budget"]

    assert (await store.check(guess(RIGHT, n="one", client=ALICE, limits=LIMITS))).outcome == "budget"


async def test_budgets_are_apart_by_destination_purpose_and_tenant(store: Store) -> None:
    await wrong_checks(store, 3, "one")

    assert await wrong_checks(store, 1, "two") == ["budget"]
    assert await wrong_checks(store, 1, "three", dest=THERE) == ["wrong"]
    assert await wrong_checks(store, 1, "four", purpose=1) == ["wrong"]
    await store.create(creation(tenant=BANK))
    assert (await store.check(guess(WRONG, tenant=BANK, limits=LIMITS))).outcome == "wrong"


async def test_a_right_code_clears_the_clients_own_wrong_checks_alone(store: Store) -> None:
    assert await wrong_checks(store, 2, "one", MALLORY) == ["wrong"] * 2
    assert await wrong_checks(store, 2, "two", ALICE) == ["wrong"] * 2
    await store.check(guess(RIGHT, n="two", limits=LIMITS))

    assert await wrong_checks(store, 3, "three", ALICE) == ["wrong"] * 3, "2 of mallory and 3 of alice are 5"
    assert await wrong_checks(store, 1, "four", MALLORY) == ["budget"]


async def test_trusted_challenges_have_a_small_budget_of_their_own(store: Store) -> None:
    trusted = int(Flag.TRUSTED)
    await wrong_checks(store, 3, "one")

    assert await wrong_checks(store, 2, "two", flags=trusted) == ["wrong"] * 2
    for client in (ALICE, MALLORY):
        assert await wrong_checks(store, 1, "three", client, flags=trusted) == ["budget"]


async def test_a_trusted_success_clears_its_own(store: Store) -> None:
    trusted = int(Flag.TRUSTED)
    await wrong_checks(store, 1, "one", flags=trusted)
    await store.check(guess(RIGHT, n="one", limits=LIMITS))

    assert await wrong_checks(store, 3, "two", flags=trusted) == ["wrong", "wrong", "budget"]


async def test_a_budget_can_be_reset(store: Store) -> None:
    for purpose in range(3):
        await wrong_checks(store, 3, f"plain{purpose}", purpose=purpose)
        await wrong_checks(store, 2, f"trusted{purpose}", purpose=purpose, flags=int(Flag.TRUSTED))
    await wrong_checks(store, 3, "there", dest=THERE)
    await store.reset_budget(SHOP, HERE)

    for n in (f"{kind}{purpose}" for kind in ("plain", "trusted") for purpose in range(3)):
        assert (await store.check(guess(RIGHT, n=n, limits=LIMITS))).outcome == "verified"
    assert (await store.check(guess(RIGHT, n="there", limits=LIMITS))).outcome == "budget"


async def test_without_limits_nothing_is_counted(store: Store) -> None:
    await store.create(creation(max_attempts=100))
    for _ in range(10):
        assert (await store.check(guess(WRONG))).outcome == "wrong"

    assert await wrong_checks(store, 1, "two") == ["wrong"]
    assert (await store.check(guess(WRONG, limits=BIG))).outcome == "wrong"


async def test_a_budget_that_refuses_costs_no_attempt(store: Store) -> None:
    await wrong_checks(store, 3, "one")
    for _ in range(3):
        await store.check(guess(WRONG, n="one", limits=LIMITS))

    record = (await store.read(SHOP, "one")).record
    assert record
    assert record.attempts == 3
