"""A proxy that swallows a reply after the store has run the step: nothing runs twice."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.drills.api import Api
from tests.drills.conftest import Store
from tests.drills.ends import SIGNING, AimedProxy, Hook
from tests.drills.place import Place, tenant, webhook
from tests.far_ends.cut_proxy import Misdeed
from tests.waiting import until

CODE = "135790"
#: Seconds for any answer: the promise of 1 s is kept by a clock of its own elsewhere, here nobody waits
#: for ever.
IN_TIME = 30.0


@pytest.fixture(scope="module")
async def hook() -> AsyncIterator[Hook]:
    async with Hook() as far:
        yield far


@pytest.fixture(scope="module")
async def proxy(store: Store) -> AsyncIterator[AimedProxy]:
    async with AimedProxy(store.path) as between:
        yield between


@pytest.fixture(scope="module")
async def running(proxy: AimedProxy, hook: Hook) -> AsyncIterator[Api]:
    callback = hook.url.replace("/hook", "/callback")
    tenants = tenant("shop", callback_url=callback, callback_secret=SIGNING) + tenant("bank", guards=True)
    async with Place(tenants, webhook("mail", hook.url), store=proxy.url) as place:
        yield (await place.serve()).api


@pytest.fixture
async def api(running: Api, proxy: AimedProxy, hook: Hook) -> Api:
    await proxy.behave()
    hook.posts.clear()
    return running


async def lose(proxy: AimedProxy, script: str, *, misdeed: Misdeed = "loses_reply", times: int = 1) -> None:
    proxy.aim(script)
    await proxy.misbehave(misdeed, times=times)


@pytest.mark.parametrize("misdeed", ["loses_reply", "cuts_line", "hangs"])
async def test_a_create_runs_once_and_gets_its_first_answer(
    api: Api, proxy: AimedProxy, hook: Hook, misdeed: Misdeed
) -> None:
    id = f"create-{misdeed}"
    await lose(proxy, "create", misdeed=misdeed)
    answer = await api.put(id, otp=CODE)

    assert (answer.status, answer.record["generate"], answer.record["otp"]) == (200, 1, CODE)
    assert answer.seconds < IN_TIME
    assert (await api.settled(id))["message"] == {"state": "sent", "tries": 1, "uncertain": 0, "reason": ""}
    assert len(hook.of(f"{id}@home.example")) == 1


@pytest.mark.parametrize("code", ["246801", CODE])
async def test_a_check_counts_once_and_gets_its_first_answer(
    api: Api, proxy: AimedProxy, hook: Hook, code: str
) -> None:
    status, said = (200, "") if code == CODE else (400, "wrong_code")
    id = f"check-{code}"
    await api.put(id, otp=CODE)
    await api.settled(id)
    await lose(proxy, "check")
    answer = await api.check(id, code)

    assert (answer.status, answer.code, answer.record["attempts"]) == (status, said, 1)
    assert answer.seconds < IN_TIME
    assert (await api.read(id)).record["attempts"] == 1
    if status == 200:
        assert answer.record["receipt"]
        await until(lambda: [post for post in hook.posts if post.path == "/callback"])
        assert (await api.check(id, code)).code == "closed"
        assert len({post.headers["webhook-id"] for post in hook.posts if post.path == "/callback"}) == 1


async def test_a_receipt_is_spent_once_and_its_status_answered(api: Api, proxy: AimedProxy) -> None:
    await api.put("signed-in", otp=CODE, purpose="authentication")
    receipt = (await api.check("signed-in", CODE)).record["receipt"]
    await lose(proxy, "read")
    answer = await api.status("signed-in", receipt=receipt)

    assert (answer.status, answer.record["state"]) == (200, "verified")
    assert (await api.status("signed-in", receipt=receipt)).code == "not_verified"


async def test_a_resend_sends_once(api: Api, proxy: AimedProxy, hook: Hook) -> None:
    await api.put("sent-again")
    await api.settled("sent-again")
    await lose(proxy, "resend")
    answer = await api.resend("sent-again")

    assert (answer.status, answer.record["generate"]) == (200, 2)
    assert (await api.settled("sent-again"))["message"]["state"] == "sent"
    assert len(hook.of("sent-again@home.example")) == 2


async def test_a_cancel_and_a_consume_are_answered_once(api: Api, proxy: AimedProxy) -> None:
    await api.put("cancelled", otp=CODE)
    await lose(proxy, "read")
    assert (await api.ask("DELETE", "/api/otp/cancelled")).status == 200
    assert (await api.check("cancelled", CODE)).code == "not_found"

    await api.put("consumed", otp=CODE)
    await api.check("consumed", CODE)
    await lose(proxy, "read")
    assert (await api.ask("DELETE", "/api/otp/consumed/status")).status == 200
    assert (await api.status("consumed")).code == "not_found"


async def test_a_guard_counts_too_much_rather_than_too_little(api: Api, proxy: AimedProxy) -> None:
    statuses = []
    for n in range(6):
        await lose(proxy, "reserve", times=int(n == 0))
        statuses.append((await api.put(f"guarded-{n}", tenant="bank", to="one@home.example")).status)
    assert statuses.count(200) in (4, 5)
    assert statuses[-1] == 429


async def test_a_create_whose_answer_is_lost_twice_is_found_by_its_key(
    api: Api, proxy: AimedProxy, hook: Hook
) -> None:
    await lose(proxy, "create", times=2)
    lost = await api.put("lost-twice", otp=CODE, key="order-7")
    assert (lost.status, lost.code) == (503, "store_unavailable")
    assert lost.seconds < IN_TIME

    again = await api.put("lost-twice", otp=CODE, key="order-7")
    assert (again.status, again.record["generate"], again.record["otp"]) == (200, 1, CODE)
    # Whoever held its place never learnt of it: another takes it over, and flags the doubt.
    message = (await api.settled("lost-twice"))["message"]
    assert (message["state"], message["uncertain"]) == ("sent", 1)
    assert len(hook.of("lost-twice@home.example")) == 1
    assert (await api.check("lost-twice", CODE)).record["attempts"] == 1


async def test_a_check_whose_answer_is_lost_twice_is_found_by_its_key(api: Api, proxy: AimedProxy) -> None:
    await api.put("right-twice", otp=CODE)
    await api.settled("right-twice")
    await lose(proxy, "check", times=2)
    key = {"Idempotency-Key": "check-7"}
    lost = await api.ask("POST", "/api/otp/right-twice", {"otp": CODE}, headers=key)
    assert (lost.status, lost.code) == (503, "store_unavailable")

    again = await api.ask("POST", "/api/otp/right-twice", {"otp": CODE}, headers=key)
    assert (again.status, again.record["attempts"]) == (200, 1)
    assert again.record["receipt"]
