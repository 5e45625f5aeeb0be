"""The parameters of a request, from query, form, multipart and JSON alike, as one dict of texts.

Sizes and depths are capped before anything is parsed (SECURITY 28); a name that comes
twice is refused, because nobody can say which one was meant.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from decimal import Decimal
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from otpsvc.errors import BadRequest
from otpsvc.http.envelope import BodyRefused

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Fields = dict[str, str]

#: Bytes of a body, and of a query.
BODY_MAX: Final = 65_536
#: Seconds for a body to arrive.
BODY_TIME: Final = 10.0
FIELDS_MAX: Final = 100
DEPTH_MAX: Final = 64
DIGITS_MAX: Final = 20

FORM: Final = b"application/x-www-form-urlencoded"
_BROKEN_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# Possessive, and content with a string that never ends: linear whatever comes.
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+\\?(?:"|\Z)', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


async def read_body(receive: Receive, headers: dict[bytes, bytes], *, timeout: float = BODY_TIME) -> bytes:
    """The whole body, `timeout` seconds after its first piece at the latest.

    Raises: BadRequest when it is too large, too slow or breaks off.
    """
    length = headers.get(b"content-length", b"")
    if length.isdigit() and (len(length) > DIGITS_MAX or int(length) > BODY_MAX):
        raise _too_large()
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > BODY_MAX:
            raise _too_large()
        return body
    try:
        async with asyncio.timeout(timeout):
            return await _rest(message, receive)
    except TimeoutError:
        raise BodyRefused("The body did not come in time.", code="slow_body") from None


async def _rest(message: MutableMapping[str, Any], receive: Receive) -> bytes:
    body = bytearray()
    while message["type"] == "http.request":
        body += message.get("body", b"")
        if len(body) > BODY_MAX:
            raise _too_large()
        if not message.get("more_body"):
            return bytes(body)
        message = await receive()
    raise BodyRefused("The body broke off.", code="incomplete_body")


def _too_large() -> BodyRefused:
    return BodyRefused(f"The body is larger than {BODY_MAX} bytes.", code="body_too_large")


def read_fields(body: bytes, content_type: bytes, query: bytes) -> Fields:
    """All parameters of a request. Raises: BadRequest, which names the field."""
    if len(query) > BODY_MAX:
        raise BadRequest(f"The query is larger than {BODY_MAX} bytes.", code="query_too_large")
    fields = _body_fields(body, content_type) if body else {}
    for name, value in read_form(query).items() if query else ():
        _add(fields, name, value)
    return fields


def _body_fields(body: bytes, content_type: bytes) -> Fields:
    kind = content_type.partition(b";")[0].strip().lower()
    if kind == FORM:
        return read_form(body)
    if kind == b"application/json":
        return _read_json(body)
    if kind == b"multipart/form-data":
        return _read_multipart(body, content_type)
    raise BadRequest(
        "Unknown content type: a form, multipart/form-data or application/json.", code="content_type"
    )


def read_form(raw: bytes) -> Fields:
    """A query or a form body (WHATWG URL, 5.1), but what is broken is refused."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise _bad_encoding() from None
    fields: Fields = {}
    escaped = "%" in text or "+" in text
    for pair in text.split("&"):
        name, _, value = pair.partition("=")
        if escaped:
            name, value = _unquoted(name), _unquoted(value)
        if pair:
            _add(fields, name, value)
    return fields


def unquoted_segment(raw: str) -> str:
    """A segment of a path, where `+` stands for itself. Raises: BadRequest."""
    return _unquoted(raw.replace("+", "%2B")) if "%" in raw else raw


def _unquoted(text: str) -> str:
    text = text.replace("+", " ")
    if "%" not in text:
        return text
    if _BROKEN_PERCENT.search(text):
        raise _bad_encoding()
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise _bad_encoding() from None


def _bad_encoding() -> BadRequest:
    return BadRequest("Broken percent encoding, or no UTF-8.", code="bad_encoding")


def _add(fields: Fields, name: str, value: str) -> None:
    """Raises: BadRequest."""
    if name in fields:
        raise BadRequest(
            f"`{name[:64]}` is given more than once.", code="duplicate_parameter", field=name[:64]
        )
    if "\0" in name or "\0" in value:
        shown = name.replace("\0", "")[:64]
        raise BadRequest(f"`{shown}` holds a NUL.", code="invalid_character", field=shown)
    if len(fields) >= FIELDS_MAX:
        raise BadRequest(f"More than {FIELDS_MAX} parameters.", code="too_many_parameters")
    fields[name] = value


def _read_multipart(body: bytes, content_type: bytes) -> Fields:
    """Text parts alone (RFC 7578)."""
    fields: Fields = {}
    try:
        _, options = parse_options_header(content_type.decode("latin-1"))
        with PushMultipartParser(
            options.get("boundary", ""), max_segment_count=FIELDS_MAX, strict=True
        ) as parser:
            for name, value in _parts(parser, body):
                _add(fields, name, value.decode())
    except UnicodeDecodeError:
        raise _bad_encoding() from None
    except MultipartError:
        raise BadRequest("Broken multipart body.", code="broken_multipart") from None
    return fields


def _parts(parser: PushMultipartParser, body: bytes) -> Iterator[tuple[str, bytes]]:
    name, value = "", bytearray()
    for event in parser.parse(body):
        if isinstance(event, MultipartSegment):
            name, value = event.name or "", bytearray()
            if event.filename is not None:
                raise BadRequest("Files are not taken.", code="file_part", field=name[:64])
        elif event:
            value += event
        else:
            yield name, bytes(value)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as it stands in the text, so that doubles can be seen."""


def _read_json(body: bytes) -> Fields:
    """Members of one object: text, integers, true and false; `extra` may be any JSON value."""
    try:
        text = body.decode()
        _check_depth(text)
        # Digits stay text: nothing is computed from them here.
        read = json.loads(
            text, object_pairs_hook=_Pairs, parse_int=_digits, parse_float=_whole, parse_constant=_broken
        )
        # What `extra` looked like: reading and writing it anew would change numbers. Also
        # refuses escapes that name half of a character, which no encoding has.
        raw = msgspec.json.decode(body, type=dict[str, msgspec.Raw]) if isinstance(read, _Pairs) else {}
    except (ValueError, RecursionError, MemoryError):
        raise BadRequest("Broken JSON, or not one object.", code="broken_json") from None
    if not isinstance(read, _Pairs):
        raise BadRequest("Broken JSON, or not one object.", code="broken_json")
    fields: Fields = {}
    for name, value in read:
        if value is not None:
            _add(fields, name, _json_text(name, value, raw))
    return fields


def _json_text(name: str, value: object, raw: dict[str, msgspec.Raw]) -> str:
    if name == "extra":
        return bytes(raw[name]).decode()
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal) and name != "to":
        return str(value)
    raise BadRequest(
        f"Invalid `{name[:64]}` value: a text, a whole number, true or false.",
        code="invalid_parameter",
        field=name[:64],
    )


def _whole(text: str) -> object:
    """The digits of `300.0`. A fraction stays a number: the point in an address would be dropped."""
    value = Decimal(_digits(text))
    return str(int(value)) if value.adjusted() < DIGITS_MAX and value == value.to_integral_value() else value


def _digits(text: str) -> str:
    if len(text.lstrip("-")) > DIGITS_MAX:
        raise ValueError("too many digits")
    return text


def _broken(_: str) -> object:
    raise ValueError("NaN and Infinity are no JSON")


def _check_depth(text: str) -> None:
    """Raises: ValueError."""
    if text.count("[") + text.count("{") <= DEPTH_MAX:
        return
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > DEPTH_MAX:
            raise ValueError("too deep")
