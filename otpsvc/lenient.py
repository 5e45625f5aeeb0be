"""JSON as relay clients write it: more lenient than RFC 8259, and bounded before it is read.

Their parsers took a comma that trails, and numbers such as `0812` or `+62812`. Numbers
stay as they were written: an id of 20 digits is no float.
"""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import partial
from itertools import accumulate
from typing import Any, Final

from otpsvc.errors import BadRequest
from otpsvc.veiled import Veiled

#: Octets of a body; depth of its brackets; digits of a number.
BODY_MAX, DEPTH_MAX, DIGITS_MAX = 65_536, 32, 20

#: What is mended. Strings come first, so that what looks like a comma or a number in a text
#: stays; one without an end is taken whole, which keeps this linear.
_LENIENT = re.compile(
    r'("(?:[^"\\]++|\\.)*+"?)|(,)(?=\s*[\]}])|(?<![\w.+-])(\+[0-9]++|0[0-9]++)(?![\w.+-])', re.DOTALL
)
_LITERAL_STRING: Final = re.compile(r"""("(?:[^"\\]++|\\.)*+"?)|('(?:[^'\\]++|\\.)*+'?)""", re.DOTALL)
_STRING: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


class Number(Veiled, frozen=True):
    """A number as it was written: `1.10` and 2 to the power of 60 survive."""

    text: str

    def __float__(self) -> float:
        return float(self.text)

    @property
    def digits(self) -> str:
        """Without the fraction of a whole number: `12.0` and `1.2E1` are `12`."""
        if self.text.lstrip("-").isdecimal():
            return self.text
        value = Decimal(self.text)
        whole = abs(value) < 10**DIGITS_MAX and value == value.to_integral_value()
        return str(int(value)) if whole else self.text


def read_json(body: bytes, *, strict: bool = True) -> dict[str, Any]:
    """One JSON object, with trailing commas; not `strict`: and line breaks in texts. Raises: BadRequest."""
    try:
        if len(body) > BODY_MAX:
            raise ValueError("too large")
        text = body.decode("utf-8-sig")
        _check_depth(text)
        text = _LENIENT.sub(_mended, text)
        read = json.loads(text, parse_int=_kept, parse_float=_kept, parse_constant=_refused, strict=strict)
    except (ValueError, RecursionError, MemoryError):
        raise BadRequest("Broken JSON, or not one object.", code="broken_json") from None
    if not isinstance(read, dict):
        raise BadRequest("Broken JSON, or not one object.", code="broken_json")
    return read


def read_literal(body: bytes) -> dict[str, Any]:
    """One JSON object, or one Python literal, as the Pico gateway's clients write it. Raises: BadRequest.

    The gateway itself made each apostrophe a quotation mark and read JSON. So what it read is
    read, and a text with an apostrophe besides. Only literals: names, calls and operators are
    refused (`ast.literal_eval`).
    """
    as_gateway = partial(read_json, body.replace(b"'", b'"'), strict=False)
    ways = [partial(read_json, body, strict=False), partial(_read_python, body), as_gateway]
    if b'"' not in body:
        # The escapes in it are those of JSON.
        ways.insert(1, as_gateway)
    for way in ways:
        with suppress(BadRequest):
            return way()
        if len(body) > BODY_MAX:
            break
    raise BadRequest("Neither JSON nor a Python literal of one object.", code="broken_json")


def _read_python(body: bytes) -> dict[str, Any]:
    """Raises: BadRequest."""
    try:
        text = body.decode("utf-8-sig").strip()
        _check_literal(text)
        with warnings.catch_warnings():
            # Of an unknown escape in a text.
            warnings.simplefilter("ignore")
            return _as_json(ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        raise BadRequest("Neither JSON nor a Python literal of one object.", code="broken_json") from None


def _check_literal(text: str) -> None:
    """Raises: ValueError: too deep for a parser, or digits without end."""
    bare = _LITERAL_STRING.sub("", text)
    depth = max(accumulate((1 if char in "([{" else -1 if char in ")]}" else 0 for char in bare), initial=0))
    if depth > DEPTH_MAX or re.search(rf"[0-9_]{{{DIGITS_MAX + 1}}}", bare):
        raise ValueError("too deep")


def _as_json(value: object) -> dict[str, Any]:
    """Raises: ValueError: what JSON has no form for."""

    def read(one: object) -> Any:
        if isinstance(one, dict) and all(isinstance(name, str) for name in one):
            return {name: read(below) for name, below in one.items()}
        if isinstance(one, list | tuple):
            return [read(below) for below in one]
        if isinstance(one, bool | str | None):
            return one
        if isinstance(one, int) and abs(one) < 10**DIGITS_MAX:
            return Number(str(one))
        if isinstance(one, float) and math.isfinite(one):
            return Number(str(one))
        raise ValueError("no JSON")

    found = read(value)
    if not isinstance(found, dict):
        raise ValueError("no object")  # noqa: TRY004 - one kind for all
    return found


def plain(value: object) -> object:
    """What `read_json` gave, with numbers as numbers again."""
    if isinstance(value, Number):
        return int(value.text) if value.text.lstrip("-").isdecimal() else float(value.text)
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(one) for one in value]
    return value


def _mended(found: re.Match[str]) -> str:
    string, comma, number = found.groups()
    return string or ("" if comma else f'"{number}"')


def _kept(text: str) -> Number:
    if len(text.lstrip("-")) > DIGITS_MAX or not math.isfinite(float(text)):
        raise ValueError("too many digits")
    return Number(text)


def _refused(_: str) -> object:
    raise ValueError("NaN and Infinity are no JSON")


def _check_depth(text: str) -> None:
    """Raises: ValueError."""
    if text.count("[") + text.count("{") <= DEPTH_MAX:
        return
    depth = 0
    for bracket in _STRING.sub("", text):
        if bracket in "[{":
            depth += 1
            if depth > DEPTH_MAX:
                raise ValueError("too deep")
        elif bracket in "]}":
            depth -= 1


# The fields of what was read.


def text_of(data: Mapping[str, Any], *names: str) -> str:
    """The first of these fields that is text or a number, and not empty; `12.0` is `12`.

    Half a character, which no encoding has, becomes U+FFFD.
    """
    values = (data.get(name) for name in names)
    words = (value.digits if isinstance(value, Number) else value for value in values)
    text = next((word for word in words if isinstance(word, str) and word), "")
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def address_of(data: Mapping[str, Any], *names: str) -> str:
    """As `text_of`, of addresses: none is a number with a fraction, which reads as another one's."""
    values = {name: data.get(name) for name in names}
    broken = {name for name, one in values.items() if isinstance(one, Number) and not one.digits.isdecimal()}
    return text_of(values, *(name for name in names if name not in broken))


def written(data: Mapping[str, Any], *names: str) -> str:
    """The same as it came, for texts: what is broken in them is refused where they are sent."""
    for name in names:
        value = data.get(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, Number):
            return value.text
    return ""


def number_of(value: object) -> float | None:
    """Unix seconds; milliseconds are seen by their size."""
    try:
        read = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    if isinstance(value, bool) or not abs(read) < 1e15:
        return None
    return read / 1000 if read > 1e11 else read


def as_form(data: Mapping[str, Any]) -> dict[str, str]:
    """As a form would carry them; what is nested stays JSON."""
    found = {}
    for name, value in data.items():
        if isinstance(value, bool):
            found[name] = "true" if value else "false"
        elif isinstance(value, dict | list):
            found[name] = json.dumps(plain(value))
        elif isinstance(value, Number):
            # A fraction in an address would read as another digit.
            found[name] = address_of(data, name) if name == "to" else value.digits
        elif value is not None:
            found[name] = written(data, name)
    return found
