"""What the answer of a far end means for a message: its end, another attempt, another channel.

Pure: no clock, no network. `deliver.py` carries it out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final, Literal

from msgspec import Struct

from otpsvc.channel import ChannelConfig
from otpsvc.message import MessageState

Result = Literal["sent", "refused", "unavailable", "uncertain"]
#: Seconds before the retries of an event. (Standard Webhooks, retry schedule)
EVENT_DELAYS: Final = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
#: The longest wait between two attempts to hand over a code, in seconds.
LONGEST_DELAY: Final = 20.0
#: A message that took more workers down with it is not tried again.
MOST_DOUBTS: Final = 3


class Step(Struct, frozen=True):
    """What to do with a message now. `state` is set when it is the end; `delay` in seconds."""

    state: MessageState | None
    reason: str = ""
    delay: float = 0.0
    way: int = 0
    uncertain: bool = False


def backoff(tries: int, draw: Callable[[], float]) -> float:
    """Seconds before the next attempt: 1, 2, 4 ... up to 20, each between half and whole."""
    return min(LONGEST_DELAY, 2.0 ** max(0, tries - 1)) * (0.5 + 0.5 * draw())


def next_step(
    result: Result,
    reason: str,
    *,
    channels: Sequence[ChannelConfig],
    way: int,
    tries: int,
    doubts: int,
    left: float,
    retry_after: float | None,
    settled: bool = False,
    draw: Callable[[], float] = random.random,
) -> Step:
    """Decide what an outcome means for a code or a raw message. Pure.

    `tries` on this channel so far, `doubts` before this attempt, `left` in seconds. `settled`:
    the channel has done what can be done about its doubt.
    """
    if result == "sent":
        return Step(MessageState.SENT, way=way)
    config = channels[way]
    if result == "uncertain":
        if doubts == 0 and not settled and config.on_uncertain == "resend_once":
            return Step(None, reason, backoff(tries, draw), way, uncertain=True)
        if config.fallback_on_uncertain and way + 1 < len(channels):
            return Step(None, reason, 0.0, way + 1, uncertain=True)
        return Step(MessageState.SENT, reason, way=way, uncertain=True)
    delay = max(backoff(tries, draw), retry_after or 0.0)
    another = way + 1 < len(channels) and (doubts == 0 or config.fallback_on_uncertain)
    if another and (result == "refused" or tries > config.retries or delay > LONGEST_DELAY):
        return Step(None, reason, 0.0, way + 1)
    if result == "refused" or delay >= left:
        return Step(MessageState.FAILED, reason, way=way)
    return Step(None, reason, delay, way)


def is_left_alone(doubts: int, config: ChannelConfig) -> bool:
    """A worker may have sent it before it died, and may not send it again, or not that often."""
    return (doubts > 0 and config.on_uncertain == "never_resend") or doubts > MOST_DOUBTS


def next_event_step(
    result: Result, reason: str, *, tries: int, left: float, retry_after: float | None
) -> Step:
    """Decide the same for an event: its id makes a double harmless, so all but 410 is tried again."""
    if result == "sent":
        return Step(MessageState.SENT)
    planned = EVENT_DELAYS[min(tries, len(EVENT_DELAYS)) - 1]
    delay = max(planned * (1 + 0.1 * random.random()), retry_after or 0.0)
    if reason == "HTTP 410" or delay >= left or tries > len(EVENT_DELAYS):
        return Step(MessageState.FAILED, reason)
    return Step(None, reason, delay)
