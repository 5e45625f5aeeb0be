"""Unsolicited result codes: what a modem says unasked, and how that is told from an answer.

3GPP 27.005 (+CMT, +CMTI, +CDS, +CDSI), 27.007 (+CREG, +CUSD, +CPIN), and vendors' words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from otpsvc.gsm.framed import text_report
from otpsvc.veiled import Veiled


class StoredText(Struct, frozen=True):
    """+CMTI: a text came in and lies in `memory` (`SM`, `ME`, `MT`)."""

    memory: str
    index: int


class StoredReport(Struct, frozen=True):
    """+CDSI: a delivery report came in and lies there."""

    memory: str
    index: int


class DirectText(Veiled, frozen=True):
    """+CMT: a text itself. `pdu` in hex."""

    pdu: str


class DirectReport(Veiled, frozen=True):
    """+CDS: a delivery report itself. `pdu` in hex."""

    pdu: str


class UssdCame(Veiled, frozen=True):
    """+CUSD (27.007, 7.15). `text` as it came, one character an octet; its `dcs` often lies."""

    status: int
    text: str = ""
    dcs: int = 15


class Registration(Struct, frozen=True):
    """`kind`: CREG, CGREG or CEREG. `stat` of 27.007, 7.2: 1 home, 5 roaming."""

    kind: str
    stat: int


class SimState(Struct, frozen=True):
    """+CPIN: `READY`, `SIM PIN`, `NOT READY`, ..."""

    word: str


class Signal(Struct, frozen=True):
    """`rssi` of 27.007, 8.5: 0 to 31, 99 unknown."""

    rssi: int


class Ring(Struct, frozen=True):
    """Somebody calls."""


class Boot(Struct, frozen=True):
    """The modem started. Not `sure`: the word comes after a PIN or AT+CFUN=1 too."""

    word: str
    sure: bool = True


class Power(Struct, frozen=True):
    """A word about its supply. `down`: it has switched itself off."""

    word: str
    down: bool


class LateResult(Struct, frozen=True):
    """The result of a text that nobody waits for any more.

    `reference`: TP-MR, -1: not told. `failed`: the modem refused it, it was surely not sent.
    """

    reference: int
    failed: bool = False


class Other(Struct, frozen=True):
    """Anything else, by its prefix alone; empty: it has none."""

    prefix: str = ""


Urc = (
    StoredText
    | StoredReport
    | DirectText
    | DirectReport
    | UssdCame
    | Registration
    | SimState
    | Signal
    | Ring
    | Boot
    | Power
    | LateResult
    | Other
)

_PREFIX: Final = re.compile(rb"([+^*$%#&!][A-Z][A-Z0-9_]{1,15}):")
#: Whole lines. ^BOOT is none of them: some Huawei say it every 20 s.
_WORDS: Final[Mapping[bytes, Urc]] = {
    b"RDY": Boot("RDY"),
    b"APP RDY": Boot("APP RDY"),
    b"^SYSSTART": Boot("^SYSSTART"),
    b"*ATREADY: 1": Boot("*ATREADY"),
    b"MODEM:STARTUP": Boot("MODEM:STARTUP"),
    b"SMS Ready": Boot("SMS Ready", sure=False),
    b"Call Ready": Boot("Call Ready", sure=False),
    b"SMS DONE": Boot("SMS DONE", sure=False),
    b"PB DONE": Boot("PB DONE", sure=False),
    b"RING": Ring(),
    b"NO CARRIER": Other("NO CARRIER"),
    b"NORMAL POWER DOWN": Power("NORMAL POWER DOWN", down=True),
    b"POWERED DOWN": Power("POWERED DOWN", down=True),
    b"UNDER-VOLTAGE POWER DOWN": Power("UNDER-VOLTAGE POWER DOWN", down=True),
    b"OVER-VOLTAGE POWER DOWN": Power("OVER-VOLTAGE POWER DOWN", down=True),
    b"UNDER-VOLTAGE WARNING": Power("UNDER-VOLTAGE WARNING", down=False),
    b"UNDER-VOLTAGE WARNNING": Power("UNDER-VOLTAGE WARNING", down=False),  # SIM800 writes it so
    b"OVER-VOLTAGE WARNING": Power("OVER-VOLTAGE WARNING", down=False),
    b"OVER-VOLTAGE WARNNING": Power("OVER-VOLTAGE WARNING", down=False),
}
_MEMORY: Final = re.compile(rb'\s*"?([A-Z]{2})"?\s*,\s*(\d{1,5})\s*$')
_DCS: Final = re.compile(rb"\s*(?:,\s*(\d{1,3}))?\s*")
_NUMBER: Final = re.compile(rb"\s*(\d{1,3})\s*(?:,|$)")
_SIM: Final = re.compile(rb"\s*([A-Z][A-Z -]{2,15}2?)\s*")


def prefix_of(line: bytes) -> bytes:
    """`+CREG` of `+CREG: 1`; empty when the line has none."""
    found = _PREFIX.match(line)
    return found.group(1) if found else b""


def word(line: bytes) -> Urc | None:
    """A line that is a URC as a whole."""
    return _WORDS.get(line)


def parse(line: bytes) -> Urc:
    """A line that nobody asked for. Never raises: what cannot be read is `Other`."""
    if known := _WORDS.get(line):
        return known
    prefix = prefix_of(line)
    reader = _READERS.get(prefix)
    came = reader(line[len(prefix) + 1 :]) if reader else None
    return came or Other(prefix.decode("ascii"))


def _stored(kind: type[StoredText | StoredReport]) -> Callable[[bytes], Urc | None]:
    def read(rest: bytes) -> Urc | None:
        found = _MEMORY.match(rest)
        return kind(found.group(1).decode("ascii"), int(found.group(2))) if found else None

    return read


def _registration(kind: str) -> Callable[[bytes], Urc | None]:
    def read(rest: bytes) -> Urc | None:
        found = _NUMBER.match(rest)
        return Registration(kind, int(found.group(1))) if found else None

    return read


def _ussd(rest: bytes) -> Urc | None:
    status, _, quoted = rest.strip().partition(b",")
    if len(status) != 1 or not status.isdigit():
        return None
    text, end = quoted.lstrip()[1:], quoted.lstrip()[1:].rfind(b'"')
    found = _DCS.fullmatch(text, end + 1) if end >= 0 else None
    if found is None:  # the quote was not closed
        return UssdCame(int(status), text.decode("latin-1"))
    return UssdCame(int(status), text[:end].decode("latin-1"), int(found.group(1) or 15))


def _signal(rest: bytes) -> Urc | None:
    found = _NUMBER.match(rest)
    return Signal(int(found.group(1))) if found else None


def _sim(rest: bytes) -> Urc | None:
    found = _SIM.fullmatch(rest)
    return SimState(found.group(1).rstrip().decode("ascii")) if found else None


def _report(rest: bytes) -> Urc | None:
    pdu = text_report(rest)
    return DirectReport(pdu) if pdu else None


_READERS: Final[Mapping[bytes, Callable[[bytes], Urc | None]]] = {
    b"+CMTI": _stored(StoredText),
    b"+CDSI": _stored(StoredReport),
    b"+CDS": _report,
    b"+CUSD": _ussd,
    b"+CREG": _registration("CREG"),
    b"+CGREG": _registration("CGREG"),
    b"+CEREG": _registration("CEREG"),
    b"+CPIN": _sim,
    b"^RSSI": _signal,
    b"+CSQ": _signal,
    b"+CRING": lambda _: Ring(),
}
