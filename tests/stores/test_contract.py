"""Create and resend: one challenge, its generations, its sends. Held by every store."""

from __future__ import annotations

import pytest

from otpsvc.challenge import MESSAGE_STATES, Flag, State
from otpsvc.message import MessageState
from otpsvc.store import Creation, Offer, Store
from tests.stores.places import Place
from tests.stores.steps import (
    BANK,
    HERE,
    KID,
    LEASE,
    OTHER,
    OTHER_KID,
    RIGHT,
    SHOP,
    THERE,
    WRONG,
    N,
    claim,
    creation,
    finish,
    guess,
    op,
    resend,
    slow,
    without_address,
)


async def test_a_code_is_created_sent_and_verified(store: Store) -> None:
    created = await store.create(creation())
    [claimed] = await claim(store)
    sent = await finish(store, claimed)
    wrong = await store.check(guess(WRONG))
    verified = await store.check(guess(RIGHT))

    assert (created.outcome, sent, wrong.outcome, verified.outcome) == ("created", "ok", "wrong", "verified")
    assert verified.record
    assert verified.record.state == State.VERIFIED
    assert verified.record.message_state == MessageState.SENT


async def test_a_fresh_record_holds_what_came(store: Store) -> None:
    asked = creation(purpose=1, flags=int(Flag.TRUSTED | Flag.CALLBACK), kind=2, route="sms", waits=(30, 60))
    answer = await store.create(asked)

    record = answer.record
    assert record is not None
    assert (record.version, record.state, record.epoch) == (1, State.OPEN, 1)
    assert (record.purpose, record.flags, record.kind) == ("authentication", asked.flags, 2)
    assert (record.kid, record.gen, record.dest) == (KID, asked.gen, HERE)
    assert (record.created, record.gen_at, record.deadline_after) == (answer.now, 0, 300_000)
    assert (record.attempts, record.max_attempts, record.sends, record.max_sends) == (0, 5, 1, 4)
    assert (record.message_state, record.tries, record.uncertain, record.way) == (
        MessageState.QUEUED,
        0,
        0,
        0,
    )
    assert (record.route, record.reason, record.salt) == ("sms", "", b"")
    assert (record.blob, record.body, record.fence) == (b"sealed", b"", 1)
    assert record.wait_left(answer.now) == 30
    # Neither the digest nor the code's digest as it came: it is bound to the record.
    assert record.digest not in (RIGHT, bytes(16))


async def test_sent_again_to_the_same_address_it_is_the_same_generation(place: Place) -> None:
    store = place.store
    first = (await store.create(creation())).record
    await store.check(guess(WRONG))
    place.advance(10)
    again = await store.create(creation(gen=b"another genera..", digest=OTHER, ttl=60_000, blob=b"newer"))

    assert again.outcome == "created"
    assert first
    assert again.record
    assert (again.record.gen, again.record.digest) == (first.gen, first.digest)
    assert (again.record.attempts, again.record.sends, again.record.blob) == (1, 2, b"newer")
    assert again.record.seconds_left(again.now) == 60
    assert (await store.check(guess(OTHER))).outcome == "wrong"
    assert (await store.check(guess(RIGHT))).outcome == "verified"


NEW_GENERATIONS = {
    "another destination": creation(dest=THERE, digest=OTHER),
    "another kind of address": creation(kind=2, digest=OTHER),
    "another purpose": creation(purpose=2, digest=OTHER),
    "a supplied code": creation(flags=int(Flag.SUPPLIED), digest=OTHER),
    "a slow hash": slow(digest=OTHER),
    "no address": without_address(),
}


@pytest.mark.parametrize("change", NEW_GENERATIONS)
async def test_a_change_starts_a_new_generation(store: Store, change: str) -> None:
    """The older code never verifies, its queued message is not sent, the counters live on."""
    await store.create(creation())
    await store.check(guess(WRONG))
    asked = NEW_GENERATIONS[change]
    answer = await store.create(asked)

    record = answer.record
    assert record
    assert answer.outcome == "created"
    assert record.gen == asked.gen
    assert (record.attempts, record.sends) == (1, 2 if asked.route else 1)
    taken = [claimed.gen for claimed in await claim(store)]
    assert taken == ([asked.gen] if asked.route else [])
    old = (Offer("h", KID, RIGHT), Offer("a", KID, RIGHT))
    assert (await store.check(guess(offers=old))).outcome in ("wrong", "unsent")


@pytest.mark.parametrize("change", [name for name, c in NEW_GENERATIONS.items() if c.route])
async def test_the_code_of_a_new_generation_verifies(store: Store, change: str) -> None:
    await store.create(creation())
    await store.create(NEW_GENERATIONS[change])

    offers = (Offer("h", KID, OTHER), Offer("a", KID, OTHER))
    assert (await store.check(guess(offers=offers))).outcome == "verified"


async def test_one_digest_in_two_generations_is_stored_differently(store: Store) -> None:
    """What a thief of the store learns of one says nothing about the other."""
    first = (await store.create(creation())).record
    there = (await store.create(creation(dest=THERE))).record
    back = (await store.create(creation())).record

    assert first
    assert there
    assert back
    assert len({first.digest, there.digest, back.digest}) == 3


async def test_a_supplied_code_that_comes_again_is_the_same_generation(store: Store) -> None:
    supplied = int(Flag.SUPPLIED)
    first = (await store.create(creation(flags=supplied, digest=OTHER))).record
    same = (await store.create(creation(flags=supplied, digest=OTHER))).record
    other = (await store.create(creation(flags=supplied, digest=RIGHT))).record
    own = (await store.create(creation())).record

    assert first
    assert same
    assert other
    assert own
    assert same.gen == first.gen
    assert len({first.gen, other.gen, own.gen}) == 3


async def test_a_supplied_code_under_another_key_is_another_generation(store: Store) -> None:
    supplied = int(Flag.SUPPLIED)
    first = (await store.create(creation(flags=supplied, digest=OTHER))).record
    rotated = creation(flags=supplied, digest=b"the same code...", kid=OTHER_KID)
    second = (await store.create(rotated)).record

    assert first
    assert second
    assert (second.kid, second.gen) == (OTHER_KID, rotated.gen)


async def test_after_verification_a_create_starts_anew_and_counters_live_on(store: Store) -> None:
    first = creation()
    await store.create(first)
    await store.check(guess(WRONG))
    await store.check(guess(RIGHT))
    second = creation(digest=OTHER)
    answer = await store.create(second)

    assert answer.record
    assert answer.record.state == State.OPEN
    assert (answer.record.gen, answer.record.attempts, answer.record.sends) == (second.gen, 2, 2)
    assert (await store.check(guess(RIGHT))).outcome == "wrong"


async def test_after_cancelling_a_create_starts_anew_and_counters_live_on(store: Store) -> None:
    await store.create(creation())
    await store.check(guess(WRONG))
    await store.cancel(SHOP, N, op())
    second = creation(digest=OTHER)
    answer = await store.create(second)

    assert answer.record
    assert (answer.record.gen, answer.record.attempts, answer.record.sends) == (second.gen, 1, 2)
    assert (await store.check(guess(RIGHT))).outcome == "wrong"


async def test_limits_are_never_raised_but_may_be_lowered(store: Store) -> None:
    await store.create(creation(max_attempts=5, max_sends=4))
    raised = (await store.create(creation(max_attempts=9, max_sends=9))).record
    lowered = (await store.create(creation(max_attempts=3, max_sends=3))).record

    assert raised
    assert lowered
    assert (raised.max_attempts, raised.max_sends) == (5, 4)
    assert (lowered.max_attempts, lowered.max_sends) == (3, 3)


async def test_a_generation_never_lives_longer_than_its_cap(place: Place) -> None:
    store, asked = place.store, {"ttl": 300_000, "cap": 600_000}
    first = (await store.create(creation(**asked))).record
    place.advance(240)
    await store.create(creation(**asked))
    place.advance(160)
    third = await store.create(creation(**asked))
    assert first
    assert third.record
    assert (third.record.gen, third.record.sends) == (first.gen, 3)
    assert third.record.deadline_after == 600_000

    place.advance(150)
    assert (await store.read(SHOP, N)).outcome == "read"
    place.advance(50)
    assert (await store.check(guess())).outcome == "unknown"
    anew = (await store.create(creation(**asked))).record
    assert anew
    assert (anew.sends, anew.gen == first.gen) == (1, False)


async def test_a_code_too_old_to_live_half_its_time_again_is_replaced(place: Place) -> None:
    store, asked = place.store, {"ttl": 300_000, "cap": 600_000}
    first = (await store.create(creation(**asked))).record
    place.advance(200)
    await store.create(creation(**asked))
    place.advance(251)
    third = await store.create(creation(digest=OTHER, **asked))

    assert first
    assert third.record
    assert third.record.gen != first.gen
    assert third.record.seconds_left(third.now) == 300
    assert (await store.check(guess(RIGHT))).outcome == "wrong"
    assert (await store.check(guess(OTHER))).outcome == "verified"


async def test_without_an_address_nothing_is_sent_and_nothing_can_be_checked(store: Store) -> None:
    answer = await store.create(without_address())

    assert answer.record
    assert (answer.outcome, answer.record.sends, answer.record.message_state) == (
        "created",
        0,
        MessageState.NONE,
    )
    assert await claim(store, "") == await claim(store) == []
    unsent = await store.check(guess())
    assert unsent.outcome == "unsent"
    assert unsent.record
    assert unsent.record.attempts == 0
    assert (await store.resend(resend(answer.record.gen))).outcome == "unsent"


async def test_an_address_that_is_taken_away_again_leaves_nothing_to_check_or_send(store: Store) -> None:
    await store.create(creation())
    gone = (await store.create(without_address())).record

    assert gone
    assert (await store.check(guess())).outcome == "unsent"
    assert (await store.resend(resend(gone.gen))).outcome == "unsent"
    assert await claim(store) == await claim(store, "") == []


async def test_the_caller_may_claim_its_own_message_in_the_same_step(place: Place) -> None:
    store = place.store
    record = (await store.create(creation(lease=LEASE))).record
    assert record
    assert (record.message_state, record.tries, record.uncertain) == (MessageState.SENDING, 1, 0)
    assert await claim(store) == []

    # It died: after the lease somebody else takes over, in doubt.
    place.advance(30)
    [claimed] = await claim(store)
    assert claimed.challenge
    assert (claimed.challenge.tries, claimed.challenge.uncertain) == (2, 1)
    assert claimed.fence != record.fence


# --- apart -----------------------------------------------------------------


@pytest.mark.parametrize("other", [{"tenant": BANK}, {"n": "another id"}])
async def test_other_tenants_and_ids_are_other_challenges(store: Store, other: dict[str, str]) -> None:
    await store.create(creation())
    await store.create(creation(digest=OTHER, **other))

    assert (await store.check(guess(RIGHT, **other))).outcome == "wrong"
    assert (await store.check(guess(OTHER))).outcome == "wrong"
    assert (await store.check(guess(RIGHT))).outcome == "verified"
    assert (await store.check(guess(OTHER, **other))).outcome == "verified"


def test_every_message_state_has_its_number() -> None:
    assert tuple(MessageState) == MESSAGE_STATES
    assert isinstance(creation(), Creation)
