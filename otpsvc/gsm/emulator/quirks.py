"""How one modem differs from the next, and how badly it behaves.

All may be changed while it runs; what concerns the line or the memories counts from the
next plugging or for the next modem.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct, field

from otpsvc.gsm.pdu import encode_status_report

_STRANGER: Final = encode_status_report(
    77, "+628990000", 0, submitted=1_700_000_000, discharged=1_700_000_005, smsc="+62811000000"
)
#: Unsolicited lines that may stand between any two lines; a pair belongs together.
CHATTER: Final = (
    "^RSSI:17",
    '^HCSQ:"WCDMA",38,32,50',
    "^BOOT:20096657,0,0,0,20",
    "^MODE:5,4",
    "+CREG: 1",
    "+CGREG: 1",
    "+CEREG: 1",
    "RING",
    '+CLIP: "+62811000",145',
    '+CUSD: 2,"",15',
    '+CMTI: "SM",250',
    '+CDSI: "SM",250',
    f"+CDS: {_STRANGER[1]}\r\n{_STRANGER[0]}",
    "+UNHEARDOF: 1,2,3",
    "*PSUTTZ: 2026,11,23,1,2,3",
    "+CSQN: 5,0",
)
PROMPTS: Final[Mapping[str, bytes]] = {
    "usual": b"\r\n> ",
    "bare": b"\r\n>",
    "no crlf": b"> ",
    "bare, no crlf": b">",
    "crlf after": b"\r\n> \r\n",
    "only crlf after": b"> \r\n",
}
#: How a USSD answer is written: text in the current set, packed septets, UCS-2 or octets in hex.
Dialect = Literal["text", "packed", "ucs2", "octets"]


class Menu(Struct, frozen=True):
    """A USSD answer that asks for more: the next reply is looked up in `replies`."""

    text: str
    replies: dict[str, str | Menu] = {}


class Quirks(Struct, kw_only=True):
    """Of one modem. Seconds everywhere."""

    manufacturer: str = "otpsvc"
    model: str = "EMULATED"
    firmware: str = "1.0"
    #: Commands that are answered with ERROR, such as `+CNUM`.
    unsupported: frozenset[str] = frozenset()
    #: What a command is answered with instead, a fault or a line before OK:
    #: `{"+CMMS=": "CMS 500", "+CSCA?": "silent", "+CPIN?": "+CPIN: NOT READY"}`.
    answers: dict[str, str] = {}
    #: Seconds before every answer.
    delay: float = 0.0
    #: Errors are told in words, whatever +CMEE was set to.
    worded: bool = False

    # --- the line
    #: Bytes a second, both ways; 0: as fast as it goes (USB).
    rate: float = 0.0
    #: Echo after a start.
    echo: bool = True
    #: What is written when the body of a text is awaited; PROMPTS has the known ones.
    prompt: bytes = PROMPTS["usual"]
    #: Seconds from AT+CMGS to the prompt.
    prompt_delay: float = 0.0
    #: What ESC at the prompt is answered with; empty: nothing.
    escaped: str = "OK"
    #: What happens to characters that come while a command runs.
    busy: Literal["ignored", "queued", "abort"] = "ignored"
    #: How probable an unsolicited line is between any two lines, and which.
    noise: float = 0.0
    chatter: tuple[str, ...] = CHATTER
    #: How probable line noise is in front of any line.
    garbage: float = 0.0
    #: Unsolicited lines are written at the prompt too.
    urc_at_prompt: bool = False
    #: No unsolicited line comes here: they go to another port of the modem.
    mute: bool = False
    seed: int = 1

    # --- starting
    boot_time: float = 0.02
    boot: tuple[str, ...] = ("RDY", "+CFUN: 1")
    #: What is written when the SIM can be used.
    ready: tuple[str, ...] = ("+CPIN: READY", "SMS Ready", "Call Ready")
    #: Seconds that the SIM is busy after a start or a PIN.
    sim_busy: float = 0.0
    #: Seconds until it is registered.
    registration: float = 0.0
    #: The registration it comes to: 1 home, 2 searching, 3 denied, 5 roaming.
    stat: int = 1
    signal: int = 20

    # --- texts
    #: Modes that +CNMI offers: of mt and ds (27.005, 3.4.1).
    mt: tuple[int, ...] = (0, 1, 2)
    ds: tuple[int, ...] = (0, 1, 2)
    cnmi: tuple[int, int, int, int, int] = (2, 1, 0, 0, 0)
    #: Slots of each memory.
    slots: dict[str, int] = field(default_factory=lambda: {"SM": 20, "ME": 50, "SR": 20})
    first_slot: int = 1
    #: Where reports are stored.
    report_memory: str = "SR"
    #: What reading an empty slot is answered with.
    empty_slot: str = "CMS 321"
    #: Every AT+CMGS behaves so, unless `script` says otherwise.
    every: str = "ok"
    #: Seconds from the end of a text to its report.
    report_delay: float = 0.0
    #: How a direct report is written: as it should be, without the octet of the SMSC, under a
    #: length that is none of the PDU's, or as in text mode.
    framing: Literal["usual", "no smsc", "odd length", "text"] = "usual"
    report: Literal["once", "early", "double", "unknown", "never"] = "once"
    #: Seconds that a direct text may stay without +CNMA, with +CSMS=1 (27.005, 3.4.4).
    acknowledge: float = 15.0

    # --- USSD
    ussd: dict[str, str | Menu] = field(default_factory=lambda: {"*123#": "Balance: 10000"})
    dialect: Dialect = "text"
    #: The DCS that is told, whatever is true.
    ussd_dcs: int = 15
    ussd_delay: float = 0.0
    #: The answer comes before the OK.
    ussd_early: bool = False
    ussd_silent: bool = False
