"""What frames of feeders become: shapes, refusals, answers, order, a store that goes away."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from otpsvc.errors import HashPoolFull, StoreUnavailable
from otpsvc.feeder import Note
from otpsvc.parcel import Parcels
from tests.intake.rig import NUMBER, Rig, answered, frame, owner, sms

SECRET = "s" * 32


SHAPES: dict[str, Any] = {
    "broker": {"command": "send-sms", "data": {"id": 7, "msisdn": NUMBER, "message": "hi"}},
    "pi": {"command": "send-sms", "data": {"receiver": NUMBER, "message": "hi", "id": "7"}},
    "rows": {"data": [{"receiver": NUMBER, "message": "hi", "id": "7"}]},
    "envelope": {
        "command": "send-message",
        "channel": "sms",
        "data": [{"command": "send-sms", "data": {"msisdn": NUMBER, "message": "hi", "id": "7"}}],
    },
    "by address": {"command": "send-message", "data": {"receiver": NUMBER, "message": "hi", "id": "7"}},
    "bare": {"to": NUMBER.removeprefix("+"), "text": "hi", "id": "7"},
}


@pytest.mark.parametrize("shape", list(SHAPES))
async def test_every_shape_is_one_text(rig: Rig, shape: str) -> None:
    taken = await rig.intake().take(frame(body=SHAPES[shape]))

    assert (taken.answer, taken.refused, rig.counted) == (b"", "", ["done"])
    (note,) = taken.notes
    assert (note.id, note.status, note.error) == ("7", "queued", "")
    assert (await rig.store.message("shop", note.message)) is not None


async def test_all_shapes_of_one_text_are_sent_once(rig: Rig) -> None:
    intake = rig.intake()
    notes = [(await intake.take(frame(body=shape))).notes[0] for shape in SHAPES.values()]

    assert len({note.message for note in notes}) == 1


async def test_a_number_is_the_same_however_it_is_written(rig: Rig) -> None:
    ways = (NUMBER, NUMBER.removeprefix("+"), "0" + NUMBER.removeprefix("+62"), "+62 812-3456-7890")
    notes = [(await rig.intake().take(sms(to=way))).notes[0] for way in ways]

    assert len({note.message for note in notes}) == 1


async def test_a_literal_of_the_pico_gateway(rig: Rig) -> None:
    body = b"{'to': '" + NUMBER.encode() + b"', 'text': \"it's 1234\"}"

    refused = await rig.intake().take(frame(body=body))
    taken = await rig.intake().take(frame(body=body, literal=True))

    assert refused.refused == "broken_json"
    assert taken.refused == ""


@pytest.mark.parametrize(
    "body",
    [
        b"__import__('os').system('true')",
        b"{'to': NUMBER, 'text': 'x'}",
        b"{'to': '+62' '81', 'text': 'x' + 'y'}",
        b"{'a':" + b"[" * 33 + b"]" * 33 + b"}",
        b"{'a': " + b"9" * 21 + b"}",
        b"{'a': b'x'}",
        b"{1: 'x'}",
        b"['x']",
        b"'x'",
        b"{'a': 1j}",
        b"(" * 60_000,
        b"-" * 60_000 + b"1",
    ],
)
async def test_literals_that_are_none(rig: Rig, body: bytes) -> None:
    assert (await rig.intake().take(frame(body=body, literal=True))).refused == "broken_json"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"planted", "broken_json"),
        (b"[]", "broken_json"),
        (b"\xff\xfe", "broken_json"),
        (b"{" * 40, "broken_json"),
        (b'{"data":"' + b"x" * 65_536 + b'"}', "broken_json"),
        (b"{}", "unknown_command"),
        (b'{"command":"planted"}', "unknown_command"),
        (b'{"command":"send-sms","data":{"message":"planted"}}', "unknown_command"),
        (b'{"command":"send-sms","data":{"receiver":[],"message":"planted"}}', "unknown_command"),
        (b'{"command":"send-sms","data":{"receiver":"planted","message":"x"}}', "invalid_address"),
        (b'{"command":"send-sms","data":{"receiver":"%s","message":""}}' % NUMBER.encode(), "empty_text"),
        (b'{"command":"send-sms","data":{"receiver":"%s","message":"x","expiration":5}}' % NUMBER.encode(),
         "expired"),
        (b'{"command":"create-verification","data":{"to":"x@y.example"}}', "invalid_id"),
        (b'{"command":"create-verification","data":{"id":"user-123","provider":"nothere"}}',
         "unknown_provider"),
    ],
)  # fmt: skip
async def test_bad_input_is_refused_with_its_word(
    rig: Rig, body: bytes, code: str, capfd: pytest.CaptureFixture[str]
) -> None:
    taken = await rig.intake().take(frame(body=body, asked=True))

    assert (taken.refused, rig.counted) == (code, ["refused"])
    assert taken.answer
    assert b"planted" not in taken.answer.replace(b'"command":"planted"', b"")
    assert "planted" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "body",
    [
        '{"id": "o-1", "to": "%s"}',
        '{"id": "o-1", "text": "planted"}',
        '{"command": "send-sms", "data": {"id": "o-1", "receiver": "%s"}}',
        '{"command": "nothing", "data": {"id": "o-1"}}',
        '{"command": "nothing", "id": "o-1"}',
    ],
)
async def test_whoever_gave_an_id_is_told_that_nothing_came_of_it(rig: Rig, body: str) -> None:
    taken = await rig.intake().take(frame(body=body.replace("%s", NUMBER).encode()))

    assert [(note.id, note.status, note.error) for note in taken.notes] == [
        ("o-1", "refused", "unknown_command")
    ]


async def test_rows_are_refused_one_by_one(rig: Rig) -> None:
    rows = [
        {"receiver": NUMBER, "message": "one"},
        {"receiver": "nobody", "message": "two"},
        {"receiver": NUMBER, "message": "three"},
    ]
    taken = await rig.intake().take(frame(body={"command": "send-sms", "data": rows}))

    assert (taken.refusals, taken.commands, taken.refused) == ({1: "invalid_address"}, 3, "")
    assert [note.status for note in taken.notes] == ["queued", "refused", "queued"]
    assert rig.counted == ["done"]


async def test_frames_that_say_nothing(rig: Rig) -> None:
    for word in ("ping", "connect", "receive-message"):
        taken = await rig.intake().take(frame(word, asked=True))
        assert (taken.answer, taken.refusals) == (b"", {})
    assert rig.counted == ["silent"] * 3


async def test_it_acts_as_its_tenant_alone(rig: Rig) -> None:
    rig.shop = owner(scopes=frozenset({"otp"}))

    taken = await rig.intake().take(sms(asked=True))

    assert taken.refused == "scope"
    assert answered(taken)["response_code"] == "1100"


async def test_its_way_out_is_taken_where_it_fits(rig: Rig) -> None:
    intake = rig.intake(channel="spare")
    text = (await intake.take(sms())).notes[0]
    mail = (
        await intake.take(frame("send-mail", {"receiver": "a@b.example", "message": "x", "subject": "y"}))
    ).notes[0]

    found = [await rig.store.message("shop", note.message) for note in (text, mail)]
    assert [one.route for one in found if one] == ["spare", "mail"]


async def test_nobody_asked_nobody_is_answered(rig: Rig) -> None:
    quiet, asked = await rig.intake().take(sms()), await rig.intake().take(sms(id="2", asked=True))

    assert quiet.answer == b""
    assert answered(asked)["data"]["status"] == "queued"


async def test_callback_topic_must_be_allowed(rig: Rig) -> None:
    body = {"command": "echo", "callback_topic": "answers.7", "callback_delay": -250, "correlation_id": 9}

    refused = await rig.intake().take(frame(body=body))
    taken = await rig.intake(replies=("answers.*",)).take(frame(body=body))

    assert (refused.callback, refused.answer) == ("", b"")
    assert (taken.callback, taken.delay) == ("answers.7", 0.25)
    assert answered(taken)["correlation_id"] == "9"


@pytest.mark.parametrize(
    "body",
    [
        {
            "command": "send-message",
            "data": [{"command": "echo"}, {"command": "echo", "callback_topic": "answers.7"}],
        },
        {"command": "echo", "data": {"callback_topic": "answers.7"}},
    ],
)
async def test_callback_topic_of_what_lies_in_an_envelope(rig: Rig, body: dict[str, Any]) -> None:
    taken = await rig.intake(replies=("answers.*",)).take(frame(body=body))

    assert taken.callback == "answers.7"
    assert taken.answer


async def test_answers_show_no_address(rig: Rig) -> None:
    data = {"reference": "r-1", "receiver": NUMBER, "message": "code %s"}

    taken = await rig.intake().take(frame("request-otp", data, asked=True))

    assert answered(taken)["data"]["receiver"] == "…90"
    assert NUMBER.encode() not in taken.answer


async def test_blocks_keep_their_place_among_texts(rig: Rig) -> None:
    intake, data = rig.intake(), {"msisdn": NUMBER}
    frames = [
        sms(id="1"), frame("block-msisdn", data), sms(id="2"), frame("unblock-msisdn", data), sms(id="3"),
    ]  # fmt: skip

    taken = await asyncio.gather(*(intake.take(one) for one in frames))

    assert [one.refused for one in taken] == ["", "", "blocked", "", ""]


async def test_a_store_that_is_away_is_waited_for(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    real, away = rig.store.enqueue, 3

    async def enqueue(posting: Any) -> Any:
        nonlocal away
        away -= 1
        if away >= 0:
            raise StoreUnavailable
        return await real(posting)

    monkeypatch.setattr(rig.store, "enqueue", enqueue)
    monkeypatch.setattr("otpsvc.insisting.PATIENCE", 0.01)
    taken = await rig.intake().take(sms())

    assert taken.refusals == {}
    assert rig.counted == ["later"] * 3 + ["done"]


async def test_other_trouble_is_given_up_in_the_end(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def enqueue(_posting: Any) -> Any:
        raise HashPoolFull

    monkeypatch.setattr(rig.store, "enqueue", enqueue)
    monkeypatch.setattr("otpsvc.insisting.PATIENCE", 0.3)
    taken = await rig.intake().take(sms())

    assert taken.refused == HashPoolFull.code
    assert rig.counted[-1] == "refused"


async def test_a_fault_of_ours_is_no_endless_delivery(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = json.loads('"plan\\u0074ed words"')

    async def enqueue(_posting: Any) -> Any:
        raise RuntimeError(words)

    monkeypatch.setattr(rig.store, "enqueue", enqueue)
    taken = await rig.intake().take(sms())

    assert (taken.refused, rig.counted) == ("internal", ["refused"])
    said = "".join(capfd.readouterr())
    assert "planted" not in said
    assert NUMBER not in said


async def test_only_what_was_sealed_is_taken(rig: Rig) -> None:
    body = json.dumps({"command": "send-sms", "data": {"receiver": NUMBER, "message": "x"}}).encode()
    until = 4_000_000_000.0
    intake, other = rig.intake(secret=SECRET), Parcels("o" * 32)

    good = await intake.take(frame(body=Parcels(SECRET).close(body, id="1", until=until)))
    plain = await intake.take(frame(body=body))
    foreign = await intake.take(frame(body=other.close(body, id="1", until=until)))
    late = await intake.take(frame(body=Parcels(SECRET).close(body, id="1", until=5.0)))

    refused = [one.refused for one in (good, plain, foreign, late)]
    assert refused == ["", "not_sealed", "sealed_otherwise", "expired"]


async def test_an_expiry_is_seconds_by_the_senders_clock(rig: Rig) -> None:
    """A sender whose clock is an hour off, and who tells his time, is understood."""
    there = 1_000_000_000
    data = {"receiver": NUMBER, "message": "x", "date_time": there, "expiration": there + 60}
    late = data | {"message": "y", "date_time": there - 10_000, "expiration": there - 9_000}

    assert (await rig.intake().take(frame("send-sms", data))).refused == "expired"
    assert (await rig.intake().take(frame("send-sms", late))).refused == "expired"


async def test_notes_of_what_was_refused(rig: Rig) -> None:
    taken = await rig.intake().take(sms(to="12ab"))

    assert taken.notes == (Note(id="1", message="", status="refused", error="invalid_address"),)
