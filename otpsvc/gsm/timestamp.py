"""Times in PDUs: the time stamp (3GPP TS 23.040, 9.2.3.11) and the relative validity (9.2.3.12.1)."""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, datetime
from typing import Final

_MINUTE, _HOUR, _DAY, _WEEK = 60, 3600, 86_400, 604_800
_FAR: Final = 56
#: Seconds that each octet stands for.
_STEPS: Final = (
    *(5 * _MINUTE * n for n in range(1, 145)),
    *(12 * _HOUR + 30 * _MINUTE * n for n in range(1, 25)),
    *(_DAY * n for n in range(2, 31)),
    *(_WEEK * n for n in range(5, 64)),
)


def validity_octet(seconds: float) -> int:
    """The shortest validity that is at least `seconds` long; the longest is 63 weeks."""
    return min(bisect_left(_STEPS, seconds), 255)


def validity_seconds(octet: int) -> int:
    """How long a validity of 0 to 255 is, in seconds: 5 minutes to 63 weeks."""
    return _STEPS[octet]


def read_time(octets: bytes) -> float:
    """Seconds since the epoch of a 7-octet time stamp (years 1990 to 2089); 0 when it names no moment.

    A digit above 9 counts as 0, as 9.2.3.11 has it: a clock that is not set must not
    cost the message.
    """
    year, month, day, hour, minute, second = (_swapped(octet) for octet in octets[:6])
    # Quarters of an hour east of Greenwich; bit 3 is the sign. No clock is further off than _FAR.
    quarters = _swapped(octets[6] & 0xF7)
    east = 0 if quarters > _FAR else -quarters if octets[6] & 0x08 else quarters
    try:
        here = datetime((1900 if year >= 90 else 2000) + year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return 0.0
    return here.timestamp() - east * 15 * _MINUTE


def encode_time(at: float, quarters: int = 0) -> bytes:
    """The time stamp of `at` (seconds since the epoch) on a clock `quarters` of an hour east of Greenwich.

    Raises: ValueError for a time before 1990 or after 2089, or a clock more than 14 hours off.
    """
    here = datetime.fromtimestamp(at + quarters * 15 * _MINUTE, UTC)
    if not 1990 <= here.year < 2090 or abs(quarters) > _FAR:
        raise ValueError("Not a time that a time stamp can tell.")
    fields = (here.year % 100, here.month, here.day, here.hour, here.minute, here.second, abs(quarters))
    octets = bytearray(number % 10 << 4 | number // 10 for number in fields)
    octets[6] |= 0x08 if quarters < 0 else 0
    return bytes(octets)


def _swapped(octet: int) -> int:
    tens, ones = octet & 0xF, octet >> 4
    return (tens if tens < 10 else 0) * 10 + (ones if ones < 10 else 0)
