"""What a modem's refusal means for the one who sends.

+CMS ERROR: 3GPP 27.005, 3.2.5. Its numbers 0 to 127 are RP-Causes of 24.011, annex E-2;
from 300 on they are the modem's own. +CME ERROR: 27.007, 9.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from otpsvc.errors import CommandFailed


class Cause(StrEnum):
    """What is at fault, and so what helps."""

    #: The number: another modem may confirm it, then never again.
    RECIPIENT = "recipient"
    #: Barred, no credit, not subscribed: another SIM.
    SIM = "sim"
    #: May pass: another modem now, this one later.
    NETWORK = "network"
    #: The modem or its SIM starts or works: the same one in a second.
    BUSY = "busy"
    #: What we wrote: a bug, the same again fails again.
    PDU = "pdu"
    #: No SIM, PIN, PUK, SMSC: the modem's state is another one than was thought.
    STATE = "state"
    #: Full or broken: clean it and try again.
    STORAGE = "storage"
    UNKNOWN = "unknown"


_CMS: Final[Mapping[int, Cause]] = {
    1: Cause.RECIPIENT,  # unassigned (unallocated) number
    28: Cause.RECIPIENT,  # unidentified subscriber; operators use it loosely,
    30: Cause.RECIPIENT,  # unknown subscriber; this one too
    8: Cause.SIM,  # operator determined barring
    10: Cause.SIM,  # call barred
    21: Cause.SIM,  # short message transfer rejected: mostly no credit
    29: Cause.SIM,  # facility rejected
    50: Cause.SIM,  # requested facility not subscribed
    69: Cause.SIM,  # requested facility not implemented
    17: Cause.NETWORK,  # network failure
    22: Cause.NETWORK,  # congestion; for a text that comes in: memory capacity exceeded
    27: Cause.NETWORK,  # destination out of service
    38: Cause.NETWORK,  # network out of order; seen for bad numbers and SMSC trouble too
    41: Cause.NETWORK,  # temporary failure
    42: Cause.NETWORK,  # congestion
    47: Cause.NETWORK,  # resources unavailable, unspecified
    331: Cause.NETWORK,  # no network service
    332: Cause.NETWORK,  # network timeout
    500: Cause.NETWORK,  # unknown error: mostly no signal
    301: Cause.BUSY,  # SMS service of ME reserved
    314: Cause.BUSY,  # SIM busy
    515: Cause.BUSY,  # vendors: please wait, service is busy
    304: Cause.PDU,  # invalid PDU mode parameter
    305: Cause.PDU,  # invalid text mode parameter
    310: Cause.STATE,  # SIM not inserted
    311: Cause.STATE,  # SIM PIN required
    312: Cause.STATE,  # PH-SIM PIN required
    313: Cause.STATE,  # SIM failure
    315: Cause.STATE,  # SIM wrong
    316: Cause.STATE,  # SIM PUK required
    317: Cause.STATE,  # SIM PIN2 required
    318: Cause.STATE,  # SIM PUK2 required
    330: Cause.STATE,  # SMSC address unknown
    320: Cause.STORAGE,  # memory failure
    321: Cause.STORAGE,  # invalid memory index
    322: Cause.STORAGE,  # memory full
}
_CME: Final[Mapping[int, Cause]] = {
    30: Cause.NETWORK,  # no network service
    31: Cause.NETWORK,  # network timeout
    14: Cause.BUSY,  # SIM busy
    515: Cause.BUSY,  # vendors: please wait, initialising
    10: Cause.STATE,  # SIM not inserted
    11: Cause.STATE,  # SIM PIN required
    12: Cause.STATE,  # SIM PUK required
    13: Cause.STATE,  # SIM failure
}


def cause_of(error: CommandFailed) -> Cause:
    """`unknown` for a bare ERROR and for numbers that tell nothing about the next try."""
    table = {"CMS": _CMS, "CME": _CME}.get(error.kind, {})
    return table.get(error.number, Cause.UNKNOWN)


def may_pass(error: CommandFailed) -> bool:
    """Whether a SIM that was just switched on may say so: it is busy, or a bare ERROR tells nothing."""
    return not error.kind or cause_of(error) is Cause.BUSY
