"""What relay clients write for numbers and texts, and what is read of it."""

from __future__ import annotations

from typing import Any

import pytest

from otpsvc import command
from otpsvc.errors import BadRequest
from otpsvc.lenient import address_of, as_form, read_json, read_literal, text_of


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("628126666667", "628126666667"),
        ("628126666667.0", "628126666667"),
        ("6.28126666667E11", "628126666667"),
        ("0812", "0812"),
        ("+62812", "+62812"),
        ("1e3", "1000"),
        ("-0.0", "0"),
    ],
)
def test_a_whole_number_is_its_digits_however_it_was_written(written: str, read: str) -> None:
    data = read_json(f'{{"to": {written}}}'.encode())

    assert (text_of(data, "to"), address_of(data, "to"), as_form(data)) == (read, read, {"to": read})


@pytest.mark.parametrize("written", ["81266666.5", "1e-3", "1e30", "-5"])
def test_no_address_is_made_of_another_number(written: str) -> None:
    """Its point would be taken for one between digits: then it is another one's."""
    data = read_json(f'{{"to": {written}, "receiver": "+628126666666"}}'.encode())

    assert address_of(data, "to") == ""
    assert address_of(data, "to", "receiver") == "+628126666666"
    assert text_of(data, "to") == written


def commanded(body: bytes) -> command.Command:
    return command.read(body, now=0.0).commands[0]


def test_numbers_of_commands_are_read_so() -> None:
    sent = commanded(b'{"command":"send-sms","data":{"id":7.0,"msisdn":628126666667.0,"message":1.50}}')
    blocked = commanded(b'{"command":"block-msisdn","data":{"msisdn":628126666667.0}}')
    broken = commanded(b'{"command":"block-msisdn","data":{"msisdn":81266666.5}}')

    assert isinstance(sent, command.Send)
    assert (sent.id, sent.to, sent.text) == ("7", "628126666667", "1.50")
    assert isinstance(blocked, command.Block)
    assert blocked.to == "628126666667"
    assert isinstance(broken, command.Unknown)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("""{'to':'447700900123','text':'hi','urgent':true,'more':null}""", "hi"),
        ("""{"to":"447700900123","text":"two\nlines\there"}""", "two\nlines\there"),
        ("""{'to':'447700900123','text':'two\nlines'}""", "two\nlines"),
        (r"""{'to':'447700900123','text':'a\/b \ud83d\ude00'}""", "a/b 😀"),
        (r"""{'to': '447700900123', 'text': 'a\x21', 'urgent': True}""", "a!"),
        ("""{'to': '447700900123', 'text': "it's", 'urgent': None}""", "it's"),
        ("""{"to": "447700900123", "text": "it's"}""", "it's"),
    ],
)
def test_what_the_pico_gateway_read_is_read(body: str, text: str) -> None:
    """It made each apostrophe a quotation mark and read JSON, which spoilt texts that have one."""
    read: dict[str, Any] = read_literal(body.encode())

    assert (read["to"], read["text"]) == ("447700900123", text)


def test_line_breaks_in_texts_are_no_json_elsewhere() -> None:
    with pytest.raises(BadRequest):
        read_json(b'{"text":"two\nlines"}')
