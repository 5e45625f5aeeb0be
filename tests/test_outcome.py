"""What a far end's answer means: the end, another attempt, another channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpsvc.channel import ChannelConfig
from otpsvc.message import MessageState
from otpsvc.outcome import EVENT_DELAYS, LONGEST_DELAY, Result, Step, backoff, next_event_step, next_step

SENT, FAILED = MessageState.SENT, MessageState.FAILED
ONE = (ChannelConfig(type="smtp"),)
TWO = (*ONE, ChannelConfig(type="webhook"))
RESULTS = st.sampled_from(get_args(Result))


def step(result: Result, channels: Sequence[ChannelConfig] = ONE, **changes: Any) -> Step:
    """The first attempt on the first channel, with a minute left and no jitter."""
    asked: dict[str, Any] = {"way": 0, "tries": 1, "doubts": 0, "left": 60.0, "retry_after": None, **changes}
    return next_step(result, "why", channels=channels, draw=lambda: 1.0, **asked)


def config(**fields: Any) -> ChannelConfig:
    return ChannelConfig(type="smtp", **fields)


def test_what_was_taken_is_sent() -> None:
    assert step("sent") == Step(SENT)
    assert step("sent", TWO, way=1, doubts=3) == Step(SENT, way=1)


# --- refused -----------------------------------------------------------------


def test_what_is_refused_for_good_goes_to_the_next_channel_at_once() -> None:
    assert step("refused", TWO) == Step(None, "why", 0.0, way=1)


def test_what_the_last_channel_refuses_has_failed() -> None:
    assert step("refused") == Step(FAILED, "why")
    assert step("refused", TWO, way=1) == Step(FAILED, "why", way=1)


# --- unavailable -------------------------------------------------------------


@pytest.mark.parametrize(("tries", "delay"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 20), (200, 20)])
def test_the_only_channel_is_tried_again_ever_more_rarely(tries: int, delay: float) -> None:
    assert step("unavailable", tries=tries) == Step(None, "why", delay)


def test_after_its_retries_the_next_channel_is_tried() -> None:
    assert step("unavailable", TWO, tries=2) == Step(None, "why", 2.0)
    assert step("unavailable", TWO, tries=3) == Step(None, "why", 0.0, way=1)
    assert step("unavailable", (config(retries=0), *ONE)) == Step(None, "why", 0.0, way=1)
    assert step("unavailable", TWO, way=1, tries=9, left=100.0) == Step(None, "why", 20.0, way=1)


def test_a_far_ends_wish_to_wait_is_heard() -> None:
    assert step("unavailable", retry_after=7.0).delay == 7
    assert step("unavailable", retry_after=0.1).delay == 1
    assert step("unavailable", retry_after=59.0) == Step(None, "why", 59.0)


def test_a_far_end_that_wants_too_much_time_is_left_for_the_next() -> None:
    assert step("unavailable", TWO, retry_after=20.5) == Step(None, "why", 0.0, way=1)
    assert step("unavailable", TWO, retry_after=20.0).way == 0


@pytest.mark.parametrize("left", [0.0, -5.0, 1.0])
def test_without_time_for_another_attempt_it_has_failed(left: float) -> None:
    assert step("unavailable", left=left) == Step(FAILED, "why")
    assert step("unavailable", retry_after=60.0, left=60.0) == Step(FAILED, "why")


# --- uncertain ---------------------------------------------------------------


def test_in_doubt_it_is_sent_once_more_by_the_same_channel() -> None:
    assert step("uncertain", TWO) == Step(None, "why", 1.0, uncertain=True)


@pytest.mark.parametrize("doubts", [1, 2, 200])
def test_in_doubt_again_it_counts_as_sent(doubts: int) -> None:
    assert step("uncertain", TWO, doubts=doubts) == Step(SENT, "why", uncertain=True)


def test_where_a_double_is_worse_a_doubt_is_the_end() -> None:
    assert step("uncertain", (config(on_uncertain="never_resend"), *ONE)) == Step(SENT, "why", uncertain=True)


def test_only_who_asks_for_it_gets_a_fallback_in_doubt() -> None:
    asks = config(on_uncertain="never_resend", fallback_on_uncertain=True)

    assert step("uncertain", (asks, *ONE)) == Step(None, "why", 0.0, way=1, uncertain=True)
    assert step("uncertain", (asks,)) == Step(SENT, "why", uncertain=True)


@pytest.mark.parametrize("result", ["refused", "unavailable"])
def test_after_a_doubt_another_channel_is_no_way_out(result: Result) -> None:
    """The message may have arrived: a second one by another way would be one too many."""
    asks = (config(fallback_on_uncertain=True), *ONE)

    assert step(result, TWO, tries=3, doubts=1).way == 0
    assert step(result, asks, tries=3, doubts=1) == Step(None, "why", 0.0, way=1)


# --- always ------------------------------------------------------------------


@given(
    result=RESULTS,
    number=st.integers(1, 3),
    data=st.data(),
    tries=st.integers(1, 255),
    doubts=st.integers(0, 255),
    left=st.floats(-10, 600),
    retry_after=st.none() | st.floats(0, 3600),
)
def test_it_ends_or_goes_on_never_backwards(
    result: Result, number: int, data: st.DataObject, left: float, retry_after: float | None, **counts: int
) -> None:
    channels = tuple(config(retries=at) for at in range(number))
    way = data.draw(st.integers(0, number - 1))
    said = next_step(
        result,
        "why",
        channels=channels,
        way=way,
        left=left,
        retry_after=retry_after,
        **counts,  # type: ignore[arg-type]
    )

    assert said.state in (None, SENT, FAILED)
    assert way <= said.way < number
    assert said.uncertain == (result == "uncertain")
    if said.state is None and result == "unavailable":
        assert said.delay < left or said.way > way
    if result == "uncertain":
        assert said.state != FAILED, "a doubt is never told as a failure"


@given(st.integers(1, 300), st.floats(0, 1))
def test_a_backoff_is_between_half_and_whole(tries: int, drawn: float) -> None:
    whole = min(LONGEST_DELAY, 2.0 ** (tries - 1))

    assert whole / 2 <= backoff(tries, lambda: drawn) <= whole


# --- events ------------------------------------------------------------------


def event(result: Result, reason: str = "HTTP 500", **changes: Any) -> Step:
    asked: dict[str, Any] = {"tries": 1, "left": 259_200.0, "retry_after": None, **changes}
    return next_event_step(result, reason, **asked)


def test_an_event_that_was_taken_is_sent() -> None:
    assert event("sent") == Step(SENT)


@pytest.mark.parametrize("result", ["refused", "unavailable", "uncertain"])
@pytest.mark.parametrize("tries", range(1, 10))
def test_an_event_is_tried_again_by_the_schedule(result: Result, tries: int) -> None:
    said = event(result, tries=tries)

    assert (said.state, said.reason, said.uncertain) == (None, "HTTP 500", False)
    assert EVENT_DELAYS[tries - 1] <= said.delay <= EVENT_DELAYS[tries - 1] * 1.1


def test_an_event_is_given_up_after_the_schedule_or_its_time() -> None:
    assert event("unavailable", tries=10) == Step(FAILED, "HTTP 500")
    assert event("unavailable", left=4.0) == Step(FAILED, "HTTP 500")


def test_who_is_gone_gets_no_more_events() -> None:
    assert event("refused", "HTTP 410") == Step(FAILED, "HTTP 410")


def test_a_tenants_wish_to_wait_is_heard() -> None:
    assert event("unavailable", retry_after=100.0).delay == 100
    assert event("unavailable", retry_after=300_000.0) == Step(FAILED, "HTTP 500")
