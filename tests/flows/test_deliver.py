"""Messages on their way: outcomes, retries, fallback, leases, deadlines, events; over a real store."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from otpsvc.address import ANY
from otpsvc.deliver import News
from otpsvc.errors import CheckRefused, NotFound
from otpsvc.message import MessageState
from otpsvc.store import Batch
from tests.far_ends.valkey import ValkeyServer
from tests.flows.conftest import NewNode
from tests.flows.rig import Outlet, tenant, wrong
from tests.waiting import PATIENCE, stays, until

CALLBACK = {"callback_url": "https://shop.example/events", "callback_secret": "whsec_"}


def events(outlet: Outlet) -> list[tuple[str, str, str]]:
    bodies = [json.loads(message.text) for message in outlet.taken]
    return [(body["type"], body["data"]["id"], body["data"]["message"]["state"]) for body in bodies]


async def test_refused_for_good_fails_at_once_and_starts_no_wait(new_node: NewNode) -> None:
    mail, callback = Outlet(), Outlet(ANY)
    node = await new_node(tenant(**CALLBACK), mail=mail, callback=callback)
    mail.refuses(times=1)

    await node.create()
    view = await node.settled()
    await until(lambda: callback.taken)
    again = await node.create()
    await until(lambda: mail.taken)

    assert (view.state, view.message.state, view.message.reason) == ("failed", "failed", "550 at RCPT")
    assert (view.resend_in, len(mail.tried)) == (0, 2)
    assert events(callback) == [("otp.failed", "user-123", "failed")]
    assert (again.state, again.generate) == ("pending", 2)


async def test_unavailable_is_tried_again_with_the_same_id(new_node: NewNode) -> None:
    mail = Outlet()
    node = await new_node(mail=mail)
    mail.is_unavailable(times=1)

    await node.create()
    view = await node.settled()

    assert (view.message.state, view.message.uncertain) == ("sent", 0)
    assert len({message.id for message in mail.tried}) == 1
    assert len(mail.tried) == 2


async def test_a_refusal_falls_back_to_the_next_channel(new_node: NewNode) -> None:
    first, second = Outlet(), Outlet()
    node = await new_node(mail=first, spare=second, routes={"both": ("mail", "spare")})
    first.refuses()

    await node.create(provider="both")
    view = await node.settled()

    assert view.message.state == MessageState.SENT
    assert (len(first.taken), len(second.taken)) == (0, 1)


async def test_an_unavailable_channel_is_left_after_its_retries(new_node: NewNode) -> None:
    first, second = Outlet(retries=1), Outlet()
    node = await new_node(mail=first, spare=second, routes={"both": ("mail", "spare")})
    first.is_unavailable()

    await node.create(provider="both")
    await node.settled()

    assert (len(first.tried), len(second.taken)) == (2, 1)


async def test_a_lost_reply_is_sent_once_more_and_flagged(new_node: NewNode) -> None:
    mail = Outlet()
    node = await new_node(mail=mail)
    mail.loses_reply()

    await node.create()
    view = await node.settled()
    await stays(lambda: len(mail.tried) == 2, seconds=0.5)

    assert (view.message.state, view.message.uncertain) == ("sent", 2)
    assert [message.id for message in mail.tried] == [mail.tried[0].id] * 2


async def test_never_resend_leaves_a_doubt_alone(new_node: NewNode) -> None:
    mail = Outlet(on_uncertain="never_resend")
    node = await new_node(mail=mail)
    mail.loses_reply()

    await node.create()
    view = await node.settled()

    assert (view.message.state, view.message.uncertain, len(mail.tried)) == ("sent", 1, 1)


@pytest.mark.parametrize(("configured", "sent"), [(False, 0), (True, 1)])
async def test_a_doubt_falls_back_only_where_configured(
    new_node: NewNode, *, configured: bool, sent: int
) -> None:
    first = Outlet(on_uncertain="never_resend", fallback_on_uncertain=configured)
    second = Outlet()
    node = await new_node(mail=first, spare=second, routes={"both": ("mail", "spare")})
    first.loses_reply()

    await node.create(provider="both")
    await node.settled()
    await stays(lambda: len(second.taken) == sent)


async def test_a_hanging_channel_delays_no_other(new_node: NewNode) -> None:
    slow, quick = Outlet(concurrency=2, timeout=60), Outlet()
    node = await new_node(mail=slow, spare=quick)
    gate = slow.hangs()

    for n in range(5):
        await node.create(id=f"user-slow{n}")
    await node.create(id="user-123", provider="spare")
    await until(lambda: quick.taken and len(slow.tried) > 1)
    inside = len(slow.tried)
    gate.set()
    await until(lambda: len(slow.taken) == 5)

    assert inside == 2


async def test_the_time_limit_counts_as_a_doubt(new_node: NewNode) -> None:
    mail = Outlet(timeout=0.1, on_uncertain="never_resend")
    node = await new_node(mail=mail)
    mail.hangs()

    await node.create()
    view = await node.settled()

    assert (view.message.state, view.message.reason, view.message.uncertain) == ("sent", "timed out", 1)


async def test_a_dead_workers_message_is_taken_over_and_flagged(new_node: NewNode) -> None:
    mail = Outlet()
    dying, living = await new_node(start=False), await new_node(mail=mail, start=False)
    await dying.create()
    batch = await dying.store.claim("shop", "mail", "otp", limit=1, lease=300)
    assert len(batch.taken) == 1

    living.courier.start()
    view = await living.settled()
    late = await dying.store.finish(
        batch.taken[0], state=MessageState.FAILED, way=0, reason="late", uncertain=False
    )

    assert (view.message.state, view.message.uncertain) == ("sent", 1)
    assert late == "lost"


async def test_never_resend_holds_when_a_worker_died(new_node: NewNode) -> None:
    mail = Outlet(on_uncertain="never_resend")
    node = await new_node(mail=mail, start=False)
    await node.create()
    await node.store.claim("shop", "mail", "otp", limit=1, lease=50)

    node.courier.start()
    view = await node.settled()

    assert (view.message.state, view.message.reason) == ("sent", "a worker died")
    assert (view.message.uncertain > 0, mail.tried) == (True, [])


async def test_a_stale_worker_has_no_say(new_node: NewNode) -> None:
    mail = Outlet()
    dying, living = await new_node(start=False), await new_node(mail=mail, start=False)
    await dying.create()
    stale = (await dying.store.claim("shop", "mail", "otp", limit=1, lease=100)).taken[0]
    gate = mail.hangs()
    living.courier.start()
    await until(lambda: mail.tried)

    said = [
        await dying.store.beat(stale, lease=9000),
        await dying.store.later(stale, delay=0, way=0, reason="", uncertain=False),
        await dying.store.finish(stale, state=MessageState.FAILED, way=0, reason="", uncertain=False),
    ]
    gate.set()
    view = await living.settled()

    assert said == ["lost"] * 3
    assert (view.message.state, len(mail.tried)) == ("sent", 1)


async def test_a_stop_sends_what_a_claim_brings(new_node: NewNode) -> None:
    mail = Outlet()
    node = await new_node(mail=mail, start=False)
    await node.create()
    claim, claimed, go_on = node.store.claim, asyncio.Event(), asyncio.Event()

    async def slow_claim(*args: Any, **more: Any) -> Batch:
        batch = await claim(*args, **more)
        if batch.taken:
            claimed.set()
            await go_on.wait()
        return batch

    node.store.claim = slow_claim  # type: ignore[method-assign]
    node.courier.start()
    await claimed.wait()
    stopping = asyncio.create_task(node.courier.stop(PATIENCE))
    await asyncio.sleep(0)
    assert not node.courier.lease("shop", "mail"), "it has begun to stop"
    go_on.set()
    await stopping
    view = await node.read()

    assert (view.message.state, view.message.uncertain, len(mail.taken)) == ("sent", 0, 1)


async def test_a_channel_that_breaks_is_told(new_node: NewNode) -> None:
    mail = Outlet()
    node = await new_node(mail=mail)
    mail.misbehaves(ValueError("bug"), times=1)

    await node.create()
    view = await node.settled()

    assert view.message.state == MessageState.SENT
    assert [type(news.bug) for news in node.news if isinstance(news, News)] == [ValueError, type(None)]


async def test_a_slow_send_keeps_its_lease(new_node: NewNode) -> None:
    mail = Outlet()
    # Signs of life every 0.1 s: a machine would have to stand still for all the rest to lose it.
    one, two = await new_node(mail=mail, lease=3000), await new_node(mail=mail, lease=3000)
    gate = mail.hangs()

    await one.create()
    await asyncio.sleep(3.5)
    gate.set()
    view = await two.settled()

    assert (view.message.uncertain, len(mail.tried)) == (0, 1)


async def test_nothing_is_handed_over_after_the_deadline(new_node: NewNode) -> None:
    mail, callback = Outlet(), Outlet(ANY)
    node = await new_node(tenant(**CALLBACK), mail=mail, callback=callback, start=False)
    await node.create(ttl="1")

    await asyncio.sleep(1.1)
    node.courier.start()
    await until(lambda: callback.taken)

    assert mail.tried == []
    assert [event[:2] for event in events(callback)] == [("otp.expired", "user-123")]


async def test_nothing_is_handed_over_after_a_close(new_node: NewNode) -> None:
    mail = Outlet()
    node = await new_node(mail=mail, start=False)
    await node.create()
    await node.verifier.cancel(node.tenants["shop"], "user-123")

    node.courier.start()
    await stays(lambda: mail.tried == [])


async def test_every_challenge_reaches_one_final_event(new_node: NewNode) -> None:
    mail, callback = Outlet(), Outlet(ANY)
    node = await new_node(tenant(**CALLBACK), mail=mail, callback=callback)
    for id in ("user-verified", "user-locked1", "user-expired"):
        await node.create(id=id, ttl="1" if id == "user-expired" else "300")
    codes: dict[str, str] = {}

    def sent() -> bool:
        codes.update({str(message.record["id"]): message.code for message in mail.taken})
        # The third one may be over before its mail leaves.
        return {"user-verified", "user-locked1"} <= set(codes)

    await until(sent)

    await node.check(codes["user-verified"], id="user-verified")
    for _ in range(7):
        with pytest.raises(CheckRefused):
            await node.check(wrong(codes["user-locked1"]), id="user-locked1")
    await until(lambda: len(callback.taken) == 3)
    await stays(lambda: len(callback.taken) == 3)

    assert sorted(event[:2] for event in events(callback)) == [
        ("otp.expired", "user-expired"),
        ("otp.locked", "user-locked1"),
        ("otp.verified", "user-verified"),
    ]
    assert len({message.id for message in callback.taken}) == 3
    assert not any(code in message.text for message in callback.taken for code in codes.values())


async def test_an_event_is_tried_again_under_its_id(new_node: NewNode) -> None:
    mail, callback = Outlet(), Outlet(ANY)
    node = await new_node(tenant(**CALLBACK), mail=mail, callback=callback)
    callback.is_unavailable(times=1)
    await node.create()
    await until(lambda: mail.taken)
    await node.check(mail.taken[0].code)
    await until(lambda: callback.tried)

    await until(lambda: callback.taken)

    assert [message.id for message in callback.tried] == [callback.tried[0].id] * 2
    assert callback.tried[0].text == callback.tried[1].text


async def test_the_store_comes_back_in_mid_stream(server: ValkeyServer, new_node: NewNode) -> None:
    mail = Outlet()
    # What was sent and could not be noted is taken over when the lease has run out, and once.
    node = await new_node(mail=mail, lease=5000)
    gate = mail.hangs()
    await node.create()
    await until(lambda: mail.tried)

    server.kill()
    gate.set()
    mail.gate = None
    await asyncio.sleep(0.2)
    server.start()
    view = await node.settled()

    assert view.message.state == MessageState.SENT
    assert len(mail.taken) in (1, 2)
    assert view.message.uncertain == len(mail.taken) - 1


async def test_a_restart_of_a_store_that_may_lose_writes_voids(new_node: NewNode) -> None:
    with ValkeyServer(persistence="everysec") as unsafe:
        mail, callback = Outlet(), Outlet(ANY)
        node = await new_node(
            tenant(**CALLBACK), mail=mail, callback=callback, start=False, url=unsafe.url, fenced=True
        )
        await node.create()
        unsafe.kill()
        unsafe.start()

        node.courier.start()
        await until(lambda: callback.taken)
        view = await node.read()

        assert (view.state, view.message.state, view.message.reason) == (
            "failed",
            "failed",
            "store_restarted",
        )
        assert mail.tried == []
        with pytest.raises(CheckRefused):
            await node.check("123456")
        with pytest.raises(NotFound):
            await node.status()
        await node.courier.stop(grace=0.1)
