"""PDUs, octet by octet: public examples, what we make, and what networks send."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from otpsvc.errors import BadPdu
from otpsvc.gsm import pdu
from otpsvc.gsm.parts import Part, split
from otpsvc.gsm.pdu import Concat, Deliver, Ports, StatusReport, Submit

AT = datetime(2026, 11, 23, 6, 30, 15, tzinfo=UTC).timestamp()
NUMBER = "+46708251358"


def deliver(hexes: str) -> Deliver:
    read = pdu.read(hexes)
    assert isinstance(read, Deliver)
    return read


def report(hexes: str) -> StatusReport:
    read = pdu.read(hexes)
    assert isinstance(read, StatusReport)
    return read


def only(text: str, *, flash: bool = False) -> Part:
    (part,) = split(text, reference=0, flash=flash)
    return part


# --- submit ----------------------------------------------------------------


def test_every_field_of_a_submit() -> None:
    part = split("x" * 161, reference=0xCC)[1]
    submit = Submit(
        to="50131",
        part=part,
        validity=301,
        report=True,
        reference=255,
        reject_duplicates=True,
        smsc="+27381000015",
    )

    hexes, length = submit.encoded()

    # RD, relative VP, SRR, UDHI; TP-MR; TP-DA of unknown type; PID; DCS; 10 minutes; UDL.
    assert hexes == "07917283010010F5" + "75FF05810531F1" + "0000" + "01" + "0F" + "050003CC0202" + (
        "F0783C1E8FC7E301"
    )
    assert length == len(hexes) // 2 - 8
    read = pdu.read_submit(hexes)
    assert read == Submit(
        to="50131",
        part=part,
        validity=600,
        report=True,
        reference=255,
        reject_duplicates=True,
        smsc="+27381000015",
    )
    assert (read.data.text, read.data.concat, read.flash) == ("x" * 8, Concat(0xCC, 2, 2), False)


@pytest.mark.parametrize("to", ["", "BANK", "+", "08123456789", "+62812;12", "12\x1a34", "*100#"])
def test_a_submit_to_what_is_no_number_is_never_made(to: str) -> None:
    with pytest.raises(ValueError, match="Not a number that can be dialled"):
        Submit(to=to, part=only("x")).encoded()


@pytest.mark.parametrize(
    "validity",
    [
        "19" + "000B914316565811F90000" + "01705202519300" + "04",
        "09" + "000B914316565811F90000" + "01" * 7 + "04",
    ],
)
def test_other_validities_are_read_over(validity: str) -> None:
    read = pdu.read_submit(f"00{validity}E8373B0C")

    assert (read.validity, read.data.text) == (None, "hola")


@pytest.mark.parametrize(
    "hexes",
    [
        "0001000B914316565811F9000004E8373B0C00",
        "0011000B914316565811F9000004E8373B0C",
        "0000000B914316565811F9000004E8373B0C",
        "0002000B914316565811F9000004E8373B0C",
    ],
)
def test_what_is_no_submit(hexes: str) -> None:
    with pytest.raises(BadPdu):
        pdu.read_submit(hexes)


# --- deliver ---------------------------------------------------------------


@pytest.mark.parametrize("quarters", [0, 28, -12, 23])
@pytest.mark.parametrize("sender", [NUMBER, "50131", "MY BANK", "0812345678901234567"])
def test_every_field_of_a_deliver(sender: str, quarters: int) -> None:
    hexes, length = pdu.encode_deliver(
        sender, only("Привет", flash=True), at=AT, quarters=quarters, pid=0x41, smsc="+27381000015"
    )

    read = deliver(hexes)

    assert length == len(hexes) // 2 - 8
    assert (read.sender, read.text, read.at, read.smsc) == (sender, "Привет", AT, "+27381000015")
    assert (read.dcs, read.pid, read.flash) == (0x18, 0x41, True)


def test_a_deliver_in_lower_case_and_with_blanks_around() -> None:
    hexes, _ = pdu.encode_deliver(NUMBER, only("x"), at=AT)

    assert deliver(f" {hexes.lower()}\r\n") == deliver(hexes)


def test_the_reserved_type_is_read_as_a_deliver() -> None:
    hexes, _ = pdu.encode_deliver(NUMBER, only("x"), at=AT)

    assert deliver("0007" + hexes[4:]) == deliver(hexes)


def test_bits_of_the_first_octet_that_say_nothing_here() -> None:
    """More messages, loop prevention, status report indication, reply path."""
    hexes, _ = pdu.encode_deliver(NUMBER, only("x"), at=AT)

    for first in ("00", "0C", "24", "84", "BC"):
        assert deliver("00" + first + hexes[4:]) == deliver(hexes)


def test_octets_after_the_end_are_ignored() -> None:
    """Some modems give the whole slot of the SIM, filled up with FF."""
    hexes, _ = pdu.encode_deliver(NUMBER, only("x"), at=AT)

    assert deliver(hexes + "FF" * 100) == deliver(hexes)


def test_a_clock_that_is_not_set_costs_no_message() -> None:
    hexes, _ = pdu.encode_deliver(NUMBER, only("x"), at=AT)
    stamp = pdu.encode_deliver(NUMBER, only("x"), at=AT)[0][-20:-4]

    assert stamp[:-2] in hexes
    assert deliver(hexes.replace(stamp[:-2], "0" * 14)).at == 0.0


def test_a_message_for_a_program() -> None:
    """WAP push: 8-bit data in one part of two, for port 2948."""
    read = deliver(
        "00" + "44" + "0A8110325476980004" + "62113231031500" + "0F" + "0B05040B8423F00003CC0201" + "ABCDEF"
    )

    assert read.ports == Ports(2948, 9200)
    assert read.concat == Concat(0xCC, 2, 1)
    assert read.text == "\xab\xcd\xef"


# --- status report ---------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (0x00, "delivered"),
        (0x02, "delivered"),
        (0x1F, "delivered"),
        (0x20, "pending"),
        (0x3F, "pending"),
        (0x40, "failed"),
        (0x46, "failed"),
        (0x60, "failed"),
        (0xFF, "failed"),
    ],
)
def test_every_field_of_a_status_report(status: int, word: str) -> None:
    hexes, length = pdu.encode_status_report(
        255, NUMBER, status, submitted=AT, discharged=AT + 7, quarters=-20, smsc="+27381000015"
    )

    read = report(hexes)

    assert length == len(hexes) // 2 - 8
    assert (read.reference, read.recipient, read.status) == (255, NUMBER, status)
    assert (read.submitted, read.discharged, read.smsc) == (AT, AT + 7, "+27381000015")
    assert [name for name in ("delivered", "pending", "failed") if getattr(read, name)] == [word]


@pytest.mark.parametrize(
    "more",
    [
        "00",  # TP-PI: nothing follows
        "0100",  # PID
        "0200",  # DCS
        "07" + "00" + "00" + "05E8329BFD06",  # PID, DCS, UDL and UD
        "07",  # announced and not there
        "FFFFFF",
        "80" + "01" * 20,
    ],
)
def test_what_follows_the_status_is_optional(more: str) -> None:
    hexes, _ = pdu.encode_status_report(3, NUMBER, 0, submitted=AT, discharged=AT)

    assert report(hexes + more) == report(hexes)


def test_a_status_report_without_clocks() -> None:
    read = report("0006030B916407281553F8" + "00" * 7 + "FF" * 7 + "30")

    assert (read.submitted, read.discharged, read.pending) == (0.0, 0.0, True)


# --- all -------------------------------------------------------------------


@pytest.mark.parametrize(
    "hexes",
    ["", " ", "0", "00", "0004", "zz", "00 04", "0x00", "00\n04", "OK", "+CMT: ,24", "٠٠", "\x00\x00", "é"],
)
def test_what_is_no_hex_or_no_pdu(hexes: str) -> None:
    for read in (pdu.read, pdu.read_submit):
        with pytest.raises(BadPdu) as caught:
            read(hexes)

        assert len(hexes.strip()) < 4 or hexes not in str(caught.value)
        assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_submit_is_not_from_the_network() -> None:
    with pytest.raises(BadPdu, match="SUBMIT"):
        pdu.read("0001000B914316565811F9000004E8373B0C")


def test_nothing_of_a_pdu_is_printed() -> None:
    hexes, _ = pdu.encode_deliver(NUMBER, only("123456"), at=AT)
    sent = Submit(to=NUMBER, part=only("123456"))
    told = report(pdu.encode_status_report(3, NUMBER, 0, submitted=AT, discharged=AT)[0])

    for value in (deliver(hexes), sent, sent.data, told):
        for shown in (repr(value), str(value), f"{value.__rich_repr__()}"):
            assert "1358" not in shown
            assert "1234" not in shown
            assert "31D98C" not in shown.upper()
