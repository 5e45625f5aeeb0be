"""Records as they are packed, and how their state reads."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import otpsvc
from otpsvc import challenge
from otpsvc.challenge import (
    EVENT,
    HEAD,
    MESSAGE_HEAD,
    MESSAGE_STATES,
    RAW,
    VERSION,
    EventMeta,
    Flag,
    Record,
    State,
    unpack,
    unpack_event,
    unpack_message,
)
from otpsvc.message import MessageState

PRELUDE = (Path(otpsvc.__file__).parent / "stores/lua/prelude.lua").read_text()
NOW = 1_800_000_000_000.0


def packed(
    *, attempts: int = 0, wait: int = 0, deadline: int = 300_000, ops: bytes = b"", flags: int = 0
) -> bytes:
    head = HEAD.pack(
        VERSION, 1, 2, flags, 3, b"kid1", b"g" * 16, b"d" * 16, b"c" * 16, NOW, 1000, deadline, wait, 4000,
        7, attempts, 5, 2, 4, 3, 6, 1, 1, 65535,
    )  # fmt: skip
    texts = (b"mail", "zu spät".encode(), b"salt", ops)
    tail = b"".join(bytes([len(text)]) + text for text in texts)
    return head + tail + b"".join(struct.pack("<H", len(text)) + text for text in (b"b" * 300, b""))


def test_a_record_is_read_field_by_field() -> None:
    record = unpack(packed(attempts=4, ops=b"12345678\x02\x01", flags=int(Flag.SLOW_HASH | Flag.CALLBACK)))

    assert record == Record(
        VERSION, State.VERIFIED, 2, 10, 3, b"kid1", b"g" * 16, b"d" * 16, b"c" * 16, NOW,
        1000, 300_000, 0, 4000, 7, 4, 5, 2, 4, 3, 6, 1, 1, 65535,
        "mail", "zu spät", b"salt", b"12345678\x02\x01", b"b" * 300, b"",
    )  # fmt: skip
    assert (record.purpose, record.message_state) == ("transaction", MessageState.SENT)
    assert (record.deadline, record.slow_hash) == (NOW + 300_000, True)


@pytest.mark.parametrize("raw", [b"", b"\x00", b"\x02" + bytes(200)])
def test_a_record_of_another_version_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="version"):
        unpack(raw)
    with pytest.raises(ValueError, match="version"):
        unpack_message(raw)


@given(elapsed=st.floats(0, 400_000), deadline=st.integers(0, 400_000))
def test_seconds_left_are_whole_rounded_up_and_never_negative(elapsed: float, deadline: int) -> None:
    record = unpack(packed(deadline=deadline, wait=deadline))
    left = record.seconds_left(NOW + elapsed)

    exact = (NOW + deadline - (NOW + elapsed)) / 1000
    assert left == record.wait_left(NOW + elapsed)
    assert left == 0 if exact <= 0 else exact <= left < exact + 1


@pytest.mark.parametrize(
    ("elapsed", "left"), [(0, 300), (1, 300), (999, 300), (1000, 299), (299_999, 1), (300_000, 0)]
)
def test_a_second_that_has_begun_counts(elapsed: int, left: int) -> None:
    assert unpack(packed()).seconds_left(NOW + elapsed) == left


def test_the_closing_operation_is_the_one_that_verified() -> None:
    ops = b"created.\x01\x01" + b"wrong...\x02\x01" + b"right...\x03\x02" + b"spent...\x05\x00"

    assert unpack(packed(ops=ops)).closing_op() == b"right..."
    assert unpack(packed(ops=ops[:20])).closing_op() == b""
    # An operation's own bytes are not taken for its outcome.
    assert unpack(packed(ops=b"\x03" * 8 + b"\x02\x03")).closing_op() == b""


def test_a_message_is_read_field_by_field() -> None:
    head = MESSAGE_HEAD.pack(VERSION, RAW, 5, 2, 1, 1, 513, NOW, NOW + 60_000, NOW + 5000)
    texts = (b"sms", b"message", b"no such number", b"meta")
    raw = head + b"".join(bytes([len(text)]) + text for text in texts) + b"\x02\x00\xff\x00"
    message = unpack_message(raw)

    assert (message.kind, message.message_state, message.tries, message.uncertain) == (
        RAW,
        MessageState.FAILED,
        2,
        1,
    )
    assert (message.way, message.fence) == (1, 513)
    assert (message.created, message.deadline, message.due) == (NOW, NOW + 60_000, NOW + 5000)
    assert (message.route, message.lane, message.reason) == ("sms", "message", "no such number")
    assert (message.meta, message.body) == (b"meta", b"\xff\x00")


def test_an_event_says_what_ended_how() -> None:
    head = struct.pack("<BBBBBB16sd", ord("l"), 1, 5, 3, 1, 2, b"g" * 16, NOW)
    meta = head + b"".join(bytes([len(text)]) + text for text in (b"n-of-it", b"mail", b"timed out"))

    assert unpack_event(meta) == EventMeta(
        kind="l",
        purpose="authentication",
        attempts=5,
        message_state=MessageState.SENT,
        uncertain=1,
        sends=2,
        gen=b"g" * 16,
        at=NOW,
        challenge="n-of-it",
        route="mail",
        reason="timed out",
    )


# --- what the scripts call the same ------------------------------------------


def numbers(*names: str) -> list[int]:
    """The values of a line `local A, B = 0, 1` of the scripts' prelude."""
    found = re.search(rf"^local {', '.join(names)} = ([0-9, ]+)$", PRELUDE, re.MULTILINE)
    assert found, names
    return [int(number) for number in found.group(1).split(",")]


def test_the_scripts_know_the_same_states_and_flags() -> None:
    assert numbers(*(state.name for state in State)) == [int(state) for state in State]
    flags = [flag for flag in Flag if flag]
    assert numbers(*(str(flag.name) for flag in flags)) == [int(flag) for flag in flags]
    at = {state: number for number, state in enumerate(MESSAGE_STATES)}
    named = [MessageState.NONE, MessageState.QUEUED, MessageState.SENDING, MessageState.SENT]
    ended = [MessageState.FAILED, MessageState.EXPIRED]
    wanted = [at[state] for state in (*named, *ended)]
    assert numbers("NONE", "QUEUED", "SENDING", "SENT", "M_FAILED", "M_EXPIRED") == wanted
    assert numbers("EVENT", "RAW") == [EVENT, RAW]


def test_the_scripts_pack_the_same_head() -> None:
    """Lua's `c4` and `I4` are Python's `4s` and `I`."""
    lua = {
        name: re.search(rf"{name} = '<(\w+)'|{name}, \w+ = '<(\w+)'", PRELUDE) for name in ("HEAD", "MHEAD")
    }
    heads = {name: found.group(1) or found.group(2) for name, found in lua.items() if found}

    for name, head in (("HEAD", HEAD), ("MHEAD", MESSAGE_HEAD)):
        assert "<" + re.sub(r"c(\d+)", r"\1s", heads[name]).replace("I4", "I") == head.format


def test_message_states_are_stored_by_position() -> None:
    assert tuple(MessageState) == MESSAGE_STATES
    assert (challenge.CREATED, challenge.WRONG, challenge.VERIFIED_BY) == (1, 2, 3)
