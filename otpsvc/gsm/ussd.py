"""USSD: which codes may be dialled, and the dialects in which modems write them.

3GPP TS 22.030, 6.5 (what a code does), 23.038, 5 and 6.1.2.3 (packing), 27.007, 7.15
(+CUSD). A modem's DCS lies too often to be believed: answers are decoded by trial.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import unicodedata
from enum import Enum
from typing import Final

from otpsvc.errors import CommandFailed, ModemError, NoAnswer
from otpsvc.gsm import alphabet, septets
from otpsvc.gsm.at import At
from otpsvc.gsm.cause import Cause, cause_of
from otpsvc.gsm.settings import Timeouts
from otpsvc.gsm.types import UssdAnswer
from otpsvc.gsm.urc import UssdCame

_DIALLED: Final = re.compile(r"[0-9*#+]{1,40}")
_SERVICE: Final = re.compile(r"[*#]([0-9]+)")
#: Forwarding, barring, and passwords and PINs: 22.030, Annex B and 6.6.
_FORWARDING: Final = frozenset({"21", "61", "62", "67", "002", "004"})
_BARRING: Final = frozenset({"33", "330", "331", "332", "333", "35", "351", "353"})
_SECRETS: Final = frozenset({"03", "04", "042", "05", "052"})
_DANGEROUS: Final = _FORWARDING | _BARRING | _SECRETS
#: Of +CUSD: the network ended the session; and seconds that an answer may come after it.
_ENDED, _GRACE = 2, 2.0
_GSM: Final = re.compile(rb"[^\n\r\t\x20-\x7f]")
_HEX: Final = re.compile(r"[0-9A-Fa-f]{4,}")
#: How much of an answer must be like words.
_PLAUSIBLE, _PLAIN = 0.75, 0.93
_USUAL: Final = frozenset(".,:;-/+*#()!?'\"%&=\r\n")


class Dialect(Enum):
    """How a modem wants a code to be written."""

    TEXT = "text"
    PACKED = "packed"
    UCS2 = "ucs2"


def dialable(code: str) -> None:
    """Nothing, for 1 to 40 of `0-9 * # +`: no quote, no `;`, no letter can reach an AT command.

    Raises: ValueError, without the code in it.
    """
    if not _DIALLED.fullmatch(code):
        raise ValueError("Not a USSD code: expected 1 to 40 of the characters 0-9 * # +.")


def dangerous(code: str) -> bool:
    """Whether a code may forward or bar calls, or change a PIN or a password (22.030, 6.5.2).

    Every registration (`**`) and every erasure (`##`) may; to ask (`*#21#`) changes nothing.
    """
    code = code.replace("+", "")
    if code.startswith(("**", "##")):
        return True
    found = _SERVICE.match(code)
    return found is not None and found[1] in _DANGEROUS


def encode(code: str, dialect: Dialect) -> str:
    """The argument of AT+CUSD for a dialable code."""
    if dialect is Dialect.UCS2:
        return code.encode("utf-16-be").hex().upper()
    if dialect is Dialect.PACKED:
        return pack(code.encode("ascii")).hex().upper()
    return code


def pack(codes: bytes) -> bytes:
    """Septets (one an octet) packed; seven bits that are left over hold a CR (23.038, 6.1.2.3.1)."""
    full = len(codes) % 8 == 0 and codes.endswith(b"\r")
    return septets.pack(codes + b"\r" if len(codes) % 8 == 7 or full else codes)


def unpack(octets: bytes) -> bytes:
    """Septets (one an octet), without the CR or the zero bits that fill up the last octet."""
    codes = septets.unpack(octets, len(octets) * 8 // 7)
    return codes[:-1] if len(codes) % 8 == 0 and codes[-1:] in {b"\r", b"\0"} else codes


def decode(raw: str, dcs: int) -> str:
    """What an answer says: tried as UCS-2, packed septets and octets in hex, else as it came.

    The likeliest of these wins; what the DCS names (23.038, 5) is worth a little more. Never raises.
    """
    octets = _octets(raw)
    # A number is more often a number than hex of anything but plain text.
    needed = _PLAIN if raw.isdecimal() else _PLAUSIBLE
    tried = [(way(octets), way is _HINTED.get(dcs)) for way in (_ucs2, _packed, _latin)] if octets else []
    likely = [(likeness(text) + 0.1 * named, text) for text, named in tried if likeness(text) >= needed]
    return max(likely, key=lambda scored: scored[0])[1] if likely else _as_it_came(raw)


def _as_it_came(raw: str) -> str:
    """Text of the set that the modem was told to use, GSM (27.005, 3.1), or of UTF-8."""
    try:
        octets = raw.encode("latin-1")
        if not octets.isascii():
            return octets.decode()
    except UnicodeError:
        return raw
    # Codes below a blank are letters there: `$` is 2, `_` is 17.
    return alphabet.decode(octets) if _GSM.search(octets) else raw


def _octets(raw: str) -> bytes:
    """Empty: not hex, or too little to tell. Modems break long lines inside the quotes."""
    hexes = "".join(raw.split())
    return bytes.fromhex(hexes) if len(hexes) % 2 == 0 and _HEX.fullmatch(hexes) else b""


def _ucs2(octets: bytes) -> str:
    try:
        return octets.decode("utf-16-be")
    except UnicodeDecodeError:
        return ""


def _packed(octets: bytes) -> str:
    return alphabet.decode(unpack(octets))


def _latin(octets: bytes) -> str:
    return octets.decode("latin-1")


_HINTED: Final = {0x48: _ucs2, 0x11: _ucs2, 0x0F: _packed, 0x01: _packed, 0x44: _latin}


def likeness(text: str) -> float:
    """0 to 1: how much a string is like words of one script, with figures."""
    if not text.strip():
        return 0.0
    scripts = [script(letter) for letter in text if script(letter)]
    main = max(set(scripts), key=scripts.count) if scripts else ""
    before = zip(" " + text, text, strict=False)
    return sum(_weight(last, letter, main) for last, letter in before) / len(text)


def script(letter: str) -> str:
    """The first word of a letter's Unicode name, such as LATIN; empty: it is no letter."""
    if unicodedata.category(letter)[0] not in "LM":
        return ""
    name = unicodedata.name(letter, "UNNAMED").partition(" ")[0]
    return "CJK" if name in {"HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"} else name


def _weight(last: str, letter: str, main: str) -> float:
    """How usual a character is after `last` in a text of the script `main`."""
    if letter in _USUAL:
        return 0.95
    if not letter.isascii():
        return 0.9 if script(letter) == main else 0.5 if unicodedata.category(letter) == "Sc" else 0.0
    if letter.isalpha():
        # Noise mixes cases; words do not.
        return 0.0 if main != "LATIN" or (last.islower() and letter.isupper()) else 1.0
    return 1.0 if letter in " 0123456789" else 0.1 if letter.isprintable() else 0.0


class Exchange:
    """USSD codes over one modem, one at a time; remembers the dialect that it takes."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._dialect: Dialect | None = None
        self._answer: asyncio.Future[UssdCame] | None = None
        self._ended: UssdCame | None = None
        #: A question was given up, and the network may still think of it.
        self.stale = False

    def came(self, answer: UssdCame) -> None:
        """+CUSD: the answer, or a word of the network that nobody waits for."""
        if self._answer is None or self._answer.done():
            return
        # The end of an older session looks so too: an answer may still follow.
        if answer.status == _ENDED and not answer.text:
            self._ended = answer
            asyncio.get_running_loop().call_later(_GRACE, self._end, self._answer)
            return
        self._answer.set_result(answer)

    def _end(self, waiting: asyncio.Future[UssdCame]) -> None:
        if self._ended is not None and not waiting.done():
            waiting.set_result(self._ended)

    def lost(self, error: ModemError) -> None:
        """The modem is gone or started anew: no answer will come."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    async def ask(self, at: At, code: str, *, maker: str = "") -> UssdAnswer:
        """Raises: ValueError, NoAnswer, CommandFailed, LineLost."""
        dialable(code)
        self._ended = None
        self._answer = asyncio.get_running_loop().create_future()
        self.stale = True
        try:
            await self._dial(at, code, maker)
            async with asyncio.timeout(self._timeouts.ussd):
                came = await self._answer
        except TimeoutError:
            await self.cancel(at)
            raise NoAnswer("AT+CUSD") from None
        finally:
            # A loss that came before anybody waited for the answer was told by the command itself.
            if self._answer.done() and not self._answer.cancelled():
                self._answer.exception()
            self._answer = None
        self.stale = False
        return UssdAnswer(status=came.status, text=decode(came.text, came.dcs), raw=came.text, dcs=came.dcs)

    async def cancel(self, at: At) -> None:
        """End the session, whoever began it. Raises: NoAnswer, LineLost."""
        self.stale = False
        with contextlib.suppress(CommandFailed):
            await at.ask("AT+CUSD=2")

    async def _dial(self, at: At, code: str, maker: str) -> None:
        first = Dialect.PACKED if "huawei" in maker.lower() else Dialect.TEXT
        order = [self._dialect or first, *[each for each in Dialect if each is not (self._dialect or first)]]
        for dialect in order:
            try:
                await at.ask(f'AT+CUSD=1,"{encode(code, dialect)}",15', secret=True)
            except CommandFailed as failed:
                # It may want another dialect; what the SIM or the network refuses, it refuses in all.
                if cause_of(failed) is not Cause.UNKNOWN or dialect is order[-1]:
                    raise
            else:
                self._dialect = dialect
                return
