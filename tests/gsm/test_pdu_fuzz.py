"""PDUs of chance, PDUs that were damaged on the way, and texts that go all the way round."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otpsvc.errors import BadPdu
from otpsvc.gsm import pdu
from otpsvc.gsm.parts import split
from otpsvc.gsm.pdu import Deliver, StatusReport, Submit

AT = 1_795_415_415.0
EXTENSION = "\f^{}\\[~]|€"

letters = st.one_of(
    st.characters(exclude_categories=["Cs"]),
    st.sampled_from(EXTENSION + "@§äÜ \r\n0123456789abcdefghij"),
    st.sampled_from("😀👨‍👩‍👧🇮🇩ŞşğıçãÉжश"),
)
texts = st.text(letters, min_size=1, max_size=500)
senders = st.sampled_from(["+46708251358", "50131", "My Bank", "x@y[z]", "12345678901234567890"])
numbers = st.sampled_from(["+46708251358", "50131", "+123", "123"])
languages = st.sets(st.integers(1, 13)).map(sorted)


@st.composite
def parts(draw: st.DrawFn, text: str = "") -> list[pdu.Submit]:
    pieces = split(
        text or draw(texts),
        reference=draw(st.integers(0, 65535)),
        wide=draw(st.booleans()),
        flash=draw(st.booleans()),
        national=draw(languages),
    )
    to, validity, report = draw(numbers), draw(st.none() | st.integers(0, 10**8)), draw(st.booleans())
    return [Submit(to=to, part=piece, validity=validity, report=report) for piece in pieces]


valid = st.one_of(
    parts().map(lambda submits: submits[0].encoded()[0]),
    st.builds(
        lambda submits, sender: pdu.encode_deliver(sender, submits[-1].part, at=AT)[0], parts(), senders
    ),
    st.builds(
        lambda number, status: pdu.encode_status_report(7, number, status, submitted=AT, discharged=AT)[0],
        numbers,
        st.integers(0, 255),
    ),
)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A valid PDU with octets changed, taken out, put in, or the end cut off."""
    octets = bytearray.fromhex(draw(valid))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(octets) - 1)))
        match draw(st.sampled_from(["change", "flip", "take", "put", "cut"])):
            case "change":
                octets[at : at + 1] = bytes((draw(st.integers(0, 255)),))
            case "flip" if octets:
                octets[at] ^= 1 << draw(st.integers(0, 7))
            case "take":
                del octets[at : at + 1]
            case "put":
                octets[at:at] = draw(st.binary(max_size=3))
            case _:
                del octets[at:]
    return octets.hex()


def read_if_it_can(read: Callable[[str], object], hexes: str) -> object:
    """None where it is no PDU; any other exception than BadPdu fails the test."""
    with contextlib.suppress(BadPdu):
        return read(hexes)
    return None


def check(hexes: str) -> None:
    came = read_if_it_can(pdu.read, hexes)
    if isinstance(came, Deliver):
        # Clean text: it can be stored and shown whatever came.
        (came.sender + came.text + pdu.whole([came])).encode()
        assert came.concat is None or 1 <= came.concat.number <= came.concat.total <= 255
    elif isinstance(came, StatusReport):
        assert came.delivered + came.pending + came.failed == 1
    sent = read_if_it_can(pdu.read_submit, hexes)
    if isinstance(sent, Submit):
        assert sent.data.part == sent.part
        sent.data.text.encode()


@settings(max_examples=1000)
@given(st.binary(max_size=200))
@example(b"")
def test_random_octets(octets: bytes) -> None:
    check(octets.hex())


@settings(max_examples=1000)
@given(st.sampled_from(["00", "0791" + "7283010010F5"]), st.sampled_from(range(256)), st.binary(max_size=180))
def test_random_octets_after_a_good_beginning(smsc: str, first: int, octets: bytes) -> None:
    check(f"{smsc}{first:02X}" + octets.hex())


@settings(max_examples=1000)
@given(damaged())
def test_damaged_pdus(hexes: str) -> None:
    check(hexes)


@given(st.text(max_size=60))
def test_any_string(line: str) -> None:
    check(line)


@given(valid)
def test_a_pdu_that_ends_early_is_none(hexes: str) -> None:
    """Cut anywhere, but for what may be left out: the status report's end, and nothing at all of it."""
    read = (
        pdu.read if isinstance(read_if_it_can(pdu.read, hexes), Deliver | StatusReport) else pdu.read_submit
    )
    read(hexes)

    for end in range(0, len(hexes), 2):
        with pytest.raises(BadPdu):
            read(hexes[:end])


@given(parts())
def test_a_text_goes_out_and_is_read_by_the_network(submits: list[Submit]) -> None:
    read = [pdu.read_submit(submit.encoded()[0]) for submit in submits]

    assert [submit.part for submit in read] == [submit.part for submit in submits]
    assert [submit.encoded() for submit in read] == [submit.encoded() for submit in submits]
    assert all(length <= 14 + 2 + 141 for _, length in (submit.encoded() for submit in submits))
    if len(read) > 1:
        concats = [submit.data.concat for submit in read]
        assert [concat.number for concat in concats if concat] == list(range(1, len(read) + 1))
        assert {concat.total for concat in concats if concat} == {len(read)}


@given(st.data(), texts, senders, st.integers(-48, 56))
def test_a_text_comes_in(data: st.DataObject, text: str, sender: str, quarters: int) -> None:
    submits = data.draw(parts(text))
    pieces, flash = [submit.part for submit in submits], submits[0].flash

    read = [pdu.read(pdu.encode_deliver(sender, part, at=AT, quarters=quarters)[0]) for part in pieces]

    came = [each for each in read if isinstance(each, Deliver)]
    assert len(came) == len(pieces)
    assert pdu.whole(came) == text
    assert {(each.sender, each.at, each.flash) for each in came} == {(sender, AT, flash)}
