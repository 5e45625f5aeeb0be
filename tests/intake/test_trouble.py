"""What goes wrong in the middle of a frame: nothing is done twice, nobody held up, every row answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from otpsvc.errors import HashPoolFull, StoreUnavailable
from otpsvc.stores.wire import StoreError
from tests.intake.rig import (
    ADDRESS,
    Rig,
    Trouble,
    answered,
    check,
    create,
    frame,
    row,
    rows,
    sms,
    ussd,
)

# --- rows --------------------------------------------------------------------


async def test_every_row_of_a_list_is_a_question_of_its_own(rig: Rig) -> None:
    made = await rig.intake().take(rows(create("user-123"), create("user-456"), id="m-1"))
    tried = await rig.intake().take(rows(check("x11111"), check("x22222"), id="m-2"))
    again = await rig.intake().take(rows(check("x11111"), check("x22222"), id="m-2", again=True))

    assert (made.refusals, tried.refusals) == ({}, {})
    for taken in (tried, again):
        assert [one["attempts"] for one in answered(taken)["data"]] == [1, 2] if taken is tried else [2, 2]


async def test_what_a_list_did_before_its_trouble_is_not_done_again(
    rig: Rig, trouble: Callable[..., Trouble]
) -> None:
    enqueued = trouble(rig.store, "enqueue", StoreUnavailable("away"), times=3)
    taken = await rig.intake().take(rows(ussd(), row()))

    assert (taken.refusals, enqueued.calls) == ({}, 4)
    assert len(rig.lines.asked) == 1
    assert answered(taken)["data"][0]["ussd_content"] == "balance 5"


async def test_each_row_has_its_own_end(
    rig: Rig, trouble: Callable[..., Trouble], monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble(rig.node.verifier, "create", HashPoolFull(), times=1000)
    monkeypatch.setattr("otpsvc.insisting.PATIENCE", 0.0)
    monkeypatch.setattr("otpsvc.insisting.FIRST", 0.001)
    taken = await rig.intake().take(rows(row(), create(), row(text="other"), create("user-456")))

    assert (taken.refusals, taken.commands) == ({1: "hash_pool_full", 3: "hash_pool_full"}, 4)
    assert [one["status"] for one in answered(taken)["data"]] == ["queued", "refused", "queued", "refused"]
    assert [note.status for note in taken.notes] == ["queued", "queued"]
    assert rig.counted == ["done"]


async def test_after_one_that_was_given_up_the_others_are_not_waited_for(
    rig: Rig, trouble: Callable[..., Trouble], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trouble(rig.node.verifier, "create", HashPoolFull(), times=1000)
    monkeypatch.setattr("otpsvc.insisting.PATIENCE", 0.2)
    await rig.intake().take(rows(*(create(f"user-{at}") for at in range(50))))

    assert made.calls < 50 + rig.counted.count("later") + 1
    assert rig.counted.count("later") < 10


async def test_what_was_given_up_is_told_to_who_waits(
    rig: Rig, trouble: Callable[..., Trouble], monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble(rig.store, "enqueue", HashPoolFull(), times=1000)
    monkeypatch.setattr("otpsvc.insisting.PATIENCE", 0.0)
    taken = await rig.intake().take(sms(asked=True))

    assert (taken.refused, answered(taken)["response_code"]) == ("hash_pool_full", "1102")
    assert answered(taken)["command"] == "send-sms"
    assert [(note.id, note.status, note.error) for note in taken.notes] == [
        ("1", "refused", "hash_pool_full")
    ]


async def test_a_fault_of_ours_is_told_too(rig: Rig, trouble: Callable[..., Trouble]) -> None:
    trouble(rig.store, "enqueue", RuntimeError("planted"), times=1000)
    taken = await rig.intake().take(rows(row(), check("123456", "nothere")))

    assert taken.refusals == {0: "internal"}
    assert answered(taken)["data"][1]["status"] == "unknown"
    assert b"planted" not in taken.answer


async def test_a_feeder_without_its_tenant_refuses_and_goes_on(rig: Rig) -> None:
    intake = rig.intake()

    def gone() -> Any:
        raise KeyError("planted")

    intake._tenant = gone
    for one in (sms(), rows(create())):
        assert (await intake.take(one)).refused == "internal"


# --- what the store did before its answer was lost ---------------------------


async def test_a_code_that_was_asked_for_before_the_answer_was_lost(
    rig: Rig, trouble: Callable[..., Trouble]
) -> None:
    made = trouble(rig.store, "create", StoreUnavailable("lost"), late=True)
    data = {"reference": "r-1", "receiver": ADDRESS, "message": "%s is your code"}
    taken = await rig.intake().take(frame("request-otp", data, asked=True))

    assert (made.calls, answered(taken)["response_code"]) == (1, "0000")
    await rig.code()
    assert len(rig.mail.taken) == 1


@pytest.mark.parametrize("shared", [False, True])
async def test_a_create_whose_answer_was_lost_is_made_once(
    rig: Rig, trouble: Callable[..., Trouble], shared: bool
) -> None:
    made = trouble(rig.store, "create", StoreUnavailable("lost"), late=True)
    taken = await rig.intake().take(frame(body=create(), asked=True, shared=shared))

    assert made.calls == 1
    assert answered(taken)["data"]["generate"] == 1


async def test_a_check_whose_answer_was_lost_counts_once(rig: Rig, trouble: Callable[..., Trouble]) -> None:
    await rig.intake().take(frame(body=create()))
    trouble(rig.store, "check", StoreUnavailable("lost"), times=2, late=True)
    taken = await rig.intake().take(frame(body=check("x11111"), asked=True))

    assert answered(taken)["data"]["attempts"] == 1


async def test_a_ussd_code_that_was_perhaps_asked_is_not_asked_again(
    rig: Rig, trouble: Callable[..., Trouble]
) -> None:
    asked = trouble(rig.lines, "ussd", StoreUnavailable("lost"), late=True)
    taken = await rig.intake().take(frame(body=ussd(), asked=True))

    assert (asked.calls, taken.refusals) == (1, {})
    assert answered(taken)["data"]["status"] == "unanswered"


async def test_a_ussd_code_that_was_not_asked_yet_waits_for_the_store(
    rig: Rig, trouble: Callable[..., Trouble]
) -> None:
    looked = trouble(rig.lines, "lines", StoreUnavailable("away"), times=2)
    first = trouble(rig.store, "first", StoreUnavailable("away"), times=1)
    taken = await rig.intake().take(frame(body=ussd(), asked=True))

    assert first.calls == 2
    assert looked.calls >= 3
    assert answered(taken)["data"]["ussd_content"] == "balance 5"


@pytest.mark.parametrize(("word", "given_up"), [("ERR", True), ("WRONGTYPE", True), ("NOPERM", False)])
async def test_what_the_store_will_never_take_ends(
    rig: Rig, trouble: Callable[..., Trouble], monkeypatch: pytest.MonkeyPatch, word: str, given_up: bool
) -> None:
    monkeypatch.setattr("otpsvc.insisting.PATIENCE", 0.0)
    trouble(rig.store, "enqueue", StoreError(word, "enqueue"), times=3)
    taken = await rig.intake().take(sms())

    assert taken.refused == ("store_unavailable" if given_up else "")


async def test_even_the_first_look_may_end(
    rig: Rig, trouble: Callable[..., Trouble], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otpsvc.insisting.PATIENCE", 0.0)
    trouble(rig.store, "first", StoreError("ERR", "first"), times=3)
    taken = await rig.intake().take(rows(row(), ussd()))

    assert taken.refusals == dict.fromkeys((0, 1), "store_unavailable")
    assert rig.lines.asked == []
