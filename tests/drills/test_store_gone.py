"""The store dies or stops in the middle of requests: answers in time, creates whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.drills.api import Answer, Api
from tests.drills.conftest import Enter, NewPlace, Store
from tests.drills.ends import Hook
from tests.drills.place import tenant, webhook
from tests.waiting import until

#: Seconds for any answer. The promise of 1 s is kept by a clock of its own elsewhere; here nobody may wait
#: for as long as the store is away.
IN_TIME = 30.0
CODE = "135790"


async def _while(api: Api, ended: Callable[[], bool]) -> dict[str, Answer]:
    """Creates, ten at a time, until it has ended."""
    answers: dict[str, Answer] = {}

    async def one(id: str) -> None:
        answers[id] = await api.put(id, otp=CODE)

    while not ended():
        at = len(answers)
        await asyncio.gather(*(one(f"user-{n:05}") for n in range(at, at + 10)))
        await asyncio.sleep(0.01)
    return answers


@pytest.mark.parametrize("misdeed", ["kill", "pause"])
async def test_a_store_gone_in_mid_request(enter: Enter, new_place: NewPlace, misdeed: str) -> None:
    store: Store = await enter(Store("always"))
    hook: Hook = await enter(Hook())
    place = await new_place(tenant("shop"), webhook("mail", hook.url), store=store.url)
    api = (await place.serve()).api
    for id in ("from-before", "tried-while"):
        await api.put(id, otp=CODE)
        await api.settled(id)
    gone = asyncio.Event()

    async def drill() -> None:
        await asyncio.sleep(0.2)
        getattr(store, misdeed)()
        gone.set()

    drilling = asyncio.ensure_future(drill())
    answers = await _while(api, gone.is_set)
    await drilling
    refused = await asyncio.gather(
        api.put("while-it-is-gone", otp=CODE),
        api.check("tried-while", CODE),
        api.read("from-before"),
        api.status("from-before"),
        api.ask("DELETE", "/api/otp/unknown-1"),
    )
    await asyncio.to_thread(store.start if misdeed == "kill" else store.resume)
    await _back(api, "from-before")
    assert {(answer.status, answer.code) for answer in refused} == {(503, "store_unavailable")}
    assert {answer.status for answer in answers.values()} <= {200, 503}
    assert max(answer.seconds for answer in (*answers.values(), *refused)) < IN_TIME
    await _whole_or_not_at_all(api, hook, answers)
    assert (await api.check("from-before", CODE)).status == 200
    assert (await api.put("after-it-came-back")).status == 200


async def _back(api: Api, id: str) -> None:
    """Recovery is automatic."""

    async def answers() -> bool:
        return (await api.read(id)).status != 503

    await until(answers)


async def _whole_or_not_at_all(api: Api, hook: Hook, answers: dict[str, Answer]) -> None:
    posted = {post.json["data"]["to"] for post in hook.posts}
    for id, answer in answers.items():
        read = await api.read(id)
        if read.status == 404:
            assert answer.status == 503, "what was answered 200 stays"
            assert f"{id}@home.example" not in posted
            continue
        assert read.record["generate"] == 1
        assert (await api.settled(id))["message"]["state"] == "sent"
        assert (await api.check(id, CODE)).record["attempts"] == 1
        await until(lambda: hook.of(f"{id}@home.example"))  # noqa: B023
        ids = {post.headers["webhook-id"] for post in hook.of(f"{id}@home.example")}
        assert len(ids) == 1


async def test_a_check_lost_with_its_store_was_counted_once_or_not(enter: Enter, new_place: NewPlace) -> None:
    store: Store = await enter(Store("always"))
    hook: Hook = await enter(Hook())
    place = await new_place(tenant("shop"), webhook("mail", hook.url), store=store.url)
    api = (await place.serve()).api
    ids = [f"user-{n:03}" for n in range(40)]
    await asyncio.gather(*(api.put(id, otp=CODE) for id in ids))
    await asyncio.gather(*(api.settled(id) for id in ids))

    wrong = [asyncio.ensure_future(api.check(id, "246801")) for id in ids]
    right = [asyncio.ensure_future(api.check(id, CODE)) for id in ids]
    await asyncio.sleep(0.01)
    store.kill()
    answers = await asyncio.gather(*wrong, *right)
    await asyncio.to_thread(store.start)
    await _back(api, ids[0])
    assert {answer.status for answer in answers} <= {200, 400, 503}
    assert max(answer.seconds for answer in answers) < IN_TIME

    for id, first, second in zip(ids, answers[: len(ids)], answers[len(ids) :], strict=True):
        record = (await api.read(id)).record
        told = (first.code == "wrong_code") + (second.status == 200)
        assert told <= record["attempts"] <= 2, "no attempt is lost, none counted twice"
        if second.status == 200:
            assert record["state"] == "verified"
            assert (await api.check(id, CODE)).code == "closed", "a used code is not valid again"
