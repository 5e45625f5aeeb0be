"""Errors in words, of modems that ignore AT+CMEE=1: the numbers of 27.007, 9.2 and 27.005, 3.2.5."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_CME: Final[Mapping[str, int]] = {
    "phone failure": 0,
    "no connection to phone": 1,
    "operation not allowed": 3,
    "operation not supported": 4,
    "ph-sim pin required": 5,
    "sim not inserted": 10,
    "sim pin required": 11,
    "sim puk required": 12,
    "sim failure": 13,
    "sim busy": 14,
    "sim wrong": 15,
    "incorrect password": 16,
    "sim pin2 required": 17,
    "sim puk2 required": 18,
    "memory full": 20,
    "invalid index": 21,
    "not found": 22,
    "memory failure": 23,
    "no network service": 30,
    "network timeout": 31,
    "network not allowed - emergency calls only": 32,
    "unknown": 100,
    "unknown error": 100,
}
_CMS: Final[Mapping[str, int]] = {
    # RP-Causes: 24.011, annex E-2.
    "unassigned (unallocated) number": 1,
    "unassigned number": 1,
    "operator determined barring": 8,
    "call barred": 10,
    "short message transfer rejected": 21,
    "destination out of service": 27,
    "destination out of order": 27,
    "unidentified subscriber": 28,
    "facility rejected": 29,
    "unknown subscriber": 30,
    "network out of order": 38,
    "temporary failure": 41,
    "congestion": 42,
    "resources unavailable, unspecified": 47,
    "requested facility not subscribed": 50,
    "requested facility not implemented": 69,
    # The modem's own.
    "me failure": 300,
    "sms service of me reserved": 301,
    "operation not allowed": 302,
    "operation not supported": 303,
    "invalid pdu mode parameter": 304,
    "invalid text mode parameter": 305,
    "sim not inserted": 310,
    "sim pin required": 311,
    "ph-sim pin required": 312,
    "sim failure": 313,
    "sim busy": 314,
    "sim wrong": 315,
    "sim puk required": 316,
    "sim pin2 required": 317,
    "sim puk2 required": 318,
    "memory failure": 320,
    "sim memory failure": 320,
    "invalid memory index": 321,
    "memory full": 322,
    "sim memory full": 322,
    "smsc address unknown": 330,
    "sms center address unknown": 330,
    "no network service": 331,
    "no network": 331,
    "network timeout": 332,
    "no +cnma acknowledgement expected": 340,
    "unknown error": 500,
    "unknown": 500,
}


def number_of(kind: str, words: bytes) -> int:
    """The number of an error of this kind (`CME`, `CMS`) that was told in words; -1: not known."""
    said = re.sub(r"\s+", " ", words.decode("latin-1").lower()).strip(' ".')
    # (U)SIM, and U-SIM, in the wording since release 8.
    said = re.sub(r"(\(u\)|\bu-?)sim", "sim", said)
    return (_CME if kind == "CME" else _CMS).get(said, -1)
