"""Time stamps of every zone, clocks that are not set, and the steps of the validity."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpsvc.gsm.timestamp import encode_time, read_time, validity_octet, validity_seconds

MINUTE, HOUR, DAY, WEEK = 60, 3600, 86_400, 604_800


def moment(*fields: int, east: float = 0) -> float:
    """Seconds since the epoch of a clock `east` hours ahead."""
    return datetime(*fields, tzinfo=timezone(timedelta(hours=east))).timestamp()  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("octets", "at"),
    [
        ("99309251619580", moment(1999, 3, 29, 15, 16, 59, east=2)),
        ("99202150750321", moment(1999, 2, 12, 5, 57, 30, east=3)),
        ("99202150750329", moment(1999, 2, 12, 5, 57, 30, east=-3)),
        ("01901151011129", moment(2010, 9, 11, 15, 10, 11, east=-3)),
        ("90901071142340", moment(2009, 9, 1, 17, 41, 32, east=1)),
        ("62113131954582", moment(2026, 11, 13, 13, 59, 54, east=7)),
        # A quarter of an hour: Nepal; and the furthest zones.
        ("62113131954532", moment(2026, 11, 13, 13, 59, 54, east=5.75)),
        ("62113131954565", moment(2026, 11, 13, 13, 59, 54, east=14)),
        ("6211313195458C", moment(2026, 11, 13, 13, 59, 54, east=-12)),
        # Zero, and minus zero.
        ("20806291731400", moment(2002, 8, 26, 19, 37, 41)),
        ("20806291731408", moment(2002, 8, 26, 19, 37, 41)),
        ("42209200000000", moment(2024, 2, 29)),
    ],
)
def test_time_stamps(octets: str, at: float) -> None:
    assert read_time(bytes.fromhex(octets)) == at


@pytest.mark.parametrize(
    "octets",
    [
        "00000000000000",
        "FFFFFFFFFFFFFF",
        "62313131954500",  # month 13
        "62112331954500",  # day 32
        "52209200000000",  # 29 February of another year
        "62113142954500",  # 24 o'clock
        "62113131064500",  # minute 60
        "62113131950600",  # second 60
    ],
)
def test_what_names_no_moment_is_no_error(octets: str) -> None:
    assert read_time(bytes.fromhex(octets)) == 0.0


def test_a_digit_above_nine_counts_as_zero() -> None:
    assert read_time(bytes.fromhex("62113131F5A500")) == moment(2026, 11, 13, 13, 50, 50)
    assert read_time(bytes.fromhex("621131319F5A00")) == moment(2026, 11, 13, 13, 9, 5)


@pytest.mark.parametrize("zone", ["75", "7D", "97", "FF", "F7"])
def test_a_zone_that_is_nowhere_counts_as_greenwich(zone: str) -> None:
    assert read_time(bytes.fromhex("621131319545" + zone)) == moment(2026, 11, 13, 13, 59, 54)


@given(st.binary(min_size=7, max_size=7))
def test_any_seven_octets_are_read(octets: bytes) -> None:
    at = read_time(octets)

    assert at == 0 or moment(1989, 12, 31) < at < moment(2090, 1, 2)


@given(st.integers(int(moment(1990, 1, 2)), int(moment(2089, 12, 30))), st.integers(-56, 56))
def test_times_come_back(at: int, quarters: int) -> None:
    assert read_time(encode_time(at, quarters)) == at


@pytest.mark.parametrize(("at", "quarters"), [(moment(1989, 12, 31), 0), (moment(2090, 1, 1), 0), (1e9, 57)])
def test_what_a_stamp_cannot_tell(at: float, quarters: int) -> None:
    with pytest.raises(ValueError, match="Not a time"):
        encode_time(at, quarters)


# --- validity --------------------------------------------------------------


@pytest.mark.parametrize(
    ("octet", "seconds"),
    [
        (0, 5 * MINUTE),
        (1, 10 * MINUTE),
        (143, 12 * HOUR),
        (144, 12 * HOUR + 30 * MINUTE),
        (167, 24 * HOUR),
        (168, 2 * DAY),
        (170, 4 * DAY),
        (196, 30 * DAY),
        (197, 5 * WEEK),
        (255, 63 * WEEK),
    ],
)
def test_steps(octet: int, seconds: int) -> None:
    assert validity_seconds(octet) == seconds
    assert validity_octet(seconds) == octet
    assert validity_octet(seconds - 0.5) == octet
    assert validity_octet(seconds + 0.5) == min(255, octet + 1)


@pytest.mark.parametrize(
    ("seconds", "octet"), [(0, 0), (-1, 0), (299.9, 0), (300, 0), (300.1, 1), (DAY + 1, 168), (31 * DAY, 197)]
)
def test_between_the_steps(seconds: float, octet: int) -> None:
    assert validity_octet(seconds) == octet


def test_the_longest_validity_is_the_end() -> None:
    assert validity_octet(64 * WEEK) == 255
    assert validity_octet(math.inf) == 255


@given(st.floats(0, 63 * WEEK))
def test_the_shortest_that_is_long_enough(seconds: float) -> None:
    octet = validity_octet(seconds)

    assert validity_seconds(octet) >= seconds
    assert octet == 0 or validity_seconds(octet - 1) < seconds


def test_the_zone_of_this_machine_does_not_matter() -> None:
    assert datetime.fromtimestamp(read_time(bytes.fromhex("62113131954582")), UTC).hour == 6
