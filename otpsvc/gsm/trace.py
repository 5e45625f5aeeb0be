"""Lines for people: what was said on the port, without texts, numbers, PINs.

Redaction comes after framing (a URC that begins with CR LF would slip through before)
and allows by nature: of known commands the arguments that cannot be secret are shown,
everything else by its prefix and length.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from msgspec import Struct


class TraceLine(Struct, frozen=True):
    """`sent`: by us. `text` is redacted and printable."""

    sent: bool
    text: str

    def __str__(self) -> str:
        return f"{'>' if self.sent else '<'} {self.text}"


Sink = Callable[[TraceLine], None]

#: Their arguments are small numbers and words of the standard, or shown by length.
_KNOWN: Final = re.compile(
    r"\+(CMEE|CSQ|C[GE]?REG|CMGF|CSMS|CPMS|CNMI|CMG[LRDS]|CMMS|CFUN|CSCS|CPIN|CPAS|CGSMS|CMTI?|CDSI?|CBM|CNMA"
    r"|CUSD|COPS|CGM[IMR]|CGSN|CIMI|Q?CCID|C?ICCID|CNUM|CSCA|CLIP|CRSM|QURCCFG|CRING|CGATT|CLCK|CSIM|CPWD)"
    r"|\^(CURC|RSSI|MODE|HCSQ|BOOT|SIMST|SRVST|SYSINFO|ICCID|SYSSTART)"
)
#: Somebody's number may be among them.
_NUMBERS: Final = frozenset({"+CSCA", "+CNUM", "+CLIP"})
#: Nothing of what is written with them is shown.
_SECRET: Final = frozenset({"+CPIN", "+CLCK", "+CRSM", "+CSIM", "+CPWD"})
_WORD: Final = re.compile(
    r"OK|ERROR|\+CM[ES] ERROR: ?\d{1,3}|COMMAND NOT SUPPORT|TOO MANY PARAMETERS|(APP )?RDY|MODEM:STARTUP|RING"
    r"|NO CARRIER|BUSY|NO ANSWER|NO DIALTONE|(SMS|Call) Ready|(SMS|PB) DONE|(NORMAL POWER|POWERED) DOWN"
    r"|(UNDER|OVER)-VOLTAGE (POWER DOWN|WARNN?ING)"
    r"|AT(?:[EVQZ][01]?|&[FW][01]?|I[0-9]?|S[0-9]{1,2}=[0-9]{1,3})*"
)
_VALUE: Final = re.compile(
    r"SM|ME|MT|SR|BM|GSM|IRA|UCS2|HEX|READY|(PH-)?SIM (PIN|PUK)2?|NOT (READY|INSERTED)|urcport|usbat|all"
)
_NAMED: Final = re.compile(r"(AT)?([+^][A-Z]{2,12})(=\?|\?|=|:|$)\s?(.*)", re.DOTALL)
_FIELD: Final = re.compile(r'("[^"]*"?|[^,"]*)(?:,|$)', re.DOTALL)
_SMALL: Final = re.compile(r"\(?-?[0-9]{0,3}(?:-[0-9]{1,3})?\)?")
_DIALLED: Final = re.compile(r"\+?[0-9]{3,20}")
#: Fields of one line that are shown at all.
_FIELDS_MOST: Final = 16


def received(line: bytes) -> TraceLine:
    """A framed line of the modem."""
    return TraceLine(False, _line(line.decode("latin-1"), secret=False))


def sent(command: str, *, secret: bool = False) -> TraceLine:
    """A command without its CR. `secret`: its name alone."""
    if secret:
        return TraceLine(True, _line(command, secret=True))
    # A quoted `;` makes pieces that are shown by their length.
    return TraceLine(True, ";".join(_line(part, secret=False) for part in command.split(";")))


def body(octets: int) -> TraceLine:
    """A PDU that was handed over."""
    return TraceLine(True, f"[pdu {octets} octets]")


def escape() -> TraceLine:
    return TraceLine(True, "ESC")


def prompt() -> TraceLine:
    return TraceLine(False, ">")


def _line(text: str, *, secret: bool) -> str:
    found = _NAMED.fullmatch(text)
    if not found or not _KNOWN.fullmatch(found.group(2)):
        return text if _WORD.fullmatch(text) and not secret else f"[{len(text)} octets]"
    at, name, sign, rest = found.group(1) or "", found.group(2), found.group(3), found.group(4)
    if secret or (sign == "=" and name in _SECRET):
        return f"{at}{name}{sign}[hidden]"
    return f"{at}{name}{sign}{' ' if sign == ':' else ''}{_fields(name, rest)}"


def _fields(name: str, rest: str) -> str:
    fields = _FIELD.findall(rest.rstrip())[:_FIELDS_MOST]
    if len(fields) > 1 and not fields[-1]:
        fields.pop()  # the empty match at the end
    # The second field of +CUSD is its text, whatever it looks like.
    return ",".join(
        _hidden(field) if name == "+CUSD" and index == 1 else _field(name, field)
        for index, field in enumerate(fields)
    )


def _field(name: str, field: str) -> str:
    bare = field.strip(' "')
    if _VALUE.fullmatch(bare) or (_SMALL.fullmatch(field.strip()) and '"' not in field):
        return field.strip()
    if name in _NUMBERS and _DIALLED.fullmatch(bare):
        return f"…{bare[-2:]}"
    return _hidden(field)


def _hidden(field: str) -> str:
    return f"[{len(field)}]" if field else ""
