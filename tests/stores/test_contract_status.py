"""Read, status with its receipts, consume and cancel."""

from __future__ import annotations

import pytest

from otpsvc.challenge import Flag, State
from otpsvc.message import MessageState
from otpsvc.store import Store
from tests.stores.places import Place
from tests.stores.steps import (
    BANK,
    FREE,
    NEEDED,
    OTHER,
    SHOP,
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
    status,
)


async def verified(store: Store, **changes: object) -> tuple[bytes, bytes]:
    """A verified challenge and what its receipt says."""
    await store.create(creation(**changes))
    record = (await store.check(guess())).record
    assert record
    assert record.state == State.VERIFIED
    return record.gen, record.closing_op()


async def test_status_tells_open_from_verified(store: Store) -> None:
    assert await status(store) == "unknown"
    await store.create(creation())
    assert await status(store) == "open"
    await store.check(guess())
    assert await status(store) == "verified"
    assert await status(store) == "verified"


@pytest.mark.parametrize("how", ["locked", "cancelled"])
async def test_what_was_closed_otherwise_is_not_verified(store: Store, how: str) -> None:
    await store.create(creation(max_attempts=1))
    await (store.check(guess(WRONG)) if how == "locked" else store.cancel(SHOP, N, op()))

    assert await status(store) == "open"


# --- receipts --------------------------------------------------------------


@pytest.mark.parametrize("purpose", [0, 1, 2])
async def test_a_receipt_is_needed_by_purpose(store: Store, purpose: int) -> None:
    receipt = await verified(store, purpose=purpose)
    only = "".join("1" if at == purpose else "0" for at in range(3))
    others = "".join("0" if at == purpose else "1" for at in range(3))

    assert await status(store, needs=others) == "verified"
    assert await status(store, needs=only) == "open"
    assert await status(store, needs=only, receipt=receipt) == "verified"


@pytest.mark.parametrize("needs", [FREE, NEEDED])
async def test_a_receipt_is_spent_once(store: Store, needs: str) -> None:
    receipt = await verified(store)
    answer = await store.status(SHOP, N, op(), needs=needs, receipt=receipt)

    assert answer.outcome == "verified"
    assert answer.record
    assert answer.record.flags & Flag.RECEIPT_USED
    assert await status(store, needs=needs, receipt=receipt) == "open"
    assert await status(store, needs=NEEDED) == "open"


async def test_a_receipt_ends_by_the_clock_of_the_store(store: Store) -> None:
    receipt = await verified(store)
    now = int((await store.read(SHOP, N)).now)

    assert await status(store, needs=NEEDED, receipt=receipt, until=now - 1) == "open"
    assert await status(store, needs=NEEDED, receipt=receipt, until=now + 60_000) == "verified"


async def test_a_receipt_of_something_else_is_none_and_is_not_spent(store: Store) -> None:
    gen, closing = await verified(store)
    wrong = guess(WRONG)
    await store.check(wrong)
    for receipt in ((b"other generation", closing), (gen, op()), (gen, wrong.op), (gen, bytes(8))):
        assert await status(store, needs=NEEDED, receipt=receipt) == "open"

    assert await status(store, needs=NEEDED, receipt=(gen, closing)) == "verified"


async def test_an_operation_that_did_not_verify_is_no_receipt(store: Store) -> None:
    create, wrong = creation(), guess(WRONG)
    await store.create(create)
    await store.check(wrong)
    await store.check(guess())

    for operation in (create.op, wrong.op):
        assert await status(store, needs=NEEDED, receipt=(create.gen, operation)) == "open"


async def test_a_receipt_of_an_older_generation_is_dead(store: Store) -> None:
    gen, closing = await verified(store)
    newer = (await store.create(creation(dest=THERE, digest=OTHER))).record
    assert newer
    assert await status(store, needs=NEEDED, receipt=(gen, closing)) == "open"
    await store.check(guess(OTHER))

    assert await status(store, needs=NEEDED, receipt=(gen, closing)) == "open"
    assert await status(store, needs=NEEDED, receipt=(newer.gen, closing)) == "open"


async def test_only_the_wanted_generation_counts(store: Store) -> None:
    gen, _ = await verified(store)

    assert await status(store, gen=gen) == "verified"
    assert await status(store, gen=b"another one.....") == "unknown"


async def test_a_status_asked_again_gets_the_first_answer(store: Store) -> None:
    receipt, again = await verified(store), op()
    outcomes = [await status(store, op=again, needs=NEEDED, receipt=receipt) for _ in range(3)]

    assert outcomes == ["verified"] * 3


# --- consume ---------------------------------------------------------------


async def test_what_is_consumed_is_forgotten(store: Store) -> None:
    gen, _ = await verified(store)
    assert await status(store, consume=True) == "verified"

    assert await status(store) == "unknown"
    assert await status(store, consume=True) == "unknown"
    assert (await store.read(SHOP, N)).outcome == "unknown"
    assert (await store.cancel(SHOP, N, op())).outcome == "unknown"
    assert (await store.check(guess())).outcome == "unknown"
    assert (await store.resend(resend(gen))).outcome == "unknown"


async def test_what_is_not_verified_is_not_consumed(store: Store) -> None:
    await store.create(creation())

    assert await status(store, consume=True) == "open"
    assert await status(store, consume=True, needs=NEEDED) == "open"
    assert (await store.check(guess())).outcome == "verified"
    assert await status(store, consume=True, needs=NEEDED) == "open"
    assert await status(store) == "verified"


@pytest.mark.parametrize("needs", [FREE, NEEDED])
async def test_a_consume_asked_again_gets_the_first_answer(place: Place, needs: str) -> None:
    receipt, again = await verified(place.store), op()
    for _ in range(3):
        assert await status(place.store, op=again, needs=needs, receipt=receipt, consume=True) == "verified"

    place.advance(3)
    assert await status(place.store, op=again, consume=True) in ("unknown", "expired")


async def test_a_consumed_id_starts_from_nothing(store: Store) -> None:
    await store.create(creation())
    await store.check(guess(WRONG))
    await store.check(guess())
    await status(store, consume=True)
    record = (await store.create(creation())).record

    assert record
    assert (record.attempts, record.sends, record.flags) == (0, 1, 0)


async def test_the_answer_of_a_consume_shows_the_record_before(store: Store) -> None:
    await verified(store)
    answer = await store.status(SHOP, N, op(), needs=FREE, receipt=None, consume=True)

    assert answer.record
    assert not answer.record.flags & Flag.CONSUMED
    assert lasts(store, answer.record.deadline - answer.now, 300)


# --- read ------------------------------------------------------------------


async def test_reading_changes_nothing(place: Place) -> None:
    store = place.store
    await store.create(creation(flags=int(Flag.CALLBACK)))
    await store.create(creation(n="two"))
    await store.check(guess(n="two"))
    [claimed] = await claim(store)
    before = place.contents()
    for n in (N, "two", "three"):
        await store.read(SHOP, n)
        await store.status(SHOP, n, op(), needs=FREE, receipt=None)
        await store.status(SHOP, n, op(), needs=NEEDED, receipt=(b"g" * 16, op()))
    await store.message(SHOP, "m1")

    assert place.contents() == before
    assert claimed.n == N


async def test_reading_late_changes_nothing_and_says_expired(place: Place) -> None:
    store = place.store
    await store.create(creation(flags=int(Flag.CALLBACK)))
    place.advance(301)
    before = place.contents()

    late = await store.read(SHOP, N)
    assert late.outcome == await status(store) == "expired"
    assert late.record
    assert late.record.seconds_left(late.now) == 0
    assert (await store.cancel(SHOP, N, op())).outcome == "expired"
    assert place.contents() == before


async def test_another_tenants_challenge_is_unknown(store: Store) -> None:
    await verified(store)

    assert (await store.read(BANK, N)).outcome == "unknown"
    assert (await store.status(BANK, N, op(), needs=FREE, receipt=None)).outcome == "unknown"
    assert (await store.cancel(BANK, N, op())).outcome == "unknown"


# --- cancel ----------------------------------------------------------------


async def test_a_cancelled_code_is_neither_sent_nor_accepted(store: Store) -> None:
    await store.create(creation(body=b"sealed code"))
    answer = await store.cancel(SHOP, N, op())

    assert answer.outcome == "cancelled"
    assert answer.record
    assert (answer.record.state, answer.record.body) == (State.CANCELLED, b"")
    assert answer.record.message_state == MessageState.NONE
    assert await claim(store) == []
    assert (await store.check(guess())).outcome == "closed"


async def test_a_message_on_its_way_when_cancelled_still_gets_its_end(store: Store) -> None:
    await store.create(creation())
    [claimed] = await claim(store)
    await store.cancel(SHOP, N, op())

    assert await finish(store, claimed, uncertain=True) == "ok"
    record = (await store.read(SHOP, N)).record
    assert record
    assert (record.state, record.message_state) == (State.CANCELLED, MessageState.SENT)
    assert record.uncertain == 1


async def test_what_is_verified_or_locked_stays_so(store: Store) -> None:
    await verified(store)
    await store.create(creation(n="two", max_attempts=1))
    await store.check(guess(WRONG, n="two"))
    for n, state in ((N, State.VERIFIED), ("two", State.LOCKED)):
        answer = await store.cancel(SHOP, n, op())
        assert answer.outcome == "cancelled"
        assert answer.record
        assert answer.record.state == state
    assert await status(store) == "verified"


async def test_a_cancel_asked_again_does_not_cancel_what_came_after(store: Store) -> None:
    await store.create(creation())
    again = op()
    await store.cancel(SHOP, N, again)
    await store.create(creation())

    answer = await store.cancel(SHOP, N, again)
    assert answer.outcome == "cancelled"
    assert answer.record
    assert answer.record.state == State.OPEN


async def test_what_is_not_there_cannot_be_cancelled(store: Store) -> None:
    assert (await store.cancel(SHOP, N, op())).outcome == "unknown"
