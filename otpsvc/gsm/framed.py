"""PDUs as modems frame them: among other lines, under odd lengths, without the SMSC before them.

27.005, 3.4.1 to 3.4.3: a header tells the octets of the TPDU, the SMSC's not counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from otpsvc.errors import BadPdu
from otpsvc.gsm.pdu import Deliver, StatusReport, encode_status_report, read
from otpsvc.veiled import Veiled

#: Octets of the shortest line that is taken for a PDU where no length is told.
SHORTEST: Final = 8
_HEX: Final = re.compile(rb"(?:[0-9A-Fa-f]{2})+")
_NUMBER: Final = re.compile(r"\+?[0-9]{3,20}")
#: `index,stat,[alpha],length`, and the same without the index.
_LISTED: Final = re.compile(rb"\+CMGL:\s*(\d{1,5})\s*,\s*(\d)\s*(?:(?:,.*)?,\s*(\d{1,3})|,.*)?\s*$")
_READ: Final = re.compile(rb"\+CMGR:\s*()(\d)\s*(?:(?:,.*)?,\s*(\d{1,3})|,.*)?\s*$")
#: `fo,mr,"ra",tora,"scts","dt",st`: a report in text mode (27.005, 3.4.1).
_TEXT_REPORT: Final = re.compile(
    rb'\s*\d{1,3}\s*,\s*(\d{1,3})\s*,\s*"(\+?\d{3,20})"\s*,\s*(\d{1,3})\s*,'
    rb'\s*"([^"]{17,20})"\s*,\s*"([^"]{17,20})"\s*,\s*(\d{1,3})\s*'
)
_STAMP: Final = re.compile(rb"(\d\d)/(\d\d)/(\d\d),(\d\d):(\d\d):(\d\d)([+-]\d\d)?")
_INTERNATIONAL: Final = 145


class Entry(Veiled, frozen=True):
    """One stored text as it was listed: its header, and every line up to the next one.

    `state`: 27.005, 3.1. `length` -1: the header tells none.
    """

    index: int
    state: int
    length: int
    lines: tuple[bytes, ...]

    def shown(self) -> str:
        return f"{self.index}, {len(self.lines)} lines"

    def opened(self, *, any_length: bool = False) -> Deliver | StatusReport | None:
        """What the line says that fits the header; None: there is none, or it cannot be read."""
        for line in self.lines:
            if fits(line, -1 if any_length else self.length):
                try:
                    return opened(line.decode("ascii"))
                except BadPdu:
                    continue
        return None


def listed(lines: Sequence[bytes]) -> Iterator[Entry]:
    """The answer to AT+CMGL; lines before the first header belong to nothing."""
    heads = [(at, found) for at, line in enumerate(lines) if (found := _LISTED.match(line))]
    ends = [at for at, _ in heads[1:]] + [len(lines)]
    for (at, found), end in zip(heads, ends, strict=False):
        yield _entry(int(found[1]), found, lines[at + 1 : end])


def single(index: int, lines: Sequence[bytes]) -> Entry:
    """The answer to AT+CMGR=index. Without a header nothing in it can be read."""
    for at, line in enumerate(lines):
        if found := _READ.match(line):
            return _entry(index, found, lines[at + 1 :])
    return Entry(index, 0, -1, ())


def _entry(index: int, found: re.Match[bytes], lines: Sequence[bytes]) -> Entry:
    return Entry(index, int(found[2]), int(found[3] or -1), tuple(lines))


def fits(line: bytes, length: int) -> bool:
    """Whether a line is a PDU of this length (-1: not told).

    The length leaves out the SMSC; some firmware counts it in, or leaves it out of the line too.
    """
    if not _HEX.fullmatch(line):
        return False
    octets = len(line) // 2
    return octets >= SHORTEST if length < 0 else length in {octets, octets - 1 - int(line[:2], 16)}


def opened(hexes: str) -> Deliver | StatusReport:
    """As `pdu.read`, and also a PDU without the octet of the SMSC before it. Raises: BadPdu."""
    came: Deliver | StatusReport | None = None
    for each in (hexes, "00" + hexes):
        try:
            found = read(each)
        except BadPdu:
            continue
        if _is_likely(found):
            return found
        if each is hexes:
            came = found
    if came is None:
        raise BadPdu("Not a PDU from the network, with or without an SMSC.")
    return came


def is_report(line: bytes) -> bool:
    """Whether a line is surely a STATUS-REPORT, whatever its header says."""
    if not fits(line, -1):
        return False
    try:
        came = opened(line.decode("ascii"))
    except BadPdu:
        return False
    return isinstance(came, StatusReport) and _is_likely(came)


def _is_likely(came: Deliver | StatusReport) -> bool:
    """Octets read from a wrong place hardly ever hold a date and a number."""
    if isinstance(came, StatusReport):
        return came.submitted > 0 and _NUMBER.fullmatch(came.recipient) is not None
    return came.at > 0 and came.sender != ""


def text_report(rest: bytes) -> str:
    """The PDU in hex of a +CDS in text mode, from behind its prefix; empty: it is none."""
    found = _TEXT_REPORT.fullmatch(rest)
    if not found:
        return ""
    number = found[2].decode("ascii")
    if int(found[3]) == _INTERNATIONAL and not number.startswith("+"):
        number = f"+{number}"
    try:
        times = [_moment(found[each]) for each in (4, 5)]
        return encode_status_report(
            int(found[1]), number, int(found[6]), submitted=times[0], discharged=times[1]
        )[0]
    except ValueError:
        return ""


def _moment(stamp: bytes) -> float:
    """Seconds since the epoch of `yy/MM/dd,hh:mm:ss±zz`, zz in quarters of an hour. Raises: ValueError."""
    found = _STAMP.fullmatch(stamp)
    if not found:
        raise ValueError("no time stamp")
    year, month, day, hour, minute, second = (int(found[each]) for each in range(1, 7))
    here = datetime(2000 + year, month, day, hour, minute, second, tzinfo=UTC)
    return here.timestamp() - int(found[7] or 0) * 900
