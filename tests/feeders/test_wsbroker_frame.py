"""What a frame says to the feeder itself."""

from __future__ import annotations

import json

import pytest

from otpsvc.feeders.wsbroker_frame import Own, envelope, is_answer, quiet, subscription


@pytest.mark.parametrize("code", ["00", "0", 0])
def test_a_greeting_that_accepts(code: str | int) -> None:
    said = quiet(json.dumps({"command": "connect", "response_code": code}).encode())

    assert said is not None
    assert said.accepts
    assert not said.rejects


@pytest.mark.parametrize("code", ["01", "1", 1, "99"])
def test_a_greeting_that_rejects(code: str | int) -> None:
    said = quiet(json.dumps({"command": "connect", "response_code": code}).encode())

    assert said is not None
    assert said.rejects
    assert not said.accepts


@pytest.mark.parametrize("word", ["connect", "ping", "receive-message"])
def test_without_a_code_it_neither_accepts_nor_rejects(word: str) -> None:
    said = quiet(json.dumps({"command": word, "data": []}, indent=4).encode())

    assert said is not None
    assert not said.accepts
    assert not said.rejects


@pytest.mark.parametrize(
    "body",
    [
        b'{"command":"send-sms","data":{"command":"ping"}}',
        b'{"command":"send-message","data":[{"command":"connect"}]}',
        b'{"command":"send-sms","data":{"message":"{\\"command\\":\\"ping\\"}"}}',
        b'{"command":"ping"',
        b'[{"command":"ping"}]',
        b'{"command":"ping","response_code":[1]}',
        b'{"command":"ping","pad":"' + b"x" * 2000 + b'"}',
        b"\xff\xfe",
        b"",
    ],
)
def test_anything_else_may_be_a_command(body: bytes) -> None:
    assert quiet(body) is None


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b'{"command":"echo","response_code":"0000"}', True),
        (b'{"data":[{"response_code":"0000"},{"response_code":"1102"}]}', True),
        (b'{"data":[{"response_code":"0000"},{"receiver":"08","message":"x"}]}', False),
        (b'{"data":[]}', False),
        (b'{"command":"send-sms","data":{"response_code":"0000"}}', False),
        (b'{"command":"send-sms","data":{"message":"\\"response_code\\""}}', False),
        (b'["response_code"]', False),
        (b'{"response_code"', False),
        (b"[" * 100_000 + b'"response_code"', False),
    ],
)
def test_what_carries_a_response_code_is_an_answer(body: bytes, answer: bool) -> None:
    assert is_answer(body) is answer


def test_channels_are_written_as_json() -> None:
    place = 'a"b\\ü\u2028'

    assert json.loads(subscription(place)) == {"command": "receive-message", "channel": place, "data": []}
    assert json.loads(envelope(place, b'{"a":1}')) == {
        "command": "send-message",
        "channel": place,
        "data": [{"a": 1}],
    }


def test_own_answers_are_known_for_a_minute() -> None:
    now = 100.0
    own = Own(lambda: now)
    own.remember(b"one")
    now = 130.0
    own.remember(b"two")

    assert b"one" in own
    assert b"three" not in own

    now = 161.0

    assert b"one" not in own
    assert b"two" in own


def test_a_repeated_answer_is_known_from_its_last_time() -> None:
    now = 100.0
    own = Own(lambda: now)
    own.remember(b"one")
    now = 150.0
    own.remember(b"one")
    now = 200.0

    assert b"one" in own


def test_no_more_than_a_thousand_are_remembered() -> None:
    own = Own(lambda: 0.0)
    for number in range(1001):
        own.remember(str(number).encode())

    assert b"0" not in own
    assert b"1" in own
    assert b"1000" in own


def test_the_one_that_was_sent_longest_ago_is_forgotten_first() -> None:
    own = Own(lambda: 0.0)
    for number in range(1000):
        own.remember(str(number).encode())
    own.remember(b"0")
    own.remember(b"new")

    assert b"0" in own
    assert b"1" not in own
