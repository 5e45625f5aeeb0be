"""How answers are written: words or numbers, and errors in three ways (V.250, 6.2; 27.007, 9.1)."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from otpsvc.gsm.emulator.sim import Refusal

#: 27.007, 9.2, as +CMEE=2 writes them.
_WORDS: Final = {
    3: "operation not allowed",
    4: "operation not supported",
    10: "SIM not inserted",
    11: "SIM PIN required",
    12: "SIM PUK required",
    13: "SIM failure",
    14: "SIM busy",
    16: "incorrect password",
    21: "invalid index",
    30: "no network service",
    100: "unknown",
}
#: 27.005, 3.2.5, as those modems write them that tell words there too.
_SMS_WORDS: Final = {
    302: "operation not allowed",
    303: "operation not supported",
    304: "Invalid PDU mode parameter",
    310: "SIM not inserted",
    311: "SIM PIN required",
    314: "SIM busy",
    316: "SIM PUK required",
    321: "Invalid memory index",
    322: "SIM memory full",
    331: "no network service",
    332: "Network timeout",
    500: "Unknown error",
}
#: Result codes without +CMEE, as ATV0 writes them. (V.250, 5.7.1)
_NUMBERS: Final = {"OK": "0", "RING": "2", "NO CARRIER": "3", "ERROR": "4"}


class Format(Struct):
    """What ATE, ATV, ATQ and AT+CMEE set. `errors`: 0 a bare ERROR, 1 numbers, 2 words.

    `worded`: words in any case, for SMS too.
    """

    echo: bool = True
    verbose: bool = True
    quiet: bool = False
    errors: int = 0
    worded: bool = False

    def result(self, words: str) -> bytes:
        if self.quiet:
            return b""
        if self.verbose:
            return f"\r\n{words}\r\n".encode("latin-1")
        return f"{_NUMBERS.get(words, words)}\r".encode("latin-1")

    def information(self, line: str) -> bytes:
        before = "\r\n" if self.verbose else ""
        return f"{before}{line}\r\n".encode("latin-1", "replace")

    def error(self, refusal: Refusal) -> str:
        """+CMS ERROR has its number whatever +CMEE says (27.005, 3.2.5)."""
        if self.worded and refusal.kind:
            words = _SMS_WORDS if refusal.kind == "CMS" else _WORDS
            return f"+{refusal.kind} ERROR: {words.get(refusal.number, 'unknown')}"
        if refusal.kind == "CMS":
            return f"+CMS ERROR: {refusal.number}"
        if refusal.kind != "CME" or not self.errors:
            return "ERROR"
        if self.errors == 1:
            return f"+CME ERROR: {refusal.number}"
        return f"+CME ERROR: {_WORDS.get(refusal.number, 'unknown')}"
