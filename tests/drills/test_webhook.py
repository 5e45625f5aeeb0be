"""A webhook's far end that misbehaves, and what the tenant's server sees of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from standardwebhooks import WebhookVerificationError

from tests.drills.ends import SIGNING, Hook, verified
from tests.drills.place import Place, Service, table, tenant, webhook
from tests.far_ends.http_server import Misdeed, Post
from tests.waiting import until


@pytest.fixture(scope="module")
async def hook() -> AsyncIterator[Hook]:
    async with Hook() as far:
        yield far


@pytest.fixture(scope="module")
async def spare() -> AsyncIterator[Hook]:
    async with Hook() as far:
        yield far


@pytest.fixture(scope="module")
async def running(hook: Hook, spare: Hook) -> AsyncIterator[Service]:
    config = (
        tenant("shop"),
        webhook("hook", hook.url, secret=SIGNING, timeout=60.0),
        # For what is about its time limit: long enough for an answer in time.
        webhook("hasty", hook.url, secret=SIGNING, timeout=3.0),
        webhook("few", hook.url, secret=SIGNING, timeout=120.0, concurrency=10),
        webhook("plain", hook.url, secret=SIGNING, timeout=60.0, on_uncertain="never_resend"),
        webhook("spare", spare.url, secret=SIGNING, timeout=60.0),
        table("routes", both=["hook", "spare"]),
    )
    async with Place(*config) as place:
        yield await place.serve()


@pytest.fixture
def service(running: Service, hook: Hook, spare: Hook) -> Service:
    for far in (hook, spare):
        far.plan.clear()
        far.posts.clear()
        far.times.clear()
        far.always = ""
        far.retry_after = 2
    hook.release.clear()
    hook.arrived.clear()
    return running


async def test_500_and_then_200(service: Service, hook: Hook) -> None:
    hook.plan, hook.always = ["answers_500"], "answers_503_nonsense"
    await service.api.put("five-hundred", provider="hook")
    waiting = await service.api.found("five-hundred", lambda record: record["message"]["tries"] >= 2)
    assert waiting["message"]["state"] in ("queued", "sending")
    assert waiting["message"]["reason"] in ("HTTP 500", "HTTP 503")

    hook.always = ""
    message = (await service.api.settled("five-hundred"))["message"]
    assert message == {"state": "sent", "tries": len(hook.posts), "uncertain": 0, "reason": ""}
    assert len(set(hook.ids)) == 1
    codes = {verified(post)["data"]["code"] for post in hook.posts}
    assert len(codes) == 1
    assert (await service.api.check("five-hundred", codes.pop())).status == 200


async def test_429_waits_as_long_as_it_says(service: Service, hook: Hook) -> None:
    hook.plan = ["answers_429"]
    await service.api.put("too-many", provider="hook")

    message = (await service.api.settled("too-many"))["message"]
    assert (message["state"], message["tries"]) == ("sent", 2)
    first, second = hook.times
    assert second - first > 1.95
    assert len(set(hook.ids)) == 1


async def test_429_beyond_the_life_of_the_code_fails_at_once(service: Service, hook: Hook) -> None:
    hook.plan = ["answers_429"]
    hook.retry_after = 90
    await service.api.put("too-late", provider="hook", ttl="60")
    hook_said = await service.api.settled("too-late")

    assert hook_said["state"] == "failed"
    assert hook_said["message"]["reason"] == "HTTP 429"
    assert len(hook.posts) == 1


@pytest.mark.parametrize("misdeed", ["answers_200_late", "closes_after_body", "gibberish"])
async def test_a_doubt_is_posted_once_more_under_its_id_and_flagged(
    service: Service, hook: Hook, misdeed: Misdeed
) -> None:
    id = f"doubt-{misdeed}"
    hook.plan = [misdeed]
    await service.api.put(id, provider="hasty" if misdeed == "answers_200_late" else "hook")
    message = (await service.api.settled(id))["message"]

    assert (message["state"], message["uncertain"], message["tries"]) == ("sent", 1, 2)
    first, second = hook.posts
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert verified(first)["data"]["code"] == verified(second)["data"]["code"]


async def test_never_resend_leaves_a_doubt_alone(service: Service, hook: Hook) -> None:
    hook.plan = ["closes_after_body"]
    await service.api.put("once-only", provider="plain")
    message = (await service.api.settled("once-only"))["message"]

    assert (message["state"], message["uncertain"], message["tries"]) == ("sent", 1, 1)
    assert len(hook.posts) == 1


async def test_signature_holds_and_nothing_else_does(service: Service, hook: Hook) -> None:
    await service.api.put("signed-1", provider="hook")
    await until(lambda: hook.posts)
    [post] = hook.posts
    assert verified(post)["data"]["to"] == "signed-1@home.example"

    changed = post.body.replace(b"signed-1@", b"mallory1@")
    with pytest.raises(WebhookVerificationError):
        verified(Post(post.method, post.path, post.headers, changed))


@pytest.mark.parametrize("misdeed", ["answers_404", "answers_410", "redirects"])
async def test_a_refusal_goes_to_the_next_of_the_route(
    service: Service, hook: Hook, spare: Hook, misdeed: Misdeed
) -> None:
    id = f"route-{misdeed}"
    hook.always = misdeed
    await service.api.put(id, provider="both")
    message = (await service.api.settled(id))["message"]

    assert (message["state"], message["uncertain"]) == ("sent", 0)
    assert [post.path for post in hook.posts] == ["/hook"], "a redirect is not followed"
    assert [verified(post)["data"]["to"] for post in spare.posts] == [f"{id}@home.example"]
    assert spare.ids == hook.ids
    code = json.loads(spare.posts[0].body)["data"]["code"]
    assert (await service.api.check(id, code)).status == 200


async def test_unavailable_goes_to_the_next_of_the_route_after_its_retries(
    service: Service, hook: Hook, spare: Hook
) -> None:
    hook.always = "answers_500"
    await service.api.put("route-later", provider="both")

    assert (await service.api.settled("route-later"))["message"]["state"] == "sent"
    assert len(hook.posts) == 3
    assert len(spare.posts) == 1


async def test_a_doubt_does_not_go_to_the_next_of_the_route(
    service: Service, hook: Hook, spare: Hook
) -> None:
    hook.always = "closes_after_body"
    await service.api.put("route-doubt", provider="both")
    message = (await service.api.settled("route-doubt"))["message"]

    assert (message["state"], message["uncertain"]) == ("sent", 2)
    assert len(hook.posts) == 2
    assert not spare.posts


async def test_a_redirect_is_a_refusal(service: Service, hook: Hook) -> None:
    hook.always = "redirects"
    await service.api.put("redirected", provider="hook")
    record = await service.api.settled("redirected")

    assert record["state"] == record["message"]["state"] == "failed"
    assert record["message"]["reason"] == "redirect refused"
    assert [post.path for post in hook.posts] == ["/hook"]


async def test_a_webhook_that_hangs_delays_no_other(service: Service, hook: Hook, spare: Hook) -> None:
    """More than fit on their way; they hang longer than anything here waits."""
    hook.always = "hangs"
    api, ids = service.api, [f"stuck-{n}" for n in range(40)]
    for id in ids:
        await api.put(id, provider="few")
    await api.put("quick-1", provider="spare")

    await until(lambda: spare.posts)
    assert (await api.settled("quick-1"))["message"]["state"] == "sent"
    states = {(await api.read(id)).record["message"]["state"] for id in ids}
    assert states == {"queued", "sending"}, "they still hang"
    for id in ids:
        await api.ask("DELETE", f"/api/otp/{id}")
    hook.release.set()


async def test_a_code_typed_before_its_slow_far_end_answered(service: Service, spare: Hook) -> None:
    spare.plan = ["hangs"]
    await service.api.put("early-bird", provider="spare", otp="135790")
    await until(lambda: spare.posts)
    assert (await service.api.check("early-bird", "135790")).status == 200
    # Its worker gives a sign of life meanwhile, and learns that the message is over.
    await asyncio.sleep(2)
    spare.release.set()

    message = (await service.api.settled("early-bird", but=("sending", "expired")))["message"]
    assert message == {"state": "sent", "tries": 1, "uncertain": 0, "reason": ""}
