"""What a broker's reason codes mean for us (MQTT 5, 2.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otpsvc.errors import BrokerError, BrokerGone, BrokerRefused

if TYPE_CHECKING:
    from paho.mqtt.reasoncodes import ReasonCode

#: PUBACK and SUBACK with this or more: refused.
FAILURE: Final = 128
#: In place of a reason code: the line ended before.
LOST: Final = -1
#: Stays until somebody changes something: version, client id, login, rights, will. (MQTT 5, 3.2.2.2)
_FOR_GOOD: Final = {132, 133, 134, 135, 138, 140, 144, 149, 153, 154, 155, 156, 157}
_TAKEN_OVER: Final = 142


def value_of(answer: ReasonCode | int) -> int:
    return answer if isinstance(answer, int) else answer.value


def unwelcome(answer: ReasonCode | int | None) -> BrokerError:
    """What a CONNACK means. paho gives those of 3.1.1 the numbers of version 5."""
    number = value_of(answer) if answer is not None else 0
    if number in (134, 135):
        return BrokerRefused("the broker does not take this username and password")
    if number == 133:
        return BrokerRefused("the broker does not take this client_id")
    return (BrokerRefused if number in _FOR_GOOD else BrokerGone)(f"the broker refuses: {answer}")


def farewell(answer: ReasonCode) -> BrokerError:
    """What a DISCONNECT of the broker means (version 5)."""
    if answer.value == _TAKEN_OVER:
        return BrokerGone("another client with this client_id took its place")
    return BrokerGone(f"the broker ended it: {answer}")
