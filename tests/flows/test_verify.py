"""Create, check and tell, over a real store: what one and two nodes promise."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

import pytest
from msgspec import structs

from otpsvc.errors import (
    BadRequest,
    CheckRefused,
    HashPoolFull,
    KeyNotOffered,
    KeyReused,
    KeyringError,
    Limited,
    NotFound,
    NotVerified,
)
from otpsvc.keyring import KeyEntry
from otpsvc.letter import open_personal
from otpsvc.message import MessageState
from otpsvc.tenant import Limits, Rate
from tests.far_ends.valkey import ValkeyServer
from tests.flows.conftest import NewNode
from tests.flows.rig import Node, Outlet, new_key, tenant, with_codes, wrong
from tests.waiting import stays, until


async def code_of(outlet: Outlet, at: int = -1) -> str:
    await until(lambda: len(outlet.taken) >= (at + 1 if at >= 0 else 1))
    return outlet.taken[at].code


async def outcomes(node: Node, codes: list[str], **more: str) -> Counter[str]:
    """What many checks at once answered, by word."""

    async def one(code: str) -> str:
        try:
            return (await node.check(code, **more)).state
        except (CheckRefused, Limited) as refused:
            return refused.code

    return Counter(await asyncio.gather(*map(one, codes)))


async def test_it_works(new_node: NewNode) -> None:
    mail = Outlet()
    node = await new_node(mail=mail)

    created = await node.create(extra='{"cart": 7}')
    code = await code_of(mail)
    with pytest.raises(CheckRefused) as refused:
        await node.check(wrong(code))
    verified = await node.check(code)
    status = await node.status()

    assert (created.attempts, created.otp, created.closed, created.ttl) == (0, "", False, 300)
    assert refused.value.code == "wrong_code"
    assert (verified.closed, verified.attempts, verified.to) == (True, 2, "anna@home.example")
    assert (status.closed, bytes(status.extra)) == (True, b'{"cart": 7}')
    assert code in mail.taken[0].text
    assert mail.taken[0].to == "anna@home.example"


@pytest.mark.parametrize("scheme", ["hmac-sha256", "argon2id"])
async def test_a_code_verifies_once(new_node: NewNode, scheme: str) -> None:
    mail = Outlet()
    owner = with_codes(tenant(), hash=scheme, max_attempts=100, max_attempts_cap=100)
    one, two = await new_node(owner, mail=mail), await new_node(owner, mail=mail)
    await one.create()
    code = await code_of(mail)

    seen = await outcomes(one, [code] * 50) + await outcomes(two, [code] * 50)

    assert seen == {"verified": 1, "closed": 99}


@pytest.mark.parametrize("scheme", ["hmac-sha256", "argon2id"])
async def test_500_parallel_wrong_guesses_over_two_nodes(new_node: NewNode, scheme: str) -> None:
    mail = Outlet()
    owner = with_codes(tenant(), hash=scheme)
    one, two = await new_node(owner, mail=mail, waiting=500), await new_node(owner, mail=mail, waiting=500)
    await one.create()
    code = await code_of(mail)
    guesses = [f"{n:06}" for n in range(500) if f"{n:06}" != code][:250]

    first, second = await asyncio.gather(outcomes(one, guesses), outcomes(two, guesses))

    assert first + second == {"wrong_code": 5, "locked": 495}
    assert await outcomes(one, [code]) == {"locked": 1}


@pytest.mark.parametrize("attempts", [1, 2, 5])
async def test_the_last_permitted_attempt_succeeds(new_node: NewNode, attempts: int) -> None:
    mail = Outlet()
    node = await new_node(mail=mail)
    await node.create(max_attempts=str(attempts))
    code = await code_of(mail)

    await outcomes(node, [wrong(code)] * (attempts - 1))

    assert (await node.check(code)).attempts == attempts


async def test_a_code_for_one_address_never_verifies_another(new_node: NewNode) -> None:
    mail = Outlet()
    node = await new_node(mail=mail)
    await node.create(to="anna@home.example")
    first = await code_of(mail, 0)
    await outcomes(node, [wrong(first)])

    again = await node.create(to="bert@home.example")
    second = await code_of(mail, 1)

    assert (again.attempts, again.generate) == (1, 2)
    if first != second:
        assert await outcomes(node, [first]) == {"wrong_code": 1}
    assert (await node.check(second)).to == "bert@home.example"


async def test_a_message_to_the_old_address_is_not_sent(new_node: NewNode) -> None:
    mail = Outlet()
    node = await new_node(mail=mail, start=False)
    await node.create(to="anna@home.example")
    await node.create(to="bert@home.example")

    node.courier.start()
    await until(lambda: mail.taken)
    await stays(lambda: len(mail.taken) == 1)

    assert [message.to for message in mail.taken] == ["bert@home.example"]


async def test_a_resend_sends_the_same_code(new_node: NewNode) -> None:
    mail = Outlet()
    node = await new_node(mail=mail)
    await node.create()

    await code_of(mail, 0)
    await node.verifier.resend(node.tenants["shop"], "user-123")
    await code_of(mail, 1)
    await node.create()
    await code_of(mail, 2)

    assert len({message.code for message in mail.taken}) == 1
    assert len({message.id for message in mail.taken}) == 3


async def test_another_form_of_code_is_another_generation(new_node: NewNode) -> None:
    mail = Outlet()
    node = await new_node(mail=mail)
    first = await node.create()
    node.tenants["shop"] = with_codes(tenant(), length=8, alphabet="letters")

    second = await node.create()
    await code_of(mail, 1)

    assert first.gen != second.gen
    assert len(mail.taken[1].code) == 8
    assert (await node.check(mail.taken[1].code)).closed


async def test_a_repeated_resend_sends_once(new_node: NewNode) -> None:
    mail = Outlet()
    node = await new_node(mail=mail)
    await node.create()
    await code_of(mail, 0)

    views = await asyncio.gather(
        *(node.verifier.resend(node.tenants["shop"], "user-123", op=b"8 bytes.") for _ in range(5))
    )
    await code_of(mail, 1)
    await stays(lambda: len(mail.taken) == 2)

    assert ({view.generate for view in views}, len(mail.taken)) == ({2}, 2)


async def test_a_resend_with_a_slow_hash_replaces_the_code(new_node: NewNode) -> None:
    mail = Outlet()
    node = await new_node(with_codes(tenant(), hash="argon2id", length=10), mail=mail)
    await node.create()
    first = await code_of(mail, 0)

    await node.verifier.resend(node.tenants["shop"], "user-123")
    second = await code_of(mail, 1)

    assert first != second
    assert await outcomes(node, [first]) == {"wrong_code": 1}
    assert (await node.check(second)).closed


async def test_sends_are_counted_apart_and_exactly(new_node: NewNode) -> None:
    node = await new_node()
    await node.create(max_generate="2")
    await node.create()

    with pytest.raises(Limited) as refused:
        await node.create()

    assert refused.value.code == "sends_exhausted"
    assert isinstance(refused.value.data, dict)
    assert set(refused.value.data) == {"ttl_seconds", "attempts", "max_attempts"}


async def test_a_supplied_code_is_echoed_once_and_cannot_be_resent(new_node: NewNode) -> None:
    mail = Outlet()
    node = await new_node(mail=mail)

    created = await node.create(otp="482913")
    assert await code_of(mail) == "482913"

    assert created.otp == "482913"
    assert (await node.read()).otp == ""
    with pytest.raises(BadRequest, match="send `otp` again"):
        await node.verifier.resend(node.tenants["shop"], "user-123")
    assert (await node.check("482913")).otp == ""


async def test_an_idempotency_key_gives_the_first_answer(new_node: NewNode) -> None:
    mail = Outlet()
    node = await new_node(tenant(limits=Limits()), mail=mail)

    first = await node.create(key="k1", id="user-123")
    second = await node.create(key="k1", id="user-123")
    await code_of(mail)
    with pytest.raises(KeyReused):
        await node.create(key="k1", id="user-123", to="bert@home.example")
    both = await asyncio.gather(
        *(node.create(key="k2", id="user-456", to="c@home.example") for _ in range(2)), return_exceptions=True
    )

    assert first == second
    assert len(mail.taken) <= 2
    assert [type(answer).__name__ for answer in both].count("View") >= 1
    assert {type(answer).__name__ for answer in both} <= {"View", "StillRunning"}


async def test_an_idempotency_key_outlives_a_rotation(new_node: NewNode, entry: KeyEntry) -> None:
    before = await new_node(start=False)
    after = await new_node(
        entries=(KeyEntry(entry.id, "accept", secret=entry.secret), new_key()), start=False
    )

    first, again = await before.create(key="k1"), await after.create(key="k1")

    assert structs.replace(again, url="") == structs.replace(first, url="")


async def test_a_refused_create_frees_its_key_and_its_place(new_node: NewNode) -> None:
    node = await new_node(tenant(limits=Limits(waits=(30,), destination=(Rate(2, 60),))))
    await node.create()
    for _ in range(5):
        with pytest.raises(Limited, match="sent already"):
            await node.create(key="k1")

    other = await node.create(id="user-456")

    assert other.generate == 1


async def test_a_destination_is_guarded_over_all_tenants(new_node: NewNode) -> None:
    limits = Limits(destination=(Rate(2, 60),))
    node = await new_node(tenant("shop", limits=limits), tenant("bank", limits=limits))
    await node.create("shop", to="Anna+a@Home.example")
    await node.create("bank", to="anna+b@home.example")

    with pytest.raises(Limited) as refused:
        await node.create("shop", id="user-456", to="anna@home.example")

    assert refused.value.code == "destination_limit"
    assert 0 < refused.value.retry_after <= 60


async def test_wrong_checks_of_a_destination_outlive_ids(new_node: NewNode) -> None:
    mail = Outlet()
    limits = Limits(waits=(), destination=(), wrong_checks_client=Rate(3, 60))
    node = await new_node(tenant(limits=limits), mail=mail)
    for n in range(3):
        await node.create(id=f"user-{n}00")
        await outcomes(node, ["x"], id=f"user-{n}00")
    await node.create(id="user-999")
    await until(lambda: len(mail.taken) == 4)
    [code] = [message.code for message in mail.taken if message.record["id"] == "user-999"]

    assert await outcomes(node, [code], id="user-999") == {"check_limit": 1}
    assert (await node.read(id="user-999")).attempts == 0

    await node.verifier.reset_budget(node.tenants["shop"], "mail", "anna@home.example")
    assert (await node.check(code, id="user-999")).closed


async def test_an_authentication_needs_its_receipt_once(new_node: NewNode) -> None:
    mail = Outlet()
    node = await new_node(mail=mail)
    await node.create(purpose="authentication")
    receipt = (await node.check(await code_of(mail))).receipt

    other = "B" if receipt[0] == "A" else "A"
    for bad in ("", "x" * 60, other + receipt[1:]):
        with pytest.raises(NotVerified):
            await node.status(receipt=bad)
    assert (await node.status(receipt=receipt)).closed
    with pytest.raises(NotVerified):
        await node.status(receipt=receipt)


async def test_an_older_success_does_not_answer_for_a_newer_create(new_node: NewNode) -> None:
    mail = Outlet()
    node = await new_node(mail=mail)
    first = await node.create()
    await node.check(await code_of(mail))
    second = await node.create()

    with pytest.raises(NotVerified):
        await node.status(gen=second.gen)
    with pytest.raises(NotFound):
        await node.status(gen=first.gen)


async def test_consume_forgets_and_cancel_kills(new_node: NewNode) -> None:
    mail = Outlet()
    node = await new_node(mail=mail)
    await node.create()
    await node.check(await code_of(mail))
    assert (await node.status(consume=True)).closed
    with pytest.raises(NotFound):
        await node.status()
    assert (await node.create()).attempts == 0

    code = await code_of(mail, 1)
    assert (await node.verifier.cancel(node.tenants["shop"], "user-123")).state == "cancelled"
    assert await outcomes(node, [code]) == {"not_found": 1}


async def test_a_key_rotated_on_one_node_only_burns_no_attempt(new_node: NewNode, entry: KeyEntry) -> None:
    mail = Outlet()
    fresh = new_key()
    ahead = await new_node(entries=(KeyEntry(entry.id, "accept", secret=entry.secret), fresh), mail=mail)
    behind = await new_node(start=False)
    created = await ahead.create()
    code = await code_of(mail)

    with pytest.raises(KeyNotOffered):
        await behind.check(code)

    assert created.attempts == 0
    assert (await ahead.check(code)).attempts == 1


async def test_a_full_hash_pool_burns_no_attempt(new_node: NewNode) -> None:
    mail = Outlet()
    node = await new_node(with_codes(tenant(), hash="argon2id"), mail=mail, waiting=-1)
    await node.create()
    code = await code_of(mail)

    full = threading.Event()
    holding = asyncio.create_task(node.pool.run(full.wait))
    await asyncio.sleep(0)
    answers = await asyncio.gather(*(node.check(wrong(code)) for _ in range(4)), return_exceptions=True)
    full.set()
    await holding

    assert [type(answer) for answer in answers] == [HashPoolFull] * 4
    assert (await node.read()).attempts == 0
    assert await outcomes(node, [wrong(code)]) == {"wrong_code": 1}
    assert (await node.read()).attempts == 1


async def test_a_blob_moved_to_another_record_is_refused(new_node: NewNode, server: ValkeyServer) -> None:
    node = await new_node(start=False)
    await node.create(id="user-123", to="anna@home.example")
    await node.create(id="user-456", to="mallory@evil.example")
    names = [node.verifier.keyring.name("id", "shop", id) for id in ("user-123", "user-456")]
    answers = [await node.store.read("shop", name) for name in names]
    assert answers[1].record is not None

    with pytest.raises(KeyringError):
        open_personal(node.verifier.keyring, answers[1].record.blob, "shop", names[0], route="mail")


async def test_reading_changes_nothing(new_node: NewNode, server: ValkeyServer) -> None:
    mail = Outlet()
    node = await new_node(mail=mail)
    await node.create()
    await code_of(mail)
    await until(lambda: node.courier.in_flight == 0)
    name = "otp:{shop}:" + node.verifier.keyring.name("id", "shop", "user-123")
    before = server.ask("GET", name)

    for _ in range(3):
        await node.read()
        with pytest.raises(NotVerified):
            await node.status()

    assert server.ask("GET", name) == before
    assert (await node.read()).message.state == MessageState.SENT


async def test_limits_of_a_live_record_are_never_raised(new_node: NewNode) -> None:
    node = await new_node()
    await node.create(max_attempts="3")

    again = await node.create(max_attempts="9")

    assert again.max_attempts == 3
