from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpsvc.gsm.pairs import Pairs
from otpsvc.gsm.urc import (
    Boot,
    DirectReport,
    DirectText,
    Other,
    Power,
    Registration,
    Ring,
    Signal,
    SimState,
    StoredReport,
    StoredText,
    Urc,
    UssdCame,
    parse,
)

#: An SMSC of 7 + 1 octets and a TPDU of 12.
PDU = b"0791261832547698040B912618325476F80000AA"


@pytest.mark.parametrize(
    ("line", "urc"),
    [
        (b'+CMTI: "SM",3', StoredText("SM", 3)),
        (b'+CMTI:"ME",0', StoredText("ME", 0)),
        (b"+CMTI: SM, 12", StoredText("SM", 12)),
        (b'+CMTI: "SM"', Other("+CMTI")),
        (b'+CDSI: "SR",250', StoredReport("SR", 250)),
        (b'+CUSD: 0,"Balance 5, ok",15', UssdCame(0, "Balance 5, ok", 15)),
        (b'+CUSD: 1,"say "yes"",72', UssdCame(1, 'say "yes"', 72)),
        (b'+CUSD: 0,"a\nb"', UssdCame(0, "a\nb", 15)),
        (b'+CUSD: 0,"\xe9\xff",0', UssdCame(0, "\xe9\xff", 0)),
        (b'+CUSD: 0,"open', UssdCame(0, "open", 15)),
        (b'+CUSD: 2,"",15', UssdCame(2, "", 15)),
        (b"+CUSD: 4", UssdCame(4)),
        (b"+CUSD: x", Other("+CUSD")),
        (b"+CREG: 5", Registration("CREG", 5)),
        (b'+CGREG: 1,"00C3","1A2B"', Registration("CGREG", 1)),
        (b'+CEREG: 1,"00C3","0001A2B3",7', Registration("CEREG", 1)),
        (b"+CREG: ", Other("+CREG")),
        (b"+CREG: 493817", Other("+CREG")),
        (b"+CPIN: 7391", Other("+CPIN")),
        (b"+CPIN: PH-SIM PIN", SimState("PH-SIM PIN")),
        (b"+CPIN: SIM PIN2", SimState("SIM PIN2")),
        (b"+CPIN: SIM PUK", SimState("SIM PUK")),
        (b"+CPIN: NOT READY", SimState("NOT READY")),
        (b"^RSSI:17", Signal(17)),
        (b"+CSQ: 23,99", Signal(23)),
        (b"RING", Ring()),
        (b"+CRING: VOICE", Ring()),
        (b'+CLIP: "+6281234567890",145', Other("+CLIP")),
        (b"RDY", Boot("RDY")),
        (b"SMS Ready", Boot("SMS Ready", sure=False)),
        (b"^BOOT:20096657,0,0,0,20", Other("^BOOT")),
        (b"NORMAL POWER DOWN", Power("NORMAL POWER DOWN", down=True)),
        (b"UNDER-VOLTAGE WARNNING", Power("UNDER-VOLTAGE WARNING", down=False)),
        (b'^HCSQ:"WCDMA",38,32,50', Other("^HCSQ")),
        (b"0791261832547698", Other("")),
        (b"+628123456789: x", Other("")),
    ],
)
def test_known_lines(line: bytes, urc: Urc) -> None:
    assert parse(line) == urc


@given(st.sampled_from([b"", b"+CMTI:", b"+CUSD:", b"+CREG:", b"+CPIN:", b"+CSQ:"]), st.binary(max_size=80))
def test_anything_can_be_read(head: bytes, tail: bytes) -> None:
    assert isinstance(parse(head + tail), Urc)


def test_what_holds_a_text_does_not_show_it() -> None:
    for urc in (DirectText(PDU.decode()), DirectReport(PDU.decode()), UssdCame(0, "Balance 4711")):
        assert "4711" not in repr(urc) + str(urc)
        assert "0791" not in repr(urc) + str(urc)


def test_a_header_and_its_pdu() -> None:
    pairs = Pairs()

    assert pairs.begins(b"+CMT: ,12")
    assert pairs.claim(PDU) == DirectText(PDU.decode())
    assert pairs.claim(PDU) is None
    assert pairs.begins(b"+CDS: 12")
    assert pairs.claim(PDU) == DirectReport(PDU.decode())
    assert not pairs.begins(b'+CMTI: "SM",3')


@pytest.mark.parametrize("header", [b'+CMT: "Ann, or Bob",12', b"+CMT: 12", b"+CMT: ,20", b"+CMT:"])
def test_headers_with_a_name_without_one_counting_the_smsc_or_nothing(header: bytes) -> None:
    pairs = Pairs()
    pairs.begins(header)

    assert pairs.claim(PDU) == DirectText(PDU.decode())


def test_a_cell_broadcast_is_taken_out_of_the_way() -> None:
    pairs = Pairs()
    pairs.begins(b"+CBM: 12")

    assert pairs.claim(PDU) == Other("+CBM")


def test_a_pdu_of_another_length_is_another_ones() -> None:
    pairs = Pairs()
    pairs.begins(b"+CMT: ,13")

    assert pairs.claim(PDU) is None
    assert pairs.claim(PDU + b"00") == DirectText(PDU.decode() + "00")


@pytest.mark.parametrize(
    "line", [b"OK", b"ERROR", b"+CMS ERROR: 38", b"510100000000001", b"", b"AA", PDU[:-1]]
)
def test_a_header_takes_nothing_that_is_no_pdu(line: bytes) -> None:
    pairs = Pairs()
    pairs.begins(b"+CMT:")

    assert pairs.claim(line) is None


def test_a_header_is_forgotten_after_a_while() -> None:
    pairs = Pairs()
    pairs.begins(b"+CMT: ,12")
    for _ in range(8):
        pairs.claim(b"^RSSI:17")

    assert pairs.claim(PDU) is None
