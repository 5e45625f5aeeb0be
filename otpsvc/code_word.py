"""The code in a text that came in: the number that words such as "code" or "OTP" stand beside.

One look over the text finds its numbers with what binds their digits together (dates,
phone numbers, amounts), a second one the words; each number is then ranked by its
neighbours. Every look behind or ahead is bounded, so the time grows with the text alone.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from typing import Final, NamedTuple

#: Characters between a number and its word.
_NEAR: Final = 80
#: Characters before and after a number that say what it is.
_AROUND: Final = 24
#: Digits and dashes of other scripts, and marks that only turn the direction of writing.
_PLAIN: Final = (
    {first + value: str(value) for first in (0x660, 0x6F0, 0xFF10) for value in range(10)}
    | dict.fromkeys((0x2010, 0x2011, 0x2012, 0x2013), "-")
    | dict.fromkeys((0xA0, 0x2007, 0x2009, 0x202F), " ")
    | dict.fromkeys((0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
)
#: The last line of a text for browsers: `@host #123456` (WebOTP).
_BOUND: Final = re.compile(r"^@[^\s#@]{1,253} #([0-9]{4,8})(?![0-9A-Za-z])", re.MULTILINE)
_RUN: Final = re.compile(r"[0-9](?:[0-9]|[-/.,:' ](?=[0-9]))*")
_WHOLE: Final = re.compile(r"[0-9]{4,8}|[0-9]{3}[- ][0-9]{3}")
#: Only right behind a word: it may be a date.
_PAIRS: Final = re.compile(r"[0-9]{2} [0-9]{2} [0-9]{2}")
_WORD: Final = re.compile(
    r"code|kode|c[oó]digo|codice|passwor[dt]|passwort|kennwort|contraseña|verif|bestätigung|رمز|كود"
    r"|\b(?:e?pin|otp|tokens?|clave|sandi|(?-i:[a-z]{0,4}TAN))\b",
    re.IGNORECASE,
)
_STOP: Final = re.compile(r"[.!?؟](?=\s)|(?<![:\s])\s*\n")
_MONEY: Final = (
    r"(?:rp|idr|usd|eur|euros?|gbp|sgd|myr|rm|inr|rs|sar|aed|egp|mxn|cop|chf|dollars?|pesos?|rupiah|ribu|juta"
    r"|ريال|درهم|دينار|جنيه)"
)
_SIGN: Final = r"[$€£¥₹₽₩₺﷼]"
_PRICED: Final = re.compile(rf"(?:{_SIGN}|(?<![^\W\d_]){_MONEY})[.:]? ?-?\Z", re.IGNORECASE)
_COUNTED: Final = re.compile(rf" ?(?:{_SIGN}|%|(?:{_MONEY})(?![^\W\d_]))", re.IGNORECASE)
#: `G-123456` of Google, `FB-12345`, and `OTP-123456`.
_LABEL: Final = re.compile(r"(?<![^\W_])(?:g|fb|otp|code|kode|pin)-\Z", re.IGNORECASE)
_GLUED: Final = re.compile(r"(?:[^\W\d]|[-+/*•.,×])\Z")
#: It is the number of something else.
_OTHER: Final = re.compile(
    r"(?<![^\W_])(?:ref(?:erence|erensi)?|referencia|referenz|no|nr|order|pesanan|pedido|bestellung|account|acct"
    r"|rekening|konto|cuenta|card|kartu|karte|tarjeta|ending(?: in)?|berakhir|endet auf|terminada en|call"
    r"|hubungi|llame al|id|invoice|tel|phone|telp|رقم|بطاقة)[.:#\s]{0,3}\Z",
    re.IGNORECASE,
)
_LEADS: Final = re.compile(
    r"(?:[:=]|(?<![^\W_])(?:is|are|adalah|ialah|ist|lautet|es|é|è|est|use|enter|gunakan|masukkan|هو|هي))\s*\Z",
    re.IGNORECASE,
)
_FOLLOWS: Final = re.compile(
    r"\s*(?:=|(?:is|as|adalah|merupakan|sebagai|ist|als|es|como|é|è|est|comme|هو|هي)(?![^\W_]))",
    re.IGNORECASE,
)


class _Number(NamedTuple):
    start: int
    end: int
    code: str
    #: It counts only right behind a word.
    doubtful: bool


def find_code(text: str) -> str:
    """4 to 8 digits without what stands between them; empty when no number looks like a code.

    A number beside a word for codes comes first, then the only number that there is.
    Digits of other scripts come back as 0-9.
    """
    text = text.translate(_PLAIN)
    if bound := _BOUND.search(text):
        return bound[1]
    numbers = [found for run in _RUN.finditer(text) if (found := _number(text, run))]
    words = [word.span() for word in _WORD.finditer(text)]
    stops = [stop.start() for stop in _STOP.finditer(text)]
    ranked = [(rank, at) for at, number in enumerate(numbers) if (rank := _rank(text, number, words, stops))]
    if ranked:
        return numbers[min(ranked)[1]].code
    alone = [number.code for number in numbers if not number.doubtful]
    return alone[0] if len(alone) == 1 else ""


def _number(text: str, run: re.Match[str]) -> _Number | None:
    """The number that may be a code; None where its neighbours say that it is none."""
    start, end = run.span()
    before, after = text[max(0, start - _AROUND) : start], text[end : end + _AROUND]
    pairs = bool(_PAIRS.fullmatch(run[0]))
    if not (pairs or _WHOLE.fullmatch(run[0])):
        return None
    if _PRICED.search(before) or _COUNTED.match(after):
        return None
    if not _LABEL.search(before) and _GLUED.search(before):
        return None
    if after[:1].isalnum() or after[:1] == "_" or (after[:1] in "-/" and after[1:2].isalnum()):
        return None
    return _Number(start, end, re.sub(r"[- ]", "", run[0]), pairs)


def _rank(
    text: str, number: _Number, words: list[tuple[int, int]], stops: list[int]
) -> tuple[int, int] | None:
    """How sure it is (less is surer), and the characters to its word; None: no word is near."""
    before = text[max(0, number.start - _AROUND) : number.start]
    if _OTHER.search(before):
        return None
    at = bisect_right(words, (number.start, number.start))
    left = number.start - words[at - 1][1] if at else _NEAR + 1
    right = words[at][0] - number.end if at < len(words) else _NEAR + 1
    led = left <= 3 or bool(_LEADS.search(before))
    if left <= _NEAR and led and not _parted(stops, number.start - left, number.start):
        return 0, left
    if number.doubtful:
        return None
    ways = []
    if right <= _NEAR:
        parted = _parted(stops, number.end, number.end + right)
        ways.append((5 if parted else 1 if _FOLLOWS.match(text, number.end) else 3, right))
    if left <= _NEAR:
        ways.append((4 if _parted(stops, number.start - left, number.start) else 2, left))
    return min(ways, default=None)


def _parted(stops: list[int], start: int, end: int) -> bool:
    """A sentence ends between these places."""
    return bisect_left(stops, start) != bisect_left(stops, end)
