"""+CMT and +CDS in PDU mode: a header, and a PDU in the next line (27.005, 3.4.1)."""

from __future__ import annotations

import re
from typing import Final

from otpsvc.gsm.framed import SHORTEST, fits, is_report, text_report
from otpsvc.gsm.urc import DirectReport, DirectText, Other, Urc, prefix_of

_LENGTH: Final = re.compile(rb".*?(\d{1,3})\s*$")
#: Lines that may come between a header and its PDU: other URCs.
_PATIENCE: Final = 8
#: What stands before the PDU of a stored text.
_STORED: Final = (b"+CMGL:", b"+CMGR:")


class Pairs:
    """Joins the two lines, also when they come inside an answer or with a URC between them.

    The length in the header says whose PDU a line is: the lines of +CMGL are not taken,
    and a header that stays alone takes nothing. A report is known by what it says, for
    firmware counts its length in many ways.
    """

    def __init__(self) -> None:
        self._kind = b""
        self._length = -1
        self._left = 0
        self._lent = False

    def begins(self, line: bytes) -> bool:
        """Whether this line is a header. An older one without a PDU is forgotten."""
        prefix = prefix_of(line)
        if prefix not in {b"+CMT", b"+CDS", b"+CBM"}:
            return False
        if prefix == b"+CDS" and text_report(line[5:]):
            return False  # in text mode it is one line
        found = _LENGTH.match(line)
        self._kind, self._left = prefix, _PATIENCE
        self._length = int(found.group(1)) if found else -1
        return True

    def claim(self, line: bytes) -> Urc | None:
        """The URC that this line completes."""
        if not self._kind:
            return None
        lent, self._lent = self._lent, line.startswith(_STORED)
        if not self._fits(line) and (lent or self._kind != b"+CDS" or not is_report(line)):
            self._left -= 1
            if self._left <= 0:
                self.forget()
            return None
        kind = self._kind
        self.forget()
        if kind == b"+CBM":
            return Other("+CBM")
        pdu = line.decode("ascii")
        return DirectText(pdu) if kind == b"+CMT" else DirectReport(pdu)

    def forget(self) -> None:
        """No header waits."""
        self._kind, self._lent = b"", False

    def _fits(self, line: bytes) -> bool:
        return len(line) >= 2 * SHORTEST and fits(line, self._length)
