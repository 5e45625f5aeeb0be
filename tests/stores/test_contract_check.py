"""Checks: each guess is counted once, one caller wins, what does not belong is never accepted."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from otpsvc.challenge import State
from otpsvc.message import MessageState
from otpsvc.store import Offer, Store
from otpsvc.tenant import Rate
from tests.stores.places import Place
from tests.stores.steps import (
    BIG,
    KID,
    OTHER,
    OTHER_KID,
    RIGHT,
    SHOP,
    WRONG,
    N,
    claim,
    creation,
    finish,
    guess,
    op,
    resend,
    slow,
    status,
)


async def test_a_right_code_verifies_once(store: Store) -> None:
    await store.create(creation())
    first = await store.check(guess())
    second = await store.check(guess())

    assert (first.outcome, second.outcome) == ("verified", "closed")
    assert first.record
    assert second.record
    assert (first.record.attempts, second.record.attempts) == (1, 1)
    assert second.record.state == State.VERIFIED


async def test_five_hundred_wrong_guesses_at_once_count_five(place: Place) -> None:
    nodes = [place.node(), place.node()]
    await place.store.create(creation(max_attempts=5))
    answers = await asyncio.gather(*(nodes[at % 2].check(guess(WRONG, limits=BIG)) for at in range(500)))

    assert Counter(answer.outcome for answer in answers) == {"wrong": 5, "locked": 495}
    counted = sorted(a.record.attempts for a in answers if a.record and a.outcome == "wrong")
    assert counted == [1, 2, 3, 4, 5]
    assert (await place.store.check(guess(RIGHT))).outcome == "locked"


async def test_a_hundred_right_guesses_at_once_win_once(place: Place) -> None:
    nodes = [place.node(), place.node()]
    await place.store.create(creation())
    answers = await asyncio.gather(*(nodes[at % 2].check(guess(limits=BIG)) for at in range(100)))

    assert Counter(answer.outcome for answer in answers) == {"verified": 1, "closed": 99}


async def test_the_last_attempt_may_be_the_right_one(store: Store) -> None:
    await store.create(creation(max_attempts=2))
    await store.check(guess(WRONG))

    assert (await store.check(guess())).outcome == "verified"
    assert (await store.check(guess())).outcome == "closed"


async def test_what_is_not_there_is_unknown(place: Place) -> None:
    store = place.store
    answer = await store.check(guess())
    assert (answer.outcome, answer.record, answer.wait) == ("unknown", None, 0)
    await store.create(creation(ttl=60_000))
    place.advance(40)
    assert (await store.check(guess(WRONG))).outcome == "wrong"
    place.advance(20)
    late = await store.check(guess())
    assert (late.outcome, late.record) == ("unknown", None)


async def test_what_was_cancelled_is_closed(store: Store) -> None:
    await store.create(creation())
    await store.cancel(SHOP, N, op())

    answer = await store.check(guess())
    assert answer.outcome == "closed"
    assert answer.record
    assert (answer.record.state, answer.record.attempts) == (State.CANCELLED, 0)


OFFERS = {
    "another key": (Offer("h", OTHER_KID, RIGHT),),
    "another scheme": (Offer("a", KID, RIGHT),),
    "nothing": (),
}


@pytest.mark.parametrize("offers", OFFERS)
async def test_a_digest_by_another_key_or_scheme_counts_nothing(place: Place, offers: str) -> None:
    await place.store.create(creation())
    before = place.contents()
    answer = await place.store.check(guess(offers=OFFERS[offers], limits=BIG))

    assert answer.outcome == "offer"
    assert answer.record
    assert (answer.record.kid, answer.record.attempts) == (KID, 0)
    assert place.contents() == before


async def test_the_offer_of_the_records_key_counts(store: Store) -> None:
    await store.create(creation())
    mixed = (Offer("h", OTHER_KID, RIGHT), Offer("h", KID, WRONG), Offer("a", KID, RIGHT))
    assert (await store.check(guess(offers=mixed))).outcome == "wrong"

    right = (Offer("h", OTHER_KID, WRONG), Offer("h", KID, RIGHT))
    assert (await store.check(guess(offers=right))).outcome == "verified"


async def test_a_guess_that_was_hashed_with_another_salt_counts_nothing(store: Store) -> None:
    record = (await store.create(slow())).record
    assert record
    offers = (Offer("a", KID, RIGHT),)
    await store.resend(resend(record.gen, kid=KID, digest=OTHER, salt=b"s"))

    answer = await store.check(guess(offers=offers, salt=record.salt))
    assert answer.outcome == "offer"
    assert answer.record
    assert (answer.record.attempts, answer.record.salt) == (0, b"s")
    assert (await store.check(guess(offers=(Offer("a", KID, OTHER),), salt=b"s"))).outcome == "verified"


async def test_a_verified_challenge_stays_five_minutes(place: Place) -> None:
    await place.store.create(creation(ttl=60_000))
    place.advance(40)
    await place.store.check(guess())
    place.advance(280)
    assert await status(place.store) == "verified"

    place.advance(20)
    assert await status(place.store) in ("expired", "unknown")


async def test_a_verified_challenge_keeps_its_longer_life(place: Place) -> None:
    await place.store.create(creation(ttl=3_600_000))
    answer = await place.store.check(guess())

    assert answer.record
    assert answer.record.deadline_after == 3_600_000


@pytest.mark.parametrize("how", ["verified", "locked"])
async def test_what_is_decided_is_not_sent_any_more(store: Store, how: str) -> None:
    await store.create(creation(max_attempts=1, body=b"sealed code"))
    answer = await store.check(guess(RIGHT if how == "verified" else WRONG))

    assert answer.record
    assert (answer.record.message_state, answer.record.body) == (MessageState.NONE, b"")
    assert await claim(store) == []


async def test_a_code_that_failed_on_its_way_still_verifies(store: Store) -> None:
    """It may have come through all the same."""
    await store.create(creation())
    [claimed] = await claim(store)
    await finish(store, claimed, MessageState.FAILED)

    assert (await store.check(guess())).outcome == "verified"


async def test_closing_op_is_the_one_that_verified_this_generation(store: Store) -> None:
    await store.create(creation())
    first, second = op(), op()
    await store.check(guess(op=first))
    await store.create(creation(digest=OTHER))
    answer = await store.check(guess(OTHER, op=second))

    assert answer.record
    assert answer.record.closing_op() == second


# --- asked again -----------------------------------------------------------


async def test_a_check_asked_again_gets_the_first_answer(store: Store) -> None:
    await store.create(creation(max_attempts=2))
    wrong, right = guess(WRONG), guess(RIGHT)
    for _ in range(3):
        answer = await store.check(wrong)
        assert answer.outcome == "wrong"
        assert answer.record
        assert answer.record.attempts == 1
    for _ in range(3):
        assert (await store.check(right)).outcome == "verified"
    assert (await store.check(wrong)).outcome == "wrong"


async def test_the_locking_check_asked_again_is_still_wrong(store: Store) -> None:
    await store.create(creation(max_attempts=1))
    last = guess(WRONG)

    assert [(await store.check(last)).outcome for _ in range(2)] == ["wrong", "wrong"]


async def test_a_check_of_an_older_generation_asked_again_does_not_open_the_newer_one(store: Store) -> None:
    """Else its answer would carry a receipt of a generation that nobody verified."""
    await store.create(creation())
    old = guess(RIGHT)
    await store.check(old)
    await store.create(creation(digest=OTHER))
    again = await store.check(old)

    assert again.outcome == "closed"
    assert again.record
    assert (again.record.attempts, again.record.state, again.record.closing_op()) == (1, State.OPEN, b"")


async def test_the_wrong_check_of_an_older_generation_is_not_counted_again(store: Store) -> None:
    await store.create(creation())
    old = guess(WRONG)
    await store.check(old)
    await store.create(creation(digest=OTHER, purpose=1))

    again = await store.check(old)
    assert again.outcome == "wrong"
    assert again.record
    assert again.record.attempts == 1


async def test_a_create_and_a_resend_asked_again_send_once(store: Store) -> None:
    create = creation(max_sends=9)
    record = (await store.create(create)).record
    again = (await store.create(create)).record
    assert again == record
    assert record
    resent = resend(record.gen)
    first = (await store.resend(resent)).record
    [claimed] = await claim(store)
    await finish(store, claimed)
    second = await store.resend(resent)

    assert second.outcome == "created"
    assert first
    assert second.record
    assert (first.sends, second.record.sends) == (2, 2)
    assert await claim(store) == []


async def test_a_slow_resend_asked_again_keeps_its_new_code(store: Store) -> None:
    record = (await store.create(slow())).record
    assert record
    asked = resend(record.gen, kid=KID, digest=OTHER, salt=b"s")
    await store.resend(asked)
    again = await store.resend(asked)

    assert again.outcome == "created"
    assert again.record
    assert (again.record.salt, again.record.sends) == (b"s", 2)


async def test_the_tenants_sends_are_counted_once_when_asked_again(store: Store) -> None:
    create = creation(sends=Rate(2, 60))
    for _ in range(3):
        assert (await store.create(create)).outcome == "created"
    record = (await store.read(SHOP, N)).record
    assert record
    resent = resend(record.gen, sends=Rate(2, 60))
    for _ in range(3):
        assert (await store.resend(resent)).outcome == "created"

    assert (await store.resend(resend(record.gen, sends=Rate(2, 60)))).outcome == "budget"
