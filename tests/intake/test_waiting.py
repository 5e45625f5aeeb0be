"""Nobody waits for the trouble of another, and no frame goes without its answer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from otpsvc.errors import HashPoolFull, StoreUnavailable
from otpsvc.feeder import Taken
from otpsvc.insisting import Insisting
from otpsvc.lines import Answered
from tests.intake.rig import (
    NUMBER,
    Rig,
    Trouble,
    answered,
    create,
    frame,
    row,
    rows,
    sms,
    ussd,
)
from tests.waiting import PATIENCE, until


async def soon(task: asyncio.Future[Taken]) -> Taken:
    return await asyncio.wait_for(asyncio.shield(task), PATIENCE)


# --- nobody waits for another's trouble --------------------------------------


async def slow_network(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    asked, answers, real = asyncio.Event(), asyncio.Event(), rig.lines.ussd

    async def slowly(*args: Any, **more: Any) -> Answered:
        asked.set()
        await answers.wait()
        return await real(*args, **more)

    monkeypatch.setattr(rig.lines, "ussd", slowly)
    return asked, answers


@pytest.mark.parametrize("beside", [(), ("block",), ("text",)])
async def test_a_network_that_takes_its_time_holds_nobody(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, beside: tuple[str, ...]
) -> None:
    asked, answers = await slow_network(rig, monkeypatch)
    intake, number = rig.intake(), {"msisdn": NUMBER}
    more = {"block": {"command": "block-msisdn", "data": {"msisdn": "+6281234567891"}}, "text": row()}
    slow = asyncio.ensure_future(intake.take(rows(*(more[one] for one in beside), ussd())))
    await asyncio.wait_for(asked.wait(), PATIENCE)
    block = asyncio.ensure_future(intake.take(frame("block-msisdn", number)))
    text = asyncio.ensure_future(intake.take(sms()))

    assert (await soon(block)).refusals == {}
    assert (await soon(text)).refused == "blocked"
    assert not slow.done()
    answers.set()
    assert (await soon(slow)).refusals == {}


async def test_a_create_with_trouble_of_its_own_lets_a_block_pass(
    rig: Rig, trouble: Callable[..., Trouble]
) -> None:
    busy = trouble(rig.node.verifier, "create", HashPoolFull(), times=1_000_000)
    intake = rig.intake()
    slow = asyncio.ensure_future(intake.take(frame(body=create())))
    await until(lambda: busy.calls)
    block = asyncio.ensure_future(intake.take(frame("block-msisdn", {"msisdn": NUMBER})))

    assert (await soon(block)).refusals == {}
    assert not slow.done()
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)


@pytest.mark.parametrize("before", ["text", "request-otp", "create"])
async def test_a_store_that_is_away_changes_no_order(
    rig: Rig, trouble: Callable[..., Trouble], before: str
) -> None:
    """What came before a block is done before it, also when it had to wait."""
    data = {"reference": "r-1", "receiver": NUMBER, "message": "%s"}
    first = {
        "text": sms(),
        "request-otp": frame("request-otp", data),
        "create": frame(body=create(provider="sms", to=NUMBER)),
    }[before]
    step = {"text": "enqueue", "request-otp": "create", "create": "once"}[before]
    trouble(rig.store, step, StoreUnavailable("away"), times=3)
    trouble(rig.store, "read", StoreUnavailable("away"), times=2)
    intake = rig.intake()
    both = [intake.take(first), intake.take(frame("block-msisdn", {"msisdn": NUMBER}))]

    assert [one.refused for one in await asyncio.gather(*both)] == ["", ""]


async def test_a_take_that_is_cut_off_holds_nobody(rig: Rig, trouble: Callable[..., Trouble]) -> None:
    away = trouble(rig.store, "enqueue", StoreUnavailable("away"), times=1_000_000)
    intake = rig.intake()
    text = asyncio.ensure_future(intake.take(sms()))
    block = asyncio.ensure_future(intake.take(frame("block-msisdn", {"msisdn": NUMBER})))
    await until(lambda: away.calls)
    assert not block.done()
    text.cancel()
    with pytest.raises(asyncio.CancelledError):
        await text

    assert (await soon(block)).refusals == {}
    assert (intake._order._running, intake._order._waiting) == (0, type(intake._order._waiting)())


# --- refusals before a command is known --------------------------------------


async def test_a_list_too_long_is_answered_where_its_sender_waits(rig: Rig) -> None:
    body = {
        "command": "send-sms",
        "data": [{}] * 101,
        "callback_topic": "answers.7",
        "callback_delay": 0,
        "correlation_id": "c-1",
    }
    taken = await rig.intake(replies=("answers.*",)).take(frame(body=body))

    assert (taken.refused, taken.callback, taken.delay) == ("too_many_rows", "answers.7", 0.0)
    assert answered(taken)["correlation_id"] == "c-1"


async def test_what_a_frame_wants_of_its_answer_has_bounds(rig: Rig) -> None:
    body = {"command": "echo", "callback_topic": "answers.7", "callback_delay": 86_400_000}
    taken = await rig.intake(replies=("answers.*",)).take(frame(body=body | {"correlation_id": "c" * 60_000}))

    assert (taken.delay, answered(taken)["correlation_id"]) == (60.0, "c" * 255)


async def test_a_fault_of_ours_while_reading_ends_no_feeder(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = json.loads('"plan\\u0074ed"')

    def reading(*_: Any, **__: Any) -> Any:
        raise RuntimeError(words)

    monkeypatch.setattr("otpsvc.command.read_object", reading)
    taken = await rig.intake().take(sms(asked=True))

    assert (taken.refused, rig.counted) == ("internal", ["refused"])
    assert "planted" not in "".join(capfd.readouterr()) + taken.answer.decode()


async def test_an_expiry_that_passes_while_it_waits(rig: Rig, trouble: Callable[..., Trouble]) -> None:
    away = trouble(rig.store, "enqueue", StoreUnavailable("away"), times=1_000_000)
    now = time.time()
    data = {"receiver": NUMBER, "message": "x", "date_time": now, "expiration": now + 3}
    taking = asyncio.ensure_future(rig.intake().take(frame("send-sms", data)))
    await until(lambda: away.calls)
    assert not taking.done()
    await asyncio.sleep(3)
    away.times = 0

    assert (await soon(taking)).refused == "expired"
    assert rig.counted[-2:] == ["later", "refused"]


async def test_a_frame_that_says_nothing_beside_one_that_does(rig: Rig) -> None:
    taken = await rig.intake().take(rows({"command": "ping"}, row()))

    assert (taken.refusals, len(taken.notes)) == ({}, 1)


async def test_patience_for_others_begins_when_the_store_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    came: list[Exception] = [*[StoreUnavailable("away")] * 3, HashPoolFull()]
    monkeypatch.setattr("otpsvc.insisting.time", SimpleNamespace(monotonic=lambda: clock))
    monkeypatch.setattr("otpsvc.insisting.FIRST", 0.001)

    async def step() -> str:
        nonlocal clock
        clock += 20.0
        if came:
            raise came.pop(0)
        return "done"

    assert await Insisting(lambda: None).on(step) == "done"
