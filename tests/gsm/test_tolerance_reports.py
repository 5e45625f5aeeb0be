"""Delivery reports in the many ways in which firmware writes them (27.005, 3.4.1)."""

from __future__ import annotations

import pytest

from otpsvc.errors import BadPdu
from otpsvc.gsm.emulator import Network
from otpsvc.gsm.framed import opened, text_report
from otpsvc.gsm.pairs import Pairs
from otpsvc.gsm.parts import split
from otpsvc.gsm.pdu import Deliver, StatusReport, encode_deliver, encode_status_report
from otpsvc.gsm.types import State
from otpsvc.gsm.urc import DirectReport, Other, parse
from tests.gsm.test_modem_rig import PlugIn, running
from tests.waiting import until

AT = 1_790_000_000.0
SMSC = "+62811000000"
REPORT, LENGTH = encode_status_report(42, "+628123456789", 0, submitted=AT, discharged=AT + 3, smsc=SMSC)
BARE = REPORT[-2 * LENGTH :]
TEXT = b'+CDS: 6,42,"+628123456789",145,"26/09/21,14:13:20+00","26/09/21,14:13:23+00",0'


def claimed(header: str, line: str) -> StatusReport | None:
    pairs = Pairs()
    assert pairs.begins(header.encode())
    came = pairs.claim(line.encode())
    if came is None:
        return None
    assert isinstance(came, DirectReport)
    report = opened(came.pdu)
    assert isinstance(report, StatusReport)
    return report


@pytest.mark.parametrize("framing", ["usual", "no smsc", "odd length", "text"])
async def test_a_report_arrives_however_it_is_framed(net: Network, plug_in: PlugIn, framing: str) -> None:
    modem = await plug_in(ds=(0, 1), framing=framing)
    async with running(modem) as rig:
        await rig.until(State.READY)
        reference = (await rig.send("Hello", report=True))[0]
        await until(lambda: rig.reports)
        report = rig.reports[0][1]

        assert (report.reference, report.recipient, report.delivered) == (reference, "+628123456789", True)


@pytest.mark.parametrize("line", [REPORT, REPORT.lower(), BARE, "00" + BARE])
@pytest.mark.parametrize(
    "length", [LENGTH, LENGTH + 3, LENGTH - 7, len(REPORT) // 2, len(BARE) // 2 - 7, 0, 999]
)
def test_a_report_is_known_by_what_it_says(line: str, length: int) -> None:
    report = claimed(f"+CDS: {length}", line)

    assert report is not None
    assert (report.reference, report.recipient, report.status) == (42, "+628123456789", 0)
    assert (report.submitted, report.discharged) == (AT, AT + 3)


@pytest.mark.parametrize("reference", range(256))
def test_no_reference_is_taken_for_an_smsc(reference: int) -> None:
    for number in ("+628123456789", "08123456789", "12345"):
        pdu, length = encode_status_report(reference, number, 0, submitted=AT, discharged=AT + 3)
        bare = opened(pdu[-2 * length :])

        assert isinstance(bare, StatusReport)
        assert (bare.reference, bare.recipient, bare.submitted) == (reference, number, AT)


def test_a_text_without_an_smsc_is_read() -> None:
    for text in ("Hello", "Привет", "x" * 160):
        pdu, length = encode_deliver("+62899", split(text, reference=1)[0], at=AT)
        bare = opened(pdu[-2 * length :])

        assert isinstance(bare, Deliver)
        assert (bare.text, bare.sender) == (text, "+62899")


@pytest.mark.parametrize("line", ["00" * 20, "FF" * 26, REPORT[:-20], "4711", "", REPORT + "0"])
def test_what_is_no_report_is_not_claimed_under_another_length(line: str) -> None:
    assert claimed("+CDS: 200", line) is None


def test_a_stored_report_is_not_taken_by_a_header_of_another_length() -> None:
    pairs = Pairs()
    pairs.begins(b"+CDS: 200")

    assert pairs.claim(f"+CMGL: 3,0,,{LENGTH}".encode()) is None
    assert pairs.claim(REPORT.encode()) is None
    assert pairs.claim(REPORT.encode()) == DirectReport(REPORT)


def test_a_report_in_text_mode_is_one_line() -> None:
    came = parse(TEXT)
    assert isinstance(came, DirectReport)
    report = opened(came.pdu)

    assert isinstance(report, StatusReport)
    assert (report.reference, report.recipient, report.status) == (42, "+628123456789", 0)
    assert (report.submitted, report.discharged) == (AT, AT + 3)
    pairs = Pairs()
    assert not pairs.begins(TEXT)
    assert pairs.claim(REPORT.encode()) is None


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b"26",
        TEXT[5:].replace(b",42,", b",420,"),
        TEXT[5:].replace(b"26/09/21", b"26/13/41"),
        TEXT[5:].replace(b"/", b"-"),
        TEXT[5:].replace(b",0", b",999"),
    ],
)
def test_what_is_no_report_in_text_mode_is_told_apart(rest: bytes) -> None:
    assert text_report(rest) == ""
    assert parse(b"+CDS:" + rest) == Other("+CDS")


def test_the_zone_of_a_text_mode_report_counts() -> None:
    report = opened(text_report(TEXT[5:].replace(b"14:13:20+00", b"21:13:20+28")))

    assert isinstance(report, StatusReport)
    assert report.submitted == AT


def test_rubbish_is_no_pdu() -> None:
    for line in ("00FF", "0700", "", "GG", "00" * 8):
        with pytest.raises(BadPdu):
            opened(line)
