from __future__ import annotations

import pytest

from otpsvc.errors import CommandFailed
from otpsvc.gsm.cause import Cause, cause_of


@pytest.mark.parametrize(
    ("cause", "cms", "cme"),
    [
        (Cause.RECIPIENT, [1, 28, 30], []),
        (Cause.SIM, [8, 10, 21, 29, 50, 69], []),
        (Cause.NETWORK, [17, 22, 27, 38, 41, 42, 47, 331, 332, 500], [30, 31]),
        (Cause.BUSY, [301, 314, 515], [14, 515]),
        (Cause.PDU, [304, 305], []),
        (Cause.STATE, [310, 311, 312, 313, 315, 316, 317, 318, 330], [10, 11, 12, 13]),
        (Cause.STORAGE, [320, 321, 322], []),
        (Cause.UNKNOWN, [-1, 0, 2, 96, 127, 300, 302, 303, 319, 340, 501], [-1, 0, 3, 15, 100, 500]),
    ],
)
def test_every_row(cause: Cause, cms: list[int], cme: list[int]) -> None:
    assert {cause_of(CommandFailed("AT+CMGS", "CMS", number)) for number in cms} <= {cause}
    assert {cause_of(CommandFailed("AT+CMGS", "CME", number)) for number in cme} <= {cause}


def test_the_same_number_means_another_thing_in_the_other_table() -> None:
    assert cause_of(CommandFailed("AT+CMGS", "CMS", 30)) is Cause.RECIPIENT
    assert cause_of(CommandFailed("AT+CMGS", "CME", 30)) is Cause.NETWORK


def test_a_bare_error_tells_nothing() -> None:
    assert cause_of(CommandFailed("AT+CMGS")) is Cause.UNKNOWN
