"""Parameters in every form they may come in, and everything that is refused."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpsvc.errors import BadRequest
from otpsvc.http.fields import BODY_MAX, FIELDS_MAX, read_body, read_fields, unquoted_segment

FORM = b"application/x-www-form-urlencoded"
JSON = b"application/json"
PARTS = b"multipart/form-data; boundary=xx"


def multipart(*parts: tuple[str, bytes], more: str = "") -> bytes:
    whole = b"".join(
        f'--xx\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"
        for name, value in parts
    )
    return whole + b"--xx--\r\n"


def code_of(body: bytes, kind: bytes, query: bytes = b"") -> tuple[str, str]:
    with pytest.raises(BadRequest) as caught:
        read_fields(body, kind, query)
    return caught.value.code, caught.value.field


@pytest.mark.parametrize(
    ("body", "kind", "query"),
    [
        (b"to=%2B49+170&otp=1%262", FORM, b""),
        (b"to=%2B49+170&otp=1%262", FORM + b"; charset=UTF-8", b""),
        (b"&to=%2B49%20170&&otp=1%262&", b"Application/X-WWW-Form-Urlencoded", b""),
        (b"", b"", b"to=%2B49+170&otp=1%262"),
        (b"", b"text/plain", b"to=%2B49+170&otp=1%262"),
        (b"otp=1%262", FORM, b"to=%2B49+170"),
        (b'{"to":"+49 170","otp":"1&2"}', JSON, b""),
        (b' {"to":"+49 170","otp":"1&2","ttl":null} ', JSON + b"; charset=utf-8", b""),
        (multipart(("to", b"+49 170"), ("otp", b"1&2")), PARTS, b""),
        (multipart(("to", b"+49 170"), ("otp", b"1&2")), b'multipart/form-data; boundary="xx"', b""),
    ],
)
def test_all_forms_read_alike(body: bytes, kind: bytes, query: bytes) -> None:
    assert read_fields(body, kind, query) == {"to": "+49 170", "otp": "1&2"}


def test_a_plus_that_was_not_escaped_is_a_blank_for_the_address_to_repair() -> None:
    assert read_fields(b"to=+49170", FORM, b"") == {"to": " 49170"}


def test_nothing_is_no_fields() -> None:
    assert read_fields(b"", b"", b"") == {}
    assert read_fields(b"{}", JSON, b"") == {}


def test_json_values_become_their_text() -> None:
    body = b'{"ttl":120,"whole":3.0E2,"n":-5,"f":1.50,"trusted":true,"x":false,"big":12345678901234567890}'

    assert read_fields(body, JSON, b"") == {
        "ttl": "120",
        "n": "-5",
        "whole": "300",
        "f": "1.50",
        "trusted": "true",
        "x": "false",
        "big": "12345678901234567890",
    }


@pytest.mark.parametrize("extra", ['{"a": 1.10}', "[1, 2]", '"text"', "7", "true", '{"a":1,"a":2}'])
def test_extra_keeps_its_json_text(extra: str) -> None:
    assert read_fields(f'{{"extra":{extra}}}'.encode(), JSON, b"") == {"extra": extra}


@pytest.mark.parametrize(
    ("body", "kind", "code", "field"),
    [
        (b"a=1&a=1", FORM, "duplicate_parameter", "a"),
        (b"a=1&%61=1", FORM, "duplicate_parameter", "a"),
        (b"a=%", FORM, "bad_encoding", ""),
        (b"a=%4", FORM, "bad_encoding", ""),
        (b"a=%zz", FORM, "bad_encoding", ""),
        (b"a=%ff", FORM, "bad_encoding", ""),
        (b"a=%ed%a0%80", FORM, "bad_encoding", ""),
        (b"a=\xff", FORM, "bad_encoding", ""),
        (b"a=%00", FORM, "invalid_character", "a"),
        (b"a=\x00", FORM, "invalid_character", "a"),
        (b"a%00=1", FORM, "invalid_character", "a"),
        (b"&".join(b"a%d=1" % n for n in range(FIELDS_MAX + 1)), FORM, "too_many_parameters", ""),
        (b"a=1", b"", "content_type", ""),
        (b"a=1", b"text/plain", "content_type", ""),
        (b"a=1", b"application/jsonp", "content_type", ""),
        (b"{", JSON, "broken_json", ""),
        (b"", JSON + b"", "", ""),
        (b"[]", JSON, "broken_json", ""),
        (b"7", JSON, "broken_json", ""),
        (b'"a"', JSON, "broken_json", ""),
        (b"null", JSON, "broken_json", ""),
        (b'{"to":81266666.5}', JSON, "invalid_parameter", "to"),
        (b'{"a":NaN}', JSON, "broken_json", ""),
        (b'{"a":Infinity}', JSON, "broken_json", ""),
        (b'{"a":"\xff"}', JSON, "broken_json", ""),
        ('{"a":"1"}'.encode("utf-16"), JSON, "broken_json", ""),
        (b'{"a":123456789012345678901}', JSON, "broken_json", ""),
        (b'{"a":"1"} x', JSON, "broken_json", ""),
        (b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}", JSON, "broken_json", ""),
        (b'{"extra":' + b"[" * 65 + b"]" * 65 + b"}", JSON, "broken_json", ""),
        (b'{"extra":' + b'{"a":' * 12_000, JSON, "broken_json", ""),
        (b'{"a":"1","a":"1"}', JSON, "duplicate_parameter", "a"),
        (b'{"a":"1","\\u0061":"1"}', JSON, "duplicate_parameter", "a"),
        (b'{"a":{"b":1}}', JSON, "invalid_parameter", "a"),
        (b'{"a":[1]}', JSON, "invalid_parameter", "a"),
        (b'{"a":"\\ud800"}', JSON, "broken_json", ""),
        (b'{"extra":"\\ud800"}', JSON, "broken_json", ""),
        (b'{"\\udc00":"1"}', JSON, "broken_json", ""),
        (b'{"a":"\\u0000"}', JSON, "invalid_character", "a"),
        (multipart(("a", b"1"), ("a", b"1")), PARTS, "duplicate_parameter", "a"),
        (multipart(("a", b"1"), more='; filename="x"'), PARTS, "file_part", "a"),
        (multipart(("a", b"\xff")), PARTS, "bad_encoding", ""),
        (multipart(("a", b"\0")), PARTS, "invalid_character", "a"),
        (multipart(("a", b"1"))[:-8], PARTS, "broken_multipart", ""),
        (b"junk", PARTS, "broken_multipart", ""),
        (multipart(("a", b"1")), b"multipart/form-data", "broken_multipart", ""),
        (multipart(("a", b"1")), b"multipart/form-data; boundary=yy", "broken_multipart", ""),
        (multipart(*((f"a{n}", b"1") for n in range(FIELDS_MAX + 1))), PARTS, "broken_multipart", ""),
    ],
)
def test_what_is_refused(body: bytes, kind: bytes, code: str, field: str) -> None:
    if not code:
        assert read_fields(body, kind, b"") == {}
        return
    assert code_of(body, kind) == (code, field)


def test_one_name_in_query_and_body() -> None:
    assert code_of(b"a=1", FORM, b"a=1") == ("duplicate_parameter", "a")
    assert code_of(b'{"a":"1"}', JSON, b"a=1") == ("duplicate_parameter", "a")


def test_a_long_query_is_refused() -> None:
    assert code_of(b"", b"", b"a=" + b"1" * BODY_MAX)[0] == "query_too_large"


def test_refusals_quote_little() -> None:
    with pytest.raises(BadRequest) as caught:
        read_fields(b"&".join([b"x" * 9000 + b"=1"] * 2), FORM, b"")
    assert len(caught.value.message) < 120
    assert len(caught.value.field) == 64


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"' + b'\\"' * 32_000,
        b'{"a":' + b'"' * 65_000,
        b"{" * 65_000,
        b"[" * 70 + b'"' + b'\\"' * 32_000,
        b'{"a":"' + b"[\\" * 32_000,
    ],
)
def test_hostile_json_is_refused_fast(body: bytes) -> None:
    began = time.thread_time()

    assert code_of(body, JSON)[0] == "broken_json"
    assert time.thread_time() - began < 0.5


@given(
    st.binary(max_size=300), st.sampled_from([FORM, JSON, PARTS, b"", b"text/plain"]), st.binary(max_size=60)
)
def test_any_bytes_are_read_or_refused(body: bytes, kind: bytes, query: bytes) -> None:
    try:
        fields = read_fields(body, kind, query)
    except BadRequest:
        return
    assert all("\0" not in name + value for name, value in fields.items())
    json.dumps(fields).encode()


@given(st.dictionaries(st.text(max_size=9), st.text(st.characters(exclude_categories=["Cs"]), max_size=20)))
def test_json_objects_of_texts_come_back(fields: dict[str, str]) -> None:
    wanted = {name: value for name, value in fields.items() if name != "extra"}
    broken = any("\ud800" <= letter <= "\udfff" for name in wanted for letter in name)
    if broken or any("\0" in name + value for name, value in wanted.items()):
        assert code_of(json.dumps(wanted).encode(), JSON)[0] in {"invalid_character", "broken_json"}
        return
    assert read_fields(json.dumps(wanted).encode(), JSON, b"") == wanted


def test_segments_keep_their_plus() -> None:
    assert unquoted_segment("a+b") == "a+b"
    assert unquoted_segment("a%2Bb+c") == "a+b+c"
    assert unquoted_segment("a%2Fb") == "a/b"
    for broken in ("%", "a%f", "%zz", "%ff"):
        with pytest.raises(BadRequest):
            unquoted_segment(broken)


async def read_in_pieces(
    *pieces: bytes, end: bool = True, headers: dict[bytes, bytes] | None = None
) -> bytes:
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages[-1]["more_body"] = not end

    async def receive() -> dict[str, object]:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    return await read_body(receive, headers or {})


async def test_bodies_come_in_pieces_up_to_the_cap() -> None:
    assert await read_in_pieces(b"a" * BODY_MAX) == b"a" * BODY_MAX
    assert await read_in_pieces(b"a" * 60_000, b"b" * 5536) == b"a" * 60_000 + b"b" * 5536


@pytest.mark.parametrize(
    ("pieces", "end", "headers", "code"),
    [
        ((b"a" * (BODY_MAX + 1),), True, {}, "body_too_large"),
        ((b"a" * 60_000, b"b" * 5537), True, {}, "body_too_large"),
        ((b"a",), True, {b"content-length": b"65537"}, "body_too_large"),
        ((b"a",), True, {b"content-length": b"9" * 500}, "body_too_large"),
        ((b"a", b"b"), False, {}, "incomplete_body"),
    ],
)
async def test_bodies_that_are_not_read_to_their_end(
    pieces: tuple[bytes, ...], end: bool, headers: dict[bytes, bytes], code: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        await read_in_pieces(*pieces, end=end, headers=headers)
    assert caught.value.code == code


async def test_a_body_that_stalls_is_given_up() -> None:
    messages = [{"type": "http.request", "body": b"a=", "more_body": True}]

    async def receive() -> dict[str, object]:
        if not messages:
            await asyncio.sleep(60)
        return messages.pop()

    with pytest.raises(BadRequest) as caught:
        await read_body(receive, {}, timeout=0.01)
    assert caught.value.code == "slow_body"
